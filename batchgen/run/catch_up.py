"""Before anything is bought: does the provider's log know of submits that the ledger does not?

A ledger that was put back from a copy does not know what was bought since.
"""

from collections import Counter
from typing import Final

from batchgen.events import Level
from batchgen.ledger.catch_up import KnownSubmit
from batchgen.ledger.questions import PROVIDER_LOG
from batchgen.ledger.tables import Record
from batchgen.limits import PROBE_SECONDS
from batchgen.run.means import Generation, Means
from batchgen.task import Status

NO_ENTRY_SECONDS: Final = 7 * 86_400.0
"""How far back the log of a ledger is read that knows no submit at all: it is young, or lost."""
READINGS: Final = 3
"""How often a log that cannot be read is tried before a run goes on without it."""


async def catch_up(means: Means) -> list[tuple[Record, Generation]]:
    """Take in what the provider's log lists of this run directory since the ledger's last entry.

    A directory's first run has nothing to look for. Cancelling it leaves what was taken in.

    Returns:
        The tasks that turned out to be in flight; their slots are still to be taken.
    """
    ledger = means.ledger
    if ledger.is_new or not ledger.counts().get(Status.PENDING):
        return []
    now = means.clock.now()
    listed = await _listed(means, ledger.last_entry or now - NO_ENTRY_SECONDS)
    strange = await ledger.strange(listed.keys())
    mine = [
        KnownSubmit(
            sent.partition(".")[0],
            sent,
            listed[sent],
            base_url=means.base_url,
            reserved_usd=means.spending.price,
        )
        for sent in strange
        if _run_id(sent) == ledger.run_id
    ]
    taken = await ledger.learn(mine, PROVIDER_LOG, at=now)
    if said := str(taken):
        means.tally.say(f"the ledger is older than the provider's log: {said}", Level.WARNING)
    means.spending.recount(ledger.spent(means.model))
    for record in await ledger.tasks(taken.doubtful):
        means.tally.moved(record, Status.PENDING, Status.UNRESOLVED)
        means.doubt(record, record.client_request_id or "", now)
    going_on: list[tuple[Record, Generation]] = []
    for record in await ledger.tasks(taken.generations):
        if record.generation_id is not None:
            means.tally.moved(record, Status.PENDING, Status.IN_FLIGHT)
            generation = Generation(record.generation_id, now, resumed=True)
            going_on.append((record, generation))
    _show_others(means, [run_id for sent in strange if (run_id := _run_id(sent)) != ledger.run_id])
    return going_on


async def _listed(means: Means, since: float) -> dict[str, str | None]:
    """Read the log since Unix seconds `since`: generation ids by client request id.

    An id that cannot be used is None: such a submit was taken, and is for a person to settle.
    """
    found: dict[str, str | None] = {}
    for reading in range(READINGS):
        if reading:
            await means.clock.sleep(PROBE_SECONDS)
        log = await means.provider.find(None, since, means.traffic.poll)
        found |= dict.fromkeys(log.without_id) | dict(log.found)
        if log.whole:
            return found
    means.tally.say(
        "the provider's log cannot be read to its end: submits that only it knows of may be made "
        "again",
        Level.WARNING,
    )
    return found


def _show_others(means: Means, run_ids: list[str]) -> None:
    """Say that others have submitted tasks of the job: it may run elsewhere on purpose.

    Args:
        means: What tasks are carried with.
        run_ids: The run directory of each of these submits; empty where an earlier version of
            batchgen named none.
    """
    for run_id, count in Counter(run_ids).items():
        means.tally.say(
            f"the provider's log lists {count} submits of this job's tasks by another run "
            f"directory ({run_id or 'which it does not name'}): they are not taken in",
            Level.WARNING,
        )


def _run_id(client_request_id: str) -> str:
    """Return the run directory that a client request id names; empty where it names none."""
    _, _, rest = client_request_id.partition(".")
    run_id, _, _ = rest.rpartition(".")
    return run_id
