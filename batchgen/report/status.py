"""status.json: how a run stands, for other processes, since the ledger is open to one only."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Final

from pydantic import TypeAdapter, ValidationError

from batchgen.rundir import RunDirectory, replacing
from batchgen.task import Status

RUNNING: Final = "running"


@dataclass(frozen=True, slots=True)
class RunStatus:
    """How a run stands.

    Attributes:
        state: `running`, or why it ended.
        counts: Tasks by status.
        total: Tasks of the job.
        started_at: Unix seconds.
        updated_at: Unix seconds.
        seconds: How long it has run.
        done_before: Tasks that had succeeded when it began.
        cost_usd: What the videos cost so far; None where nothing is known of it.
        detail: A sentence that says more; may be empty.
        pid: The process.
    """

    state: str
    counts: Mapping[str, int]
    total: int
    started_at: float
    updated_at: float
    seconds: float
    done_before: int
    cost_usd: float | None = None
    detail: str = ""
    pid: int = 0

    @property
    def per_minute(self) -> float | None:
        """Return videos a minute, of this run alone."""
        made = self.counts.get(Status.SUCCEEDED, 0) - self.done_before
        return made * 60 / self.seconds if made > 0 and self.seconds > 0 else None

    @property
    def seconds_left(self) -> float | None:
        """Return the seconds the rest will take at this pace; None where nobody can tell."""
        rate = self.per_minute
        open_tasks = sum(
            self.counts.get(status, 0)
            for status in (Status.PENDING, Status.SUBMITTING, Status.IN_FLIGHT, Status.COMPLETED)
        )
        return open_tasks * 60 / rate if rate else None


_STATUS: Final = TypeAdapter(RunStatus)


def write_status(directory: RunDirectory, status: RunStatus) -> None:
    """Replace status.json.

    Raises:
        OSError: It cannot be written.
    """
    with replacing(directory.status) as file:
        json.dump({**asdict(status), "pid": os.getpid()}, file, indent=1)


def read_status(directory: RunDirectory) -> RunStatus | None:
    """Read status.json; None where there is none, or none that can be read."""
    try:
        return _STATUS.validate_json(directory.status.read_bytes())
    except (OSError, ValidationError):
        return None
