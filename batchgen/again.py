"""Which failed tasks are tried again, and how: what `retry` means to a ledger."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from batchgen import names
from batchgen.errors import UsageError
from batchgen.job import Job
from batchgen.ledger.ledger import Ledger
from batchgen.ledger.tables import Record
from batchgen.reseeding import with_another_seed
from batchgen.task import FORGOTTEN, Cause, Status, Task

_OWN_CODES: Final = frozenset(
    {"moderation", "rejected", "no_video", "fetch_refused", "download_failed"}
)
"""Codes that a run itself gives; all others are the provider's."""
_KNOWN_REASONS: Final = frozenset({Status.FAILED, Status.TIMED_OUT, *Cause, *_OWN_CODES})


@dataclass(frozen=True, slots=True)
class Again:
    """Which failed tasks are tried again, and how.

    With a new seed a failed task is replaced: another task, with an id of its own, is made in its
    place. The failed one stays in ledger and manifest as it is, names its replacement there, counts
    no longer, and is never tried again. Every later run of the unchanged job, which only knows the
    seed that failed, has the replacement in its place; a job without the failed task has neither.
    What was paid for already (a generation that took too long, a download that failed) is asked for
    by its id, and gets no new seed; where the provider forgot the id, it is submitted anew.

    Attributes:
        reasons: Only those that ended for one of these: an error code, a status (`failed`,
            `timed_out`) or a phase (`submit`, `generation`, `fetch`, `download`); all where empty.
        alone: Whether these are all that is done: no task that is new is submitted.
        new_seed: Whether each that is submitted anew gets another seed.
    """

    reasons: tuple[str, ...] = ()
    alone: bool = False
    new_seed: bool = False


def unmatched_reasons(ledger: Ledger, reasons: Sequence[str]) -> list[str]:
    """Return the reasons for which no task ended.

    Raises:
        UsageError: One of them is no word that is known, and no task ended with it: a slip of the
            pen, which must not look like a morning without failures.
    """
    endings = ledger.endings()
    unmatched = [
        reason for reason in reasons if not any(ending.matches(reason) for ending in endings)
    ]
    unknown = [reason for reason in unmatched if reason not in _KNOWN_REASONS]
    if not unknown:
        return unmatched
    counts: Counter[str] = Counter()
    for ending in endings:
        counts[ending.code] += ending.count
    found = ", ".join(f"{code} ({count})" for code, count in counts.most_common())
    said = f"tasks ended with {found}" if found else "none failed or timed out"
    path = ledger.directory.path
    hint = f"; settle them with: batchgen resolve {path}" if "unresolved" in unknown else ""
    raise UsageError(f"no task of {path} ended with {', '.join(unknown)}; {said}{hint}")


def paid_twice(ledger: Ledger, again: Again) -> str | None:
    """Say in a sentence what `tried_again` may pay for a second time; None where nothing."""
    known = (Status.FAILED, Cause.FETCH, FORGOTTEN)
    if again.reasons and not set(again.reasons).intersection(known):
        return None
    forgotten = ledger.forgotten()
    if not forgotten:
        return None
    prices = [price for _, price in forgotten if price is not None]
    cost = f" (${sum(prices):.2f} so far)" if prices else ""
    were = "1 generation was" if len(forgotten) == 1 else f"{len(forgotten)} generations were"
    return (
        f"{were} paid for{cost} and then forgotten by the provider: submitted again, each may be "
        "paid for a second time"
    )


def tried_again(job: Job, ledger: Ledger, again: Again, *, at: float) -> list[str]:
    """Make failed tasks ready to be submitted; return the ids of all that wait for it."""
    if not again.new_seed:
        return ledger.retry(again.reasons, at=at)

    def another(record: Record, number: int) -> tuple[Task, str]:
        task = with_another_seed(job, record.task, number)
        return task, names.stem(job.output.name, task, job.name)

    return ledger.replace(another, again.reasons)
