"""What the sandbox has taken, and what state each generation is in at a time `now`.

Pure: no I/O, no clock, and no chance but what is hashed out of the account's secret and the ids.
Times are Unix seconds and come in from outside; money is whole credits.
"""

import json
import re
from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from hashlib import sha256
from heapq import heappop, heappush, heappushpop
from math import ceil, exp, inf
from operator import attrgetter
from pathlib import Path
from statistics import NormalDist
from typing import Final, TypeAlias
from uuid import UUID

from batchgen.models import TABLES, WAN_1_3B, Parameter, Table, describe

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
JsonObject: TypeAlias = dict[str, Json]

CREDITS_PER_USD: Final = 2_000_000
FAIL_WORD: Final = "sandbox:fail"
"""A prompt that holds this ends in status `error`, so that a failure can be seen on purpose."""

STUCK: Final = "stuck"
"""The fate of a generation that never leaves the queue; any other fate is how it fails."""

_USUAL_STEPS: Final = 30
_QUEUE_SPREAD: Final = 0.6  # sigma of the lognormal; queues vary more than the work itself
_GENERATE_SPREAD: Final = 0.25
_MODEL_NAME: Final = re.compile(r"[A-Za-z0-9._/:@+-]{1,128}")
_EXACT: Final = 2**53  # beyond it a JSON number is not the same number in every reader
_NORMAL: Final = NormalDist()


@dataclass(frozen=True, slots=True)
class SandboxSettings:
    """How a sandbox listens, how long its generations take and where it says no.

    Attributes:
        host: Address to listen on.
        port: Port to listen on; 0 takes any free one.
        key: The only bearer key that is taken; None takes any that is not empty.
        queue_s: Mean seconds in the queue; each generation has its own, derived from its id.
        generate_s: Mean seconds of generating at 30 inference steps; scales with the steps.
        slots: How many generate at once, the others queueing in order of arrival; 0 for no limit.
        max_in_flight: Unfinished generations at which a submit is answered 429; 0 for no limit.
        requests_per_s: API requests a second above which one is answered 429; 0 for no limit.
        journal: File that keeps the account; None keeps it in memory only.
        usd_per_video: Price of a completed generation, in US dollars.
        balance_usd: What the account holds before its first generation, in US dollars.
        url_life_s: Seconds until the signed URL of a video expires.
        tables: The models whose parameters are checked; any other takes anything.
    """

    host: str = "127.0.0.1"
    port: int = 0
    key: str | None = None
    queue_s: float = 0.5
    generate_s: float = 2.0
    slots: int = 0
    max_in_flight: int = 0
    requests_per_s: float = 0
    journal: Path | None = None
    usd_per_video: float = 0.06
    balance_usd: float = 100.0
    url_life_s: float = 86_400.0
    tables: Mapping[str, Table] = field(default_factory=lambda: TABLES)

    def __post_init__(self) -> None:
        """Refuse what no sandbox can do.

        Raises:
            ValueError: A figure is negative or not finite, or the key is empty.
        """
        for figure in fields(self):
            value = getattr(self, figure.name)
            if isinstance(value, int | float) and not 0 <= value < inf:
                raise ValueError(f"{figure.name} takes 0 or more, not {value}")
        if self.key == "":
            raise ValueError("key takes a key that is not empty, or None for any key")


class Status(StrEnum):
    """Where a generation stands, in the words of the wire."""

    QUEUED = "queued"
    GENERATING = "generating"
    COMPLETED = "completed"
    ERROR = "error"


class Refusal(StrEnum):
    """Why a submit that is well formed was not taken."""

    OUT_OF_CREDITS = "out of credits"
    TOO_MANY_IN_FLIGHT = "too many in flight"


@dataclass(frozen=True, slots=True)
class Order:
    """A submit that has passed validation.

    Attributes:
        model: The model asked for.
        body: The request's JSON object as it came, `model` included.
        client_request_id: The client's own name for the request, None without a usable one.
    """

    model: str
    body: JsonObject
    client_request_id: str | None = None

    @property
    def digest(self) -> str:
        """A hash of what was asked for."""
        return sha256(json.dumps(self.body, sort_keys=True).encode()).hexdigest()

    @property
    def fails(self) -> bool:
        """Tell whether the prompt asks for a failure."""
        return FAIL_WORD in text_of(self.body, "prompt")


@dataclass(frozen=True, slots=True)
class Generation:
    """A generation the sandbox has taken. Its whole life is decided when it is taken.

    Attributes:
        generation_id: The id given to the client.
        order: What was asked for.
        created: When it was taken, in Unix seconds.
        started: When it leaves the queue, in Unix seconds.
        finished: When it is completed or has failed, in Unix seconds.
        price: Credits it costs once it is over; 0 when it fails, unless a fault plan charges it.
        fate: What a fault plan made of it; empty for nothing.
    """

    generation_id: str
    order: Order
    created: float
    started: float
    finished: float
    price: int
    fate: str = ""

    @property
    def request_id(self) -> str:
        """The id of the submit itself, as the request log shows it."""
        return _uuid("request", self.generation_id)

    @property
    def file_name(self) -> str:
        """The name of its video on the file host."""
        return self.generation_id.partition(":")[0] + ".mp4"

    def status(self, now: float) -> Status:
        """Say where it stands at `now`, in Unix seconds."""
        if now < self.started:
            return Status.QUEUED
        if now < self.finished:
            return Status.GENERATING
        return Status.ERROR if self.order.fails or self.fate else Status.COMPLETED

    def charged(self, now: float) -> int:
        """Return the credits booked for it by `now`; a charge follows completion."""
        return self.price if now >= self.finished else 0


@dataclass(frozen=True, slots=True)
class Post:
    """A submit that came in, and what became of it.

    Attributes:
        at: When its answer was given, in Unix seconds.
        client_request_id: The client's own name for it, None without a usable one.
        answered: The status of the answer; None where a fault left it without a whole one.
        generation_id: The generation it became, None where it was not taken.
    """

    at: float
    client_request_id: str | None
    answered: int | None
    generation_id: str | None


class Account:
    """Every generation of one sandbox and the counts of what it was asked.

    Drafting and adding are two steps so that a generation can be written down in between: what
    could not be written was never taken. Nothing may come between the two but that writing.

    Attributes:
        generations: Every generation by its id, in order of arrival.
        requests: How many requests of each kind came in since the start, refused ones included.
        posts: Every submit since the start, refused ones included.
        download_headers: How often each header came with a download, by its name in small letters.
        trapped: What came to places where nobody should go: method, path, names of headers.
    """

    def __init__(self, settings: SandboxSettings, secret: str) -> None:
        self.generations: dict[str, Generation] = {}
        self.requests: Counter[str] = Counter()
        self.posts: list[Post] = []
        self.download_headers: Counter[str] = Counter()
        self.trapped: list[JsonObject] = []
        self._settings = settings
        self._secret = secret
        self._price = _credits(settings.usd_per_video)
        self._left = _credits(settings.balance_usd)  # less what was booked up to the last look
        self._reserved = 0
        self._unfinished: list[tuple[float, int]] = []  # heap of (finished, price)
        self._latest_ends: list[float] = []  # heap: with k slots, the k latest ends
        self._last_start = -inf
        self._by_created: list[Generation] = []
        self._by_file: dict[str, Generation] = {}

    @property
    def submits(self) -> int:
        """How many submits were taken, over the whole life of the journal."""
        return len(self.generations)

    @property
    def first(self) -> str:
        """The id of the first generation of all."""
        return next(iter(self.generations))

    def draft(
        self,
        order: Order,
        now: float,
        *,
        fate: str = "",
        oddity: str = "",
        usd: float | None = None,
    ) -> Generation | Refusal:
        """Work out the generation that `order` would become, and change nothing.

        Args:
            order: What is asked for.
            now: Unix seconds.
            fate: What a fault plan makes of it.
            oddity: What its id ends with, in place of the model's name.
            usd: What a fault plan charges for it, in US dollars; None for the usual.
        """
        price = 0 if order.fails or fate else self._price
        if usd is not None:
            price = _credits(usd)
        if self.balance(now) - self._reserved < max(price, self._price):
            return Refusal.OUT_OF_CREDITS
        limit = self._settings.max_in_flight
        if limit and self.in_flight(now) >= limit:
            return Refusal.TOO_MANY_IN_FLIGHT
        name = _uuid("generation", self._secret, str(self.submits))
        generation_id = f"{name}:{oddity or order.model}"
        waits = self._settings.queue_s * _around_one(generation_id, "queue", _QUEUE_SPREAD)
        works = self._settings.generate_s * _around_one(generation_id, "work", _GENERATE_SPREAD)
        started = inf if fate == STUCK else self._start(ready=now + waits)
        return Generation(
            generation_id=generation_id,
            order=order,
            created=now,
            started=started,
            finished=started + works * _steps(order.body) / _USUAL_STEPS,
            price=price,
            fate=fate,
        )

    def add(self, generation: Generation) -> None:
        """Take a generation, drafted just now or read from a journal."""
        self.generations[generation.generation_id] = generation
        self._by_file[generation.file_name] = generation
        insort(self._by_created, generation, key=attrgetter("created"))
        heappush(self._unfinished, (generation.finished, generation.price))
        self._reserved += generation.price
        if generation.fate == STUCK:
            return  # it never takes a place among those at work
        self._last_start = max(self._last_start, generation.started)
        if len(self._latest_ends) < self._settings.slots:
            heappush(self._latest_ends, generation.finished)
        elif self._latest_ends:
            heappushpop(self._latest_ends, generation.finished)

    def of_file(self, name: str) -> Generation | None:
        """Find the generation whose video has this file name."""
        return self._by_file.get(name)

    def in_flight(self, now: float) -> int:
        """Count the generations that are neither completed nor failed at `now`."""
        self._book(now)
        return len(self._unfinished)

    def balance(self, now: float) -> int:
        """Return the credits left at `now`, what still runs not yet taken off."""
        self._book(now)
        return self._left

    def logged(
        self,
        start: float,
        end: float,
        *,
        offset: int,
        limit: int,
        hidden: frozenset[str] = frozenset(),
    ) -> tuple[Sequence[Generation], int]:
        """Give a page of what was taken from `start` to `end`, newest first, and the total.

        Args:
            start: Unix seconds.
            end: Unix seconds.
            offset: Rows to leave out, the newest.
            limit: Rows to give, at most.
            hidden: Ids of those that are not listed, and not counted.
        """
        low = bisect_left(self._by_created, start, key=attrgetter("created"))
        high = max(low, bisect_right(self._by_created, end, key=attrgetter("created")))
        if hidden:
            taken = reversed(self._by_created[low:high])
            rows = [each for each in taken if each.generation_id not in hidden]
            return rows[offset : offset + limit], len(rows)
        newest = max(low, high - offset)
        return self._by_created[max(low, newest - limit) : newest][::-1], high - low

    def _start(self, ready: float) -> float:
        if not self._settings.slots:
            return ready
        # The k-th latest end of all before it is the first moment with fewer than k at work.
        full = len(self._latest_ends) == self._settings.slots
        free = self._latest_ends[0] if full else -inf
        return max(ready, free, self._last_start)

    def _book(self, now: float) -> None:
        while self._unfinished and self._unfinished[0][0] <= now:
            _, price = heappop(self._unfinished)
            self._left -= price
            self._reserved -= price


class Pace:
    """A limit on how often something may happen, as a bucket that leaks evenly.

    Args:
        per_second: How many may come in a second; 0 for any number.
        burst: How many may come at once; a second's worth where it is not given.
    """

    __slots__ = ("_burst", "_last", "_level", "_per_second")

    def __init__(self, per_second: float, *, burst: int | None = None) -> None:
        self._per_second = per_second
        self._burst = max(1, burst or ceil(per_second))
        self._level = 0.0
        self._last = 0.0

    def wait(self, now: float) -> float:
        """Count one in and return 0, or count none and return the seconds until one may come."""
        if not self._per_second:
            return 0.0
        # A clock that was set back leaks nothing, and from there goes on as usual.
        leaked = max(0.0, now - self._last) * self._per_second
        self._level = max(0.0, self._level - leaked)
        self._last = now
        over = self._level + 1 - self._burst
        if over > 1e-6:
            return over / self._per_second
        self._level += 1
        return 0.0


def objections(
    body: JsonObject, *, only: str | None = None, tables: Mapping[str, Table] = TABLES
) -> list[str]:
    """Say in words what is wrong with a submit; an empty list takes it.

    Args:
        body: The request's JSON object.
        only: The one model that this endpoint serves; None for any.
        tables: The models whose parameters are checked.
    """
    model = body.get("model")
    # The name becomes part of the id and of a response header.
    if not isinstance(model, str) or not _MODEL_NAME.fullmatch(model):
        return [f"model takes the name of a model, not {describe(model)}"]
    if only is not None and model != only:
        return [f"model takes {only} here, not {describe(model)}"]
    table = tables.get(model)
    if table is None:
        return []
    found = [
        objection
        for name, value in body.items()
        if name != "model" and (objection := _objection(table, model, name, value))
    ]
    if "prompt" not in body:
        found.insert(0, "prompt is missing")
    elif body["prompt"] == "":
        found.insert(0, "prompt is empty")
    return found


def text_of(body: JsonObject, name: str) -> str:
    """Read a text parameter, or the empty text where it is absent or of another kind."""
    value = body.get(name)
    return value if isinstance(value, str) else ""


def number_of(body: JsonObject, name: str) -> float:
    """Read a numeric Wan 2.1 parameter, or its default where it is absent or does not fit."""
    parameter = TABLES[WAN_1_3B][name]
    value = body.get(name)
    if isinstance(value, int | float) and _misfit(parameter, value) is None:
        return value
    return parameter.default if isinstance(parameter.default, int | float) else 0


def seed_of(generation: Generation) -> int:
    """Read the seed, or derive one from the id: without a seed every generation differs."""
    if "seed" in generation.order.body:
        return int(number_of(generation.order.body, "seed"))
    return int.from_bytes(_digest("seed", generation.generation_id)[:4])


def _objection(table: Table, model: str, name: str, value: Json) -> str | None:
    if name not in table:
        return f"{name[:40]!r} is no parameter of {model}"
    return _misfit(table[name], value)


def _misfit(parameter: Parameter, value: Json) -> str | None:
    """Name what is wrong with a value, numbers too large to be exact included."""
    if objection := parameter.objection(value):
        return objection
    if isinstance(value, int | float) and abs(value) > _EXACT:
        return f"{parameter.name} is out of range"
    return None


def _credits(usd: float) -> int:
    return round(usd * CREDITS_PER_USD)


def _steps(body: JsonObject) -> float:
    return number_of(body, "inference_steps")


def _digest(purpose: str, *of: str) -> bytes:
    return sha256("\n".join((purpose, *of)).encode()).digest()


def _uuid(purpose: str, *of: str) -> str:
    return str(UUID(bytes=_digest(purpose, *of)[:16], version=4))


def _around_one(generation_id: str, purpose: str, spread: float) -> float:
    """Hash an id to a factor: lognormal with mean 1 over all ids."""
    share = (int.from_bytes(_digest(purpose, generation_id)[:8]) >> 12) + 0.5
    return exp(spread * _NORMAL.inv_cdf(share / 2**52) - spread**2 / 2)
