"""Submits whose fate is unknown: looked up in the provider's log until found or left for people."""

from dataclasses import dataclass
from typing import Final

from batchgen.events import Level
from batchgen.job import OnAmbiguous
from batchgen.ledger import Record
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
        looked_up: How often it was looked up.
    """

    record: Record
    at: float
    due: float
    looked_up: int = 0


class Doubts:
    """The submits in doubt, by client request id."""

    def __init__(self) -> None:
        self._doubts: dict[str, Doubt] = {}

    def add(self, record: Record, client_request_id: str, at: float, due: float) -> None:
        """Take one in."""
        self._doubts[client_request_id] = Doubt(record, at, due)

    @property
    def young(self) -> bool:
        """Tell whether there is one that a finished run should still wait for."""
        return any(doubt.looked_up < FIRST_LOOK_UPS for doubt in self._doubts.values())

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
        since = min(doubt.at for doubt in due.values())
        found = await means.provider.find(due.keys(), since)
        going_on: list[tuple[Record, Generation | None]] = []
        for sent, doubt in due.items():
            generation_id = found.get(sent)
            if generation_id is not None:
                del self._doubts[sent]
                await means.ledger.accepted(
                    doubt.record.task_id, generation_id, at=means.clock.now()
                )
                means.tally.moved(doubt.record, Status.UNRESOLVED, Status.IN_FLIGHT)
                going_on.append((doubt.record, Generation(generation_id, doubt.at, resumed=True)))
                continue
            doubt.looked_up += 1
            doubt.due = now + _gap(doubt.looked_up)
            if self._may_resubmit(means, doubt):
                del self._doubts[sent]
                await means.ledger.resubmit(doubt.record.task_id, at=means.clock.now())
                means.tally.moved(doubt.record, Status.UNRESOLVED, Status.PENDING)
                means.tally.say(
                    f"task {doubt.record.task_id} is submitted again, as on_ambiguous says: "
                    "its first submit was not found in the provider's log",
                    Level.WARNING,
                )
                going_on.append((doubt.record, None))
        return going_on

    @staticmethod
    def _may_resubmit(means: Means, doubt: Doubt) -> bool:
        return (
            means.settings.on_ambiguous is OnAmbiguous.RESUBMIT
            and doubt.looked_up >= FIRST_LOOK_UPS
            and doubt.record.attempts < means.settings.retry.attempts
            and not means.stopping.asked
        )


def _gap(looked_up: int) -> float:
    """Return seconds from one look-up to the next."""
    if looked_up < len(LOOK_UPS):
        return LOOK_UPS[looked_up] - LOOK_UPS[looked_up - 1]
    return HOUR
