"""What can go wrong, and when: the faults there are, and a plan of them.

Pure. Which request meets which fault is `choosing`'s; how a fault is done is `sabotage`'s.
"""

import ipaddress
import re
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final, Literal, TypeAlias, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from batchgen.jobfile import values

Place: TypeAlias = Literal["submit", "fetch", "download", "logs", "balance", "models"]
ANYWHERE: Final = frozenset[Place](get_args(Place))

_PERCENT: Final = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*%\s*\Z")
_HEADER: Final = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*\Z")


def _places(value: object) -> object:
    if value == "all":
        return ANYWHERE
    return [value] if isinstance(value, str) else value


def _share(value: object) -> float:
    """Read `5%` or `0.05`."""
    if isinstance(value, str) and (percent := _PERCENT.match(value)):
        value = float(percent[1]) / 100
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError("takes a share such as 5% or 0.05")
    return float(value)


def _offset(value: object) -> float:
    """Read a duration with or without a minus sign."""
    if isinstance(value, str) and value.strip().startswith("-"):
        return -values.duration(value.strip()[1:])
    if isinstance(value, int | float) and not isinstance(value, bool) and value < 0:
        return -values.duration(-value)
    return values.duration(value)


def _extent(value: object) -> int | float:
    """Read a share, or a whole number of bytes."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    try:
        return _share(value)
    except ValueError:
        raise ValueError("takes a share such as 50%, or a whole number of bytes") from None


def _header(value: object) -> object:
    """Let through what a header can hold: no more, or the sandbox's own answer would break."""
    if isinstance(value, bool) or not isinstance(value, int | float | str | None):
        raise ValueError("takes a number or a text")  # noqa: TRY004 - pydantic reads no TypeError
    if isinstance(value, str) and not _HEADER.match(value):
        raise ValueError("takes no line breaks and no control characters")
    return value


def _private(value: object) -> str:
    """Read an address at which no file host is: a client that went there would reach a stranger."""
    try:
        address = ipaddress.ip_address(str(value))
    except ValueError:
        raise ValueError("takes an IP address such as 198.18.0.7") from None
    if address.is_global or address.is_loopback:
        raise ValueError("takes a private address such as 198.18.0.7 or 10.0.0.7")
    return str(address)


def _null(value: object) -> object:
    """Read a bare `null` as the word."""
    return "null" if value is None else value


Share = Annotated[float, BeforeValidator(_share)]
Extent = Annotated[int | float, BeforeValidator(_extent)]
"""Of an answer's body: a share where it is a float, bytes where it is an int."""
Seconds = Annotated[float, BeforeValidator(values.duration)]
Dollars = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, strict=True)]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, as far as rules tell requests apart.

    Attributes:
        place: What kind of request it is.
        identity: What it is about, the same in every run of the same job.
        ranged: Whether it asks for the rest of a file.
        age: Seconds since its generation was taken; None where it is about none.
        completed: Whether its generation has a video.
        earlier: Whether another generation was taken before it.
    """

    place: Place
    identity: str
    ranged: bool = False
    age: float | None = None
    completed: bool = False
    earlier: bool = False


class Fault(BaseModel):
    """A rule: what is done to which requests.

    Attributes:
        on: Kinds of requests it is done to.
        rate: Share of the requests that match, by the plan's seed and the request itself.
        first: Only so many requests that match, in order of arrival; None for all.
        skip: So many requests that match are left alone first.
        each: At most so often to one generation; None for no bound.
        since: Seconds after the server's start at which it begins; `from` in the file.
        until: Seconds after the server's start at which it ends; None for never.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)
    WHERE: ClassVar[frozenset[Place]] = ANYWHERE
    # Decided once for a generation, not for each request about it.
    LASTING: ClassVar[bool] = False

    do: str
    on: Annotated[frozenset[Place], BeforeValidator(_places), Field(min_length=1)]
    rate: Share = 1.0
    first: Count | None = None
    skip: Count = 0
    each: Count | None = None
    since: Seconds = Field(0.0, alias="from")
    until: Seconds | None = None

    def matches(self, asked: Asked) -> bool:
        """Tell whether it could be done to this request at all."""
        return asked.place in self.on

    @model_validator(mode="after")
    def _can_happen(self) -> "Fault":
        if misplaced := self.on - self.WHERE:
            raise PydanticCustomError(
                "misplaced",
                "{do} is done to {where} only, not to {misplaced}",
                {
                    "key": "on",
                    "do": self.do,
                    "where": " and ".join(sorted(self.WHERE)),
                    "misplaced": "all" if self.on == ANYWHERE else min(misplaced),
                },
            )
        if self.until is not None and self.until <= self.since:
            raise PydanticCustomError("never", "it ends before it begins", {"key": "until"})
        return self


class Taking(Fault):
    """A fault that, done to a submit, says whether the submit was taken all the same."""

    taken: bool = True


class StatusFault(Fault):
    """Answer with a status."""

    do: Literal["status"]
    status: Annotated[int, Field(ge=200, le=599, strict=True)]
    message: str = "The fault plan says so."
    retry_after: Annotated[float | str | None, BeforeValidator(_header)] = None
    taken: bool = False
    by: Literal["api", "proxy"] = "api"


class Delay(Fault):
    """Answer late."""

    do: Literal["delay"]
    seconds: Seconds


class Reset(Fault):
    """Reset the connection before the request is handled, or after."""

    do: Literal["reset"]
    when: Literal["before", "after"] = "after"


class Hang(Taking):
    """Never answer."""

    do: Literal["hang"]


class CloseIdle(Fault):
    """Answer, then close the connection without having said so: at once, or at the next request."""

    do: Literal["close_idle"]
    when: Literal["at_once", "next_request"] = "at_once"


class RefuseKey(Fault):
    """Answer 401."""

    do: Literal["refuse_key"]


class NoCredits(Fault):
    """Answer that the account is empty."""

    do: Literal["no_credits"]
    status: Literal[400, 402, 403, 429] = 403


class Html(Taking):
    """Answer 200 with a page for people."""

    do: Literal["html"]


class Redirect(Fault):
    """Send the client elsewhere; to a place where the sandbox notes who comes, if not told."""

    do: Literal["redirect"]
    status: Literal[301, 302, 303, 307, 308] = 307
    to: Annotated[str | None, BeforeValidator(_header)] = None


class CutBody(Fault):
    """Handle the request, but break off in the middle of the answer's body."""

    do: Literal["cut_body"]
    at: Extent = 0.5
    keep_id_header: bool = False


class Garbage(Taking):
    """Answer with bytes that are no JSON."""

    do: Literal["garbage"]


class Huge(Taking):
    """Answer with megabytes of JSON."""

    do: Literal["huge"]
    bytes: Annotated[int, Field(strict=True, ge=1, le=1 << 30)] = 5_000_000


class Deep(Taking):
    """Answer with JSON that is nested very deep."""

    do: Literal["deep"]
    depth: Annotated[int, Field(strict=True, ge=1, le=10_000_000)] = 100_000


class Nan(Taking):
    """Answer with NaN where values are, which is in no JSON."""

    do: Literal["nan"]


class Gzip(Fault):
    """Compress the answer, asked for or not."""

    do: Literal["gzip"]


class Bomb(Fault):
    """Answer with a few bytes that unpack to very many."""

    do: Literal["bomb"]
    bytes: Annotated[int, Field(strict=True, ge=1, le=1 << 33)] = 1 << 30


class LoseAnswer(Fault):
    """Take the submit, then close the connection without an answer."""

    WHERE = frozenset({"submit"})
    do: Literal["lose_answer"]


class NoId(Fault):
    """Take the submit and answer without its id."""

    WHERE = frozenset({"submit"})
    do: Literal["no_id"]


class SameId(Taking):
    """Answer with the id of the first generation there was, and take the submit or not."""

    WHERE = frozenset({"submit"})
    do: Literal["same_id"]
    taken: bool = False

    def matches(self, asked: Asked) -> bool:
        """Tell whether there is an id to give again."""
        return asked.earlier and super().matches(asked)


class OddId(Fault):
    """Give the generation an id that is awkward in addresses, headers and file names."""

    WHERE = frozenset({"submit"})
    LASTING = True
    do: Literal["odd_id"]
    style: Literal["slash", "percent", "query", "long", "control"] = "slash"


class Fail(Fault):
    """Take the submit, but make nothing of it."""

    WHERE = frozenset({"submit"})
    LASTING = True
    do: Literal["fail"]
    code: Literal["generation_failed", "moderation"] = "generation_failed"
    usd: Dollars = 0.0


class Bill(Fault):
    """Take the submit, and charge another price for it than was quoted."""

    WHERE = frozenset({"submit"})
    LASTING = True
    do: Literal["bill"]
    usd: Dollars


class Quote(Fault):
    """Quote another price than is charged."""

    WHERE = frozenset({"models"})
    do: Literal["quote"]
    usd: Dollars = 0.0


class Stuck(Fault):
    """Take the submit, and leave it in the queue for ever."""

    WHERE = frozenset({"submit"})
    LASTING = True
    do: Literal["stuck"]


class UnknownId(Fault):
    """Know nothing of a generation for a while after it was taken."""

    WHERE = frozenset({"fetch"})
    LASTING = True
    do: Literal["unknown_id"]
    seconds: Seconds = Field(60.0, alias="for")

    def matches(self, asked: Asked) -> bool:
        """Tell whether the generation is young enough."""
        young = asked.age is not None and asked.age < self.seconds
        return young and super().matches(asked)


class LateRows(Fault):
    """List what was taken only some time after that."""

    WHERE = frozenset({"logs"})
    do: Literal["late_rows"]
    seconds: Seconds = Field(90.0, alias="for")


class LostRows(Fault):
    """Never list some of what was taken, always the same, and look complete all the same."""

    WHERE = frozenset({"logs"})
    do: Literal["lost_rows"]
    share: Share = 1.0
    of: Literal["all", "unanswered"] = "all"


class ForgottenId(Fault):
    """Know nothing of a generation any more once it is so old."""

    WHERE = frozenset({"fetch"})
    LASTING = True
    do: Literal["forgotten_id"]
    after: Seconds = 60.0

    def matches(self, asked: Asked) -> bool:
        """Tell whether the generation is old enough."""
        old = asked.age is not None and asked.age >= self.after
        return old and super().matches(asked)


class BrokenId(Fault):
    """Answer every request about a generation with the same error, and for others as usual."""

    WHERE = frozenset({"fetch"})
    LASTING = True
    do: Literal["broken_id"]
    status: Annotated[int, Field(ge=300, le=599, strict=True)] = 500


class FaultOfState(Fault):
    """A fault of an answer that says where a generation stands."""

    WHERE = frozenset({"fetch"})

    def matches(self, asked: Asked) -> bool:
        """Tell whether there is such an answer."""
        return asked.age is not None and super().matches(asked)


class StatusWord(FaultOfState):
    """Say where the generation stands in a word nobody knows, in capitals, or not at all."""

    do: Literal["status_word"]
    word: Literal["pondering", "COMPLETED", "missing"] = "pondering"


class NewFields(FaultOfState):
    """Put fields into the answer that nobody knows."""

    do: Literal["new_fields"]


class OthersAnswer(Fault):
    """Answer as a broken cache does: with where another generation stands."""

    WHERE = frozenset({"fetch"})
    do: Literal["others_answer"]

    def matches(self, asked: Asked) -> bool:
        """Tell whether there is another one."""
        return asked.earlier and super().matches(asked)


class FaultOfVideo(Fault):
    """A fault of an answer that says where a video is."""

    WHERE = frozenset({"fetch"})

    def matches(self, asked: Asked) -> bool:
        """Tell whether the answer would hold a video."""
        return asked.completed and super().matches(asked)


class TakenBack(FaultOfVideo):
    """Say that a generation failed which was completed, and charged, before."""

    do: Literal["taken_back"]


class NoVideo(FaultOfVideo):
    """Say completed, without an address that can be used."""

    do: Literal["no_video"]
    style: Annotated[
        Literal["none", "null", "empty_list", "relative", "data"], BeforeValidator(_null)
    ] = "null"


class WrongSize(FaultOfVideo):
    """Announce a file of another size than it has."""

    do: Literal["wrong_size"]
    by: Annotated[int, Field(strict=True, ge=-(1 << 30), le=1 << 30)] = 1_000


class SecondVideo(FaultOfVideo):
    """Name a second video beside the first, as models that make two at once do."""

    do: Literal["second_video"]


class PrivateHost(FaultOfVideo):
    """Say that the file is at a host with a private address, as a VPN's DNS makes it seem."""

    do: Literal["private_host"]
    address: Annotated[str, BeforeValidator(_private)] = "198.18.0.7"


class Cut(Fault):
    """Break off in the middle of the file, loudly or in silence."""

    WHERE = frozenset({"download"})
    do: Literal["cut"]
    framing: Literal["content_length", "chunked", "close", "early_terminator"] = "content_length"
    at: Extent = 0.5


class WrongBody(Fault):
    """Give something else for the video, as a video."""

    WHERE = frozenset({"download"})
    do: Literal["wrong_body"]
    style: Literal["html", "xml", "empty", "one_byte"] = "html"


class Expired(Fault):
    """Say that the address has expired."""

    WHERE = frozenset({"download"})
    do: Literal["expired"]
    status: Literal[403, 404, 410] = 403


class FaultOfRange(Fault):
    """A fault of an answer to a request for the rest of a file."""

    WHERE = frozenset({"download"})

    def matches(self, asked: Asked) -> bool:
        """Tell whether it is such a request."""
        return asked.ranged and super().matches(asked)


class IgnoreRange(FaultOfRange):
    """Answer a request for the rest with the whole."""

    do: Literal["ignore_range"]


class WrongRange(FaultOfRange):
    """Answer a request for the rest with another part."""

    do: Literal["wrong_range"]


class Range416(FaultOfRange):
    """Refuse a request for the rest."""

    do: Literal["range_416"]


class ChangedEtag(Fault):
    """Call the file another version than before."""

    WHERE = frozenset({"download"})
    do: Literal["changed_etag"]


class Endless(Fault):
    """Send bytes for as long as the client takes them."""

    WHERE = frozenset({"download"})
    do: Literal["endless"]


class Claims(Fault):
    """Announce a file of a great size."""

    WHERE = frozenset({"download"})
    do: Literal["claims"]
    bytes: Annotated[int, Field(strict=True, ge=1)] = 50_000_000_000


class Trickle(Fault):
    """Send one byte at a time."""

    WHERE = frozenset({"download"})
    do: Literal["trickle"]
    every: Seconds = 1.0


Rule: TypeAlias = Annotated[
    StatusFault
    | Delay
    | Reset
    | Hang
    | CloseIdle
    | RefuseKey
    | NoCredits
    | Html
    | Redirect
    | CutBody
    | Garbage
    | Huge
    | Deep
    | Nan
    | Gzip
    | Bomb
    | LoseAnswer
    | NoId
    | SameId
    | OddId
    | Fail
    | Bill
    | Quote
    | Stuck
    | UnknownId
    | LateRows
    | LostRows
    | ForgottenId
    | BrokenId
    | StatusWord
    | NewFields
    | TakenBack
    | OthersAnswer
    | NoVideo
    | WrongSize
    | SecondVideo
    | PrivateHost
    | Cut
    | WrongBody
    | Expired
    | IgnoreRange
    | WrongRange
    | Range416
    | ChangedEtag
    | Endless
    | Claims
    | Trickle,
    Field(discriminator="do"),
]


class FaultPlan(BaseModel):
    """Rules in order: the first that meets a request is done to it.

    Attributes:
        seed: Decides which requests are met.
        clock_ahead: Seconds by which the server's clock is ahead of this machine's; behind where
            negative. Its Date headers, its log and all other times go by it.
        faults: The rules.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: Annotated[int, Field(strict=True)] = 0
    clock_ahead: Annotated[float, BeforeValidator(_offset)] = 0.0
    faults: tuple[Rule, ...] = ()
