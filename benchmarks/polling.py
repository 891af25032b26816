"""The learned schedule against fixed, growing and random ones: a thousand generations, reckoned.

Pure arithmetic on `batchgen.polling`, `batchgen.durations` and `batchgen.limits` as they are; only
the provider is made up. Seeded, so the figures are the same on any machine.
"""

import heapq
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Final, Protocol

from batchgen.durations import LifeTable
from batchgen.job import PollSettings
from batchgen.limits import AdaptiveRate
from batchgen.polling import POLL_COST, next_wait
from benchmarks.tables import Table

SLOTS: Final = 20
TASKS: Final = 1000
FEW_POLLS: Final = 1.0
"""Seconds a poll may cost for somebody who would rather have few of them."""


class Schedule(Protocol):
    """When to ask. Told what was seen, it may learn."""

    def wait(self, age: float, last: float) -> float:
        """Return seconds until the next poll of a generation.

        Args:
            age: Seconds since its submit; 0 before its first poll.
            last: The wait before this one, in seconds; 0 before its first poll.
        """

    def seen(self, since: float, until: float, *, done: bool) -> None:
        """Note what a poll saw of a generation that still ran at age `since`."""


class Learned:
    """What batchgen does, from knowing nothing."""

    def __init__(self, rng: random.Random, cost: float = POLL_COST) -> None:
        self._rng = rng
        self._cost = cost
        self._table = LifeTable()

    def wait(self, age: float, last: float) -> float:
        """Return seconds until the next poll."""
        del last
        return next_wait(PollSettings(), self._table.rates(), age, self._rng, cost=self._cost)

    def seen(self, since: float, until: float, *, done: bool) -> None:
        """Learn from it."""
        note = self._table.ended if done else self._table.runs
        note(since, until)


class Blind:
    """Waits that depend on the one before, and on chance."""

    def __init__(self, following: Callable[[float], float]) -> None:
        self._following = following

    def wait(self, age: float, last: float) -> float:
        """Return seconds until the next poll."""
        del age
        return self._following(last)

    def seen(self, since: float, until: float, *, done: bool) -> None:
        """Learn nothing."""


def _decorrelated(rng: random.Random) -> Schedule:
    return Blind(lambda last: min(30.0, rng.uniform(1.0, 3.0 * max(1.0, last))))


SCHEDULES: Final[Mapping[str, Callable[[random.Random], Schedule]]] = {
    "auto": Learned,
    "auto, few polls": lambda rng: Learned(rng, FEW_POLLS),
    "fixed 10 s": lambda _: Blind(lambda _: 10.0),
    "fixed 5 s": lambda _: Blind(lambda _: 5.0),
    "exponential 1-30 s": lambda _: Blind(lambda last: min(30.0, 2 * last or 1.0)),
    "exponential 2-60 s": lambda _: Blind(lambda last: min(60.0, 2 * last or 2.0)),
    "decorrelated jitter 1-30 s": _decorrelated,
}


def _made(rng: random.Random, median: float = 85.0, sigma: float = 0.25) -> float:
    return median * math.exp(rng.gauss(0.0, sigma))


DURATIONS: Final[Mapping[str, Callable[[random.Random, float], float]]] = {
    "15 s in the queue, then lognormal, median 85 s, sigma 0.25": lambda rng, _: 15 + _made(rng),
    "lognormal, median 85 s, sigma 0.5": lambda rng, _: _made(rng, sigma=0.5),
    "bimodal: 85 s, and 300 s for three in ten, sigma 0.1": lambda rng, _: _made(
        rng, 300.0 if rng.random() < 0.3 else 85.0, 0.1
    ),
    "drifting: the first of these, twice as long by the end": lambda rng, part: (
        2**part * (15 + _made(rng))
    ),
    "drifting: the first of these, half as long by the end": lambda rng, part: (
        2**-part * (15 + _made(rng))
    ),
}
"""Seconds from submit to completion, by chance and by how much of the night is over."""


@dataclass(frozen=True, slots=True)
class Night:
    """What came of polling a thousand generations.

    Attributes:
        polls: A generation, on average.
        lag: Mean seconds from a generation's completion to the poll that saw it.
        lag_p95: Seconds that 95% of the lags are under.
        makespan: Seconds.
        bound: Seconds of the same tasks in the same order, each slot given on without any lag.
    """

    polls: float
    lag: float
    lag_p95: float
    makespan: float
    bound: float

    @property
    def share(self) -> float:
        """Return the bound as a share of the makespan: 1.0 is the best there is."""
        return self.bound / self.makespan


def night(schedule: Schedule, durations: Sequence[float], slots: int = SLOTS) -> Night:
    """Poll generations of these durations, `slots` at once, to the last one's end."""
    lags: list[float] = []
    polls = 0
    waiting = iter(durations)
    # Time of the next poll, a number against ties, time of the submit, duration, age.
    due: list[tuple[float, int, float, float, float]] = []
    numbers = count()
    now = 0.0

    def submit() -> None:
        duration = next(waiting, None)
        if duration is not None:
            first = now + schedule.wait(0.0, 0.0)
            heapq.heappush(due, (first, next(numbers), now, duration, 0.0))

    for _ in range(slots):
        submit()
    while due:
        now, _, born, duration, known = heapq.heappop(due)
        age, polls = now - born, polls + 1
        schedule.seen(known, age, done=age >= duration)
        if age >= duration:
            lags.append(age - duration)
            submit()
        else:
            then = now + schedule.wait(age, age - known)
            heapq.heappush(due, (then, next(numbers), born, duration, age))
    lags.sort()
    return Night(
        polls=polls / len(lags),
        lag=sum(lags) / len(lags),
        lag_p95=lags[int(0.95 * len(lags))],
        makespan=now,
        bound=shortest(durations, slots),
    )


def shortest(durations: Sequence[float], slots: int) -> float:
    """Return the seconds that tasks take in their order where a slot is never idle."""
    free = [0.0] * slots
    for duration in durations:
        heapq.heapreplace(free, free[0] + duration)
    return max(free)


def nights(name: str, kind: str, *, tasks: int = TASKS, seeds: Sequence[int] = (1,)) -> Night:
    """Return the means of a schedule's nights with one kind of durations."""
    found = []
    for seed in seeds:
        rng = random.Random(seed)  # noqa: S311  # a figure, no secret
        durations = [DURATIONS[kind](rng, place / tasks) for place in range(tasks)]
        found.append(night(SCHEDULES[name](rng), durations))
    return Night(
        *(
            math.fsum(getattr(one, figure) for one in found) / len(found)
            for figure in ("polls", "lag", "lag_p95", "makespan", "bound")
        )
    )
