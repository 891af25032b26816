"""Submits whose fate is unknown: looked up in the provider's log until found or left for people."""

from dataclasses import dataclass
from typing import Final

from batchgen.events import Level
from batchgen.job import OnAmbiguous
from batchgen.ledger.tables import Record
from batchgen.run.means import Generation, Means
from batchgen.task import Status

LOOK_UPS: Final = (10.0, 60.0, 600.0)
"""Seconds after a submit at which it is looked up; later ones come hourly."""
HOUR: Final = 3600.0
FIRST_LOOK_UPS: Final = 2
"""A run that is otherwise done waits for so many look-ups of each doubt."""


@dataclass(slots=True)
class Doubt:
    """One submit in doubt.

    Attributes:
        record: Its task.
        at: Wall-clock seconds of the submit.
        due: Monotonic seconds of the next look-up.
        tries: Look-ups tried, also those that were not answered.
        looked_up: Look-ups that were answered, without finding it.
    """

    record: Record
    at: float
    due: float
    tries: int = 0
    looked_up: int = 0


class Doubts:
    """The submits in doubt, by client request id.

    Attributes:
        handed_out: Tasks that are submitted a second time, which nobody else may start.
    """

    def __init__(self) -> None:
        self._doubts: dict[str, Doubt] = {}
        self.handed_out: set[str] = set()

    def add(
        self, record: Record, client_request_id: str, at: float, due: float, *, tries: int = 0
    ) -> None:
        """Take one in.

        Args:
            record: Its task.
            client_request_id: What it was sent with.
            at: Wall-clock seconds of the submit.
            due: Monotonic seconds of the first look-up.
            tries: Look-ups that earlier runs may be taken to have made.
        """
        self._doubts[client_request_id] = Doubt(record, at, due, tries)

    @property
    def young(self) -> bool:
        """Tell whether there is one that a finished run should still wait for."""
        return any(doubt.tries < FIRST_LOOK_UPS for doubt in self._doubts.values())

    def next_due(self) -> float | None:
        """Return monotonic seconds of the next look-up; None where there is none to make."""
        return min((doubt.due for doubt in self._doubts.values()), default=None)

    async def look_up(self, means: Means) -> list[tuple[Record, Generation | None]]:
        """Look up what is due.

        Returns:
            Tasks to go on with: from the generation that was found, or, where the job says
            `resubmit`, from the beginning. Their slots are still to be taken.
        """
        now = means.clock.monotonic()
        due = {sent: doubt for sent, doubt in self._doubts.items() if doubt.due <= now}
        if not due:
            return []
        log = await means.look_up(due.keys(), min(doubt.at for doubt in due.values()))
        going_on: list[tuple[Record, Generation | None]] = []
        for sent, doubt in due.items():
            doubt.tries += 1
            doubt.looked_up += log.whole
            doubt.due = now + _gap(doubt.tries)
            generation_id = log.found.get(sent)
            if generation_id is not None:
                del self._doubts[sent]
                if await self._adopt(means, doubt, generation_id):
                    generation = Generation(generation_id, doubt.at, resumed=True)
                    going_on.append((doubt.record, generation))
            elif self._may_resubmit(means, doubt):
                del self._doubts[sent]
                going_on.append((await self._resubmit(means, doubt), None))
        return going_on

    @staticmethod
    async def _adopt(means: Means, doubt: Doubt, generation_id: str) -> bool:
        kept = await means.ledger.accepted(
            doubt.record.task_id, generation_id, at=means.clock.now()
        )
        if kept:
            means.tally.moved(doubt.record, Status.UNRESOLVED, Status.IN_FLIGHT)
        return kept

    async def _resubmit(self, means: Means, doubt: Doubt) -> Record:
        self.handed_out.add(doubt.record.task_id)
        record = await means.ledger.resubmit(doubt.record.task_id, at=means.clock.now())
        means.tally.reserve(means.price)
        means.tally.moved(record, Status.UNRESOLVED, Status.PENDING)
        means.tally.say(
            f"task {record.task_id} is submitted again, as on_ambiguous says: "
            "its first submit was not found in the provider's log",
            Level.WARNING,
        )
        return record

    @staticmethod
    def _may_resubmit(means: Means, doubt: Doubt) -> bool:
        return (
            means.settings.on_ambiguous is OnAmbiguous.RESUBMIT
            and doubt.looked_up >= FIRST_LOOK_UPS
            and doubt.record.attempts < means.settings.retry.attempts
            and not means.stopping.asked
            and means.over_budget() is None
        )


def _gap(tries: int) -> float:
    """Return seconds from one look-up to the next."""
    return LOOK_UPS[tries] - LOOK_UPS[tries - 1] if tries < len(LOOK_UPS) else HOUR
