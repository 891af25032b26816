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
STARTING: Final = "starting"
KILLED: Final = "killed"
LOOKS: Final = 3


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
        ends_at: Unix seconds after which it submits nothing new (`stop_at`); None for never.
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
    ends_at: float | None = None

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


@dataclass(frozen=True, slots=True)
class Seen:
    """A run directory as other processes see it.

    Attributes:
        held: Whether a process works in it.
        found: What the latest run has written of itself; None where nothing can be read.
        state: `running`; `starting` where a process works in it that has written nothing yet (it
            may be a command other than `run`); `killed` where the latest run has not said how it
            ended; else why it ended. Empty without `found`.
    """

    held: bool
    found: RunStatus | None
    state: str


def see(directory: RunDirectory) -> Seen:
    """Find out how the latest run of a directory stands.

    The lock and status.json are two looks, and runs begin and end between them. A run that ends
    writes how before it lets go of the lock, so one was killed where nobody held the lock between
    two readings that both say that the same run goes on.
    """
    found = read_status(directory)
    seen = Seen(held=False, found=None, state="")
    for _ in range(LOOKS):
        held = directory.is_held()
        before, found = found, read_status(directory)
        if found is None:
            return Seen(held, None, "")
        goes_on = found.state == RUNNING
        if held:
            seen = Seen(held, found, RUNNING if goes_on else STARTING)
        elif not goes_on:
            return Seen(held, found, found.state)
        elif found == before:
            return Seen(held, found, KILLED)
        else:
            seen = Seen(held, found, RUNNING)
        if held and goes_on:
            break
    return seen
