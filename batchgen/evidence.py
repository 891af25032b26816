"""Whether a submit in doubt was not taken, by what the provider's log shows of known submits.

Pure. Nothing documents how soon or how completely the log lists submits, so a run learns it from
its own: every submit that is known to have been taken is looked for in the log, too, and how old it
was when it was first listed is kept. Let t be the least time within which enough of them were
listed, and no shorter than it took any that a look-up had missed before. Then, of a doubt:

    what was seen                                              ruling
    a submit that was repeated turned up in the log after all  HOLD
    the doubt's task was submitted again before                HOLD
    fewer than 100 known submits were listed, or too few for   LEARN (WAIT if those that are
    the rule of three below                                    young and not listed may suffice)
    fewer than 5 of them had lost their answer and were found  LEARN
    a known submit is not listed at 10 t                       HOLD
    a known submit is not listed at t                          WAIT
    the doubt was not looked for at 10 t                       WAIT, until then
    the known submit that left last before it is not listed    HOLD
    no known submit left after it                              LEARN
    the known submit that left first after it is not listed    WAIT
    else                                                       AGAIN

Known submits count whether or not their generation still runs. If the log lists only what has
ended, they show it: they are listed late, t is as long as a generation takes, and the doubt, which
would run as they do, gets ten times that. Counting only what has ended would leave out just those
that are listed late, and t would be too short.

The rule of three (Hanley and Lippman-Hand, JAMA 249, 1983): where none of n is missing, at most 3/n
of all are, at 95% confidence. So of m repeats on evidence no more than 3 m / n are expected to be
bought twice, and that stays under one video: m < n / 3.

The submits before and after it are looked for again together with the doubt: a log that no longer
reaches back so far, or is another account's, lacks them, too. A log that lists what was answered
and never what was not would pass for complete, were it not for the 5.

All times are ages, so that no clock is compared with another. The caller measures those of known
submits so that an error makes them longer, and those of doubts so that it makes them shorter.
"""

from bisect import bisect_right
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

LEAST_KNOWN: Final = 100
"""Known submits that must have been listed."""
LEAST_ADOPTED: Final = 5
"""Of these, submits whose answer was lost and whose id came from the log."""
MARGIN: Final = 10.0
"""A doubt is waited for so many times as long as it took the known ones to be listed."""
FINEST: Final = 60.0
"""Seconds; t is taken to be no shorter: look-ups are no more frequent, and a POST that was given up
may arrive minutes later."""


@dataclass(frozen=True, slots=True)
class Known:
    """A submit that is known to have been taken, and what look-ups showed of it.

    Attributes:
        listed: Seconds after it left at which a look-up first found it; None while none has.
        absent: Seconds after it left of the latest look-up that read the whole log and did not
            find it; None if there was none.
        adopted: Whether its answer was lost and its id came from the log.
    """

    listed: float | None = None
    absent: float | None = None
    adopted: bool = False


@dataclass(frozen=True, slots=True)
class Doubt:
    """A submit of which nobody knows whether it was taken.

    Attributes:
        absent: As for `Known`.
        repeated: Whether its task was submitted again before.
        before: Whether that look-up found the known submit that left last before it; None if there
            is none.
        after: Likewise, of the one that left first after it.
    """

    absent: float | None = None
    repeated: bool = False
    before: bool | None = None
    after: bool | None = None


class Ruling(Enum):
    """What may be done about a doubt."""

    AGAIN = "it was not taken: submit it again"
    WAIT = "time will tell: look again"
    LEARN = "more known submits are needed"
    HOLD = "nothing this run can see will settle it"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What may be done about a doubt, and why.

    Attributes:
        ruling: What.
        reason: Why, in a clause for a person.
        due: Seconds after the doubt's submit at which to look for it again; None if the answer
            does not hang on that.
    """

    ruling: Ruling
    reason: str
    due: float | None = None


class Log:
    """What is known of a provider's log.

    Args:
        known: The known submits that were looked for or will be, in any order.
        repeats: Submits that were repeated on evidence so far.
        turned_up: Whether one of those was in the log after all.
    """

    def __init__(
        self, known: Collection[Known], *, repeats: int = 0, turned_up: bool = False
    ) -> None:
        self._listed = sorted(each.listed for each in known if each.listed is not None)
        self._adopted = sorted(
            each.listed for each in known if each.listed is not None and each.adopted
        )
        # One that a look-up missed tells how long it takes; of one that was there when it was
        # first looked for, its age says nothing of that if nobody looked sooner.
        self._slowest = max(
            (each.listed for each in known if each.listed is not None and each.absent is not None),
            default=0.0,
        )
        # Looked for so soon that they tell how long it takes, or missed at least once.
        self._telling = sum(
            each.absent is not None or (each.listed is not None and each.listed <= 2 * FINEST)
            for each in known
        )
        self._unlisted: Sequence[Known] = [each for each in known if each.listed is None]
        self._repeats = repeats
        self._turned_up = turned_up

    @property
    def needed(self) -> int:
        """How many known submits must be listed before one more is repeated."""
        return max(LEAST_KNOWN, 3 * (self._repeats + 1) + 1)

    @property
    def is_studied(self) -> bool:
        """Tell whether enough known submits were looked for soon enough to tell how long it takes.

        It says nothing of how long that is, nor of how many are listed at all.
        """
        return self._telling >= self.needed

    @property
    def within(self) -> float | None:
        """Seconds within which known submits are listed; None while too few were."""
        if len(self._listed) < self.needed or len(self._adopted) < LEAST_ADOPTED:
            return None
        return max(
            FINEST,
            self._slowest,
            self._listed[self.needed - 1],
            self._adopted[LEAST_ADOPTED - 1],
        )

    def judge(self, doubt: Doubt) -> Verdict:
        """Look the doubt up in the table above."""
        if self._turned_up:
            return Verdict(
                Ruling.HOLD, "a submit that was repeated was in the provider's log after all"
            )
        if doubt.repeated:
            return Verdict(Ruling.HOLD, "its task was submitted again before")
        seconds = self.within
        if seconds is None:
            return self._too_few()
        if (late := self._late(seconds)) is not None:
            return late
        if doubt.absent is None or doubt.absent < MARGIN * seconds:
            return Verdict(
                Ruling.WAIT,
                f"known submits are in the provider's log within {seconds:.0f} s, so it is looked "
                f"for until {MARGIN * seconds:.0f} s after it left",
                MARGIN * seconds,
            )
        if doubt.before is False:
            return Verdict(
                Ruling.HOLD, "the provider's log does not reach back to when it was submitted"
            )
        if not doubt.after:
            return Verdict(
                Ruling.LEARN if doubt.after is None else Ruling.WAIT,
                "no submit that left after it is in the provider's log",
            )
        return Verdict(
            Ruling.AGAIN,
            f"{self.said}; this one was not there {doubt.absent:.0f} s after it left, when the "
            "next one was",
        )

    @property
    def said(self) -> str:
        """What is known, in a clause for a person."""
        if (seconds := self.within) is None:
            return self._too_few().reason
        count = bisect_right(self._listed, seconds)
        adopted = bisect_right(self._adopted, seconds)
        return (
            f"{count} known submits were in the provider's log within {seconds:.0f} s, "
            f"{adopted} of them found there after a lost answer"
        )

    def _too_few(self) -> Verdict:
        listed = len(self._listed)
        if listed < self.needed:
            young = sum((each.absent or 0.0) < MARGIN * FINEST for each in self._unlisted)
            return Verdict(
                Ruling.WAIT if listed + young >= self.needed else Ruling.LEARN,
                f"{listed} known submits were seen in the provider's log, and {self.needed} are "
                "needed to know it",
            )
        return Verdict(
            Ruling.LEARN,
            f"{len(self._adopted)} submits were found in the provider's log after a lost answer, "
            f"and {LEAST_ADOPTED} are needed to know it",
        )

    def _late(self, seconds: float) -> Verdict | None:
        """Judge known submits that should be listed by now and are not."""
        late = [
            each.absent
            for each in self._unlisted
            if each.absent is not None and each.absent > seconds
        ]
        if not late:
            return None
        gone = sum(absent >= MARGIN * seconds for absent in late)
        if gone:
            return Verdict(
                Ruling.HOLD,
                f"{gone} known {'submit is' if gone == 1 else 'submits are'} missing from the "
                "provider's log, so what is not in it may have been taken all the same",
            )
        return Verdict(
            Ruling.WAIT,
            f"{len(late)} known {'submit is' if len(late) == 1 else 'submits are'} not in the "
            f"provider's log yet, though others were within {seconds:.0f} s",
        )
