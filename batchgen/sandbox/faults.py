"""What goes wrong, how often and for whom: a fault plan, and which of its faults a request meets.

Pure: the same plan and the same requests give the same faults, in whatever order they come. How a
fault is done is `sabotage`'s.
"""

from collections import Counter
from hashlib import blake2b
from typing import Annotated, ClassVar, Final, Literal, TypeAlias, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from batchgen.jobfile import values

Place: TypeAlias = Literal["submit", "fetch", "download", "logs", "balance", "models"]
ANYWHERE: Final = frozenset[Place](get_args(Place))


def _places(value: object) -> object:
    if value == "all":
        return ANYWHERE
    return [value] if isinstance(value, str) else value


def _share(value: object) -> object:
    """Read `5%` as 0.05; a number stays what it is."""
    if isinstance(value, str) and value.endswith("%"):
        try:
            return float(value[:-1]) / 100
        except ValueError:
            return value
    return value


Share = Annotated[float, BeforeValidator(_share), Field(ge=0, le=1)]
Seconds = Annotated[float, BeforeValidator(values.duration)]
Count = Annotated[int, Field(ge=0)]


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
    # Done to requests for the rest of a file only.
    RANGED: ClassVar[bool] = False

    do: str
    on: Annotated[frozenset[Place], BeforeValidator(_places), Field(min_length=1)]
    rate: Share = 1.0
    first: Count | None = None
    skip: Count = 0
    each: Count | None = None
    since: Seconds = Field(0.0, alias="from")
    until: Seconds | None = None

    @model_validator(mode="after")
    def _fits(self) -> "Fault":
        if misplaced := self.on - self.WHERE:
            where = " and ".join(sorted(self.WHERE))
            raise ValueError(f"{self.do} is done to {where} only, not to {min(misplaced)}")
        return self


class Taking(Fault):
    """A fault that, done to a submit, says whether the submit was taken all the same."""

    taken: bool = True


class StatusFault(Fault):
    """Answer with a status."""

    do: Literal["status"]
    status: Annotated[int, Field(ge=200, le=599)]
    message: str = "The fault plan says so."
    retry_after: float | str | None = None
    taken: bool = False


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
    """Answer, then close the connection without having said so."""

    do: Literal["close_idle"]


class RefuseKey(Fault):
    """Answer 401."""

    do: Literal["refuse_key"]


class NoCredits(Fault):
    """Answer that the account is empty."""

    do: Literal["no_credits"]
    status: Literal[400, 402, 403] = 403


class Html(Taking):
    """Answer 200 with a page for people."""

    do: Literal["html"]


class Redirect(Fault):
    """Send the client elsewhere; to a place where the sandbox notes who comes, if not told."""

    do: Literal["redirect"]
    status: Literal[301, 302, 303, 307, 308] = 307
    to: str | None = None


class CutBody(Fault):
    """Handle the request, but break off in the middle of the answer's body."""

    do: Literal["cut_body"]
    at: Share = 0.5
    keep_id_header: bool = False


class Garbage(Taking):
    """Answer with bytes that are no JSON."""

    do: Literal["garbage"]


class Huge(Taking):
    """Answer with megabytes of JSON."""

    do: Literal["huge"]
    bytes: Annotated[int, Field(ge=1, le=1 << 30)] = 5_000_000


class Deep(Taking):
    """Answer with JSON that is nested very deep."""

    do: Literal["deep"]
    depth: Annotated[int, Field(ge=1, le=10_000_000)] = 100_000


class Nan(Taking):
    """Answer with NaN where values are, which is in no JSON."""

    do: Literal["nan"]


class Gzip(Fault):
    """Compress the answer, asked for or not."""

    do: Literal["gzip"]


class Bomb(Fault):
    """Answer with a few bytes that unpack to very many."""

    do: Literal["bomb"]
    bytes: Annotated[int, Field(ge=1, le=1 << 33)] = 1 << 30


class LoseAnswer(Fault):
    """Take the submit, then close the connection without an answer."""

    WHERE = frozenset({"submit"})
    do: Literal["lose_answer"]


class NoId(Fault):
    """Take the submit and answer without its id."""

    WHERE = frozenset({"submit"})
    do: Literal["no_id"]


class SameId(Fault):
    """Take nothing and answer with the id of the first generation there was."""

    WHERE = frozenset({"submit"})
    do: Literal["same_id"]


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


class StatusWord(Fault):
    """Say where the generation stands in a word nobody knows, in capitals, or not at all."""

    WHERE = frozenset({"fetch"})
    do: Literal["status_word"]
    word: Literal["pondering", "COMPLETED", "missing"] = "pondering"


class NewFields(Fault):
    """Put fields into the answer that nobody knows."""

    WHERE = frozenset({"fetch"})
    do: Literal["new_fields"]


class NoVideo(Fault):
    """Say completed, without an address that can be used."""

    WHERE = frozenset({"fetch"})
    do: Literal["no_video"]
    style: Literal["none", "null", "empty_list", "relative", "data"] = "null"


class Cut(Fault):
    """Break off in the middle of the file, loudly or in silence."""

    WHERE = frozenset({"download"})
    do: Literal["cut"]
    framing: Literal["content_length", "chunked", "close", "early_terminator"] = "content_length"
    at: Share = 0.5


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


class IgnoreRange(Fault):
    """Answer a request for the rest with the whole."""

    WHERE = frozenset({"download"})
    RANGED = True
    do: Literal["ignore_range"]


class WrongRange(Fault):
    """Answer a request for the rest with another part."""

    WHERE = frozenset({"download"})
    RANGED = True
    do: Literal["wrong_range"]


class Range416(Fault):
    """Refuse a request for the rest."""

    WHERE = frozenset({"download"})
    RANGED = True
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
    bytes: Annotated[int, Field(ge=1)] = 50_000_000_000


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
    | Stuck
    | UnknownId
    | StatusWord
    | NewFields
    | NoVideo
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
        faults: The rules.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = 0
    faults: tuple[Rule, ...] = ()


class Faults:
    """A plan at work.

    Attributes:
        plan: The plan.
        done: How often each rule was done, in the plan's order.
    """

    def __init__(self, plan: FaultPlan, began: float) -> None:
        """Begin at `began`, in Unix seconds."""
        self.plan = plan
        self.done = [0] * len(plan.faults)
        self._began = began
        self._met = [0] * len(plan.faults)
        self._asked: Counter[tuple[str, str]] = Counter()
        self._hit: Counter[tuple[int, str]] = Counter()

    def choose(self, place: Place, identity: str, now: float, *, ranged: bool) -> Rule | None:
        """Return what is done to a request; None leaves it alone.

        Args:
            place: What kind of request it is.
            identity: What it is about, the same in every run of the same job: requests about
                different things may come in any order without changing what is done to them.
            now: Unix seconds.
            ranged: Whether it asks for the rest of a file.
        """
        self._asked[place, identity] += 1
        turn = self._asked[place, identity]
        for number, rule in enumerate(self.plan.faults):
            if self._meets(number, rule, place, identity, turn, now - self._began, ranged):
                self._hit[number, identity] += rule.each is not None
                self.done[number] += 1
                return rule
        return None

    def _meets(
        self,
        number: int,
        rule: Rule,
        place: Place,
        identity: str,
        turn: int,
        seconds: float,
        ranged: bool,  # noqa: FBT001
    ) -> bool:
        if place not in rule.on or (rule.RANGED and not ranged):
            return False
        if seconds < rule.since or (rule.until is not None and seconds >= rule.until):
            return False
        self._met[number] += 1
        place_in_line = self._met[number] - rule.skip
        if place_in_line < 1 or (rule.first is not None and place_in_line > rule.first):
            return False
        if rule.each is not None and self._hit[number, identity] >= rule.each:
            return False
        return self._draw(number, identity, 0 if rule.LASTING else turn) < rule.rate

    def _draw(self, number: int, identity: str, turn: int) -> float:
        """Hash a decision to a number in [0, 1)."""
        text = f"{self.plan.seed}\n{number}\n{identity}\n{turn}".encode(errors="replace")
        return int.from_bytes(blake2b(text, digest_size=7).digest()) / 2**56
