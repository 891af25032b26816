"""The command `batchgen` at the campaign's clock; it also notes the health of its event loop.

`python -m tests.campaign.child --rate R --epoch T --vitals FILE -- run JOB ...`
"""

import argparse
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final
from unittest import mock

import anyio

from batchgen.cli import driving
from batchgen.cli.app import main as batchgen
from batchgen.errors import first_error
from batchgen.job import Job
from batchgen.session import Session, open_session
from tests.campaign.hurry import HurriedClock

SAMPLE_SECONDS: Final = 0.02
SAMPLES_A_LINE: Final = 25


async def note_vitals(path: Path) -> None:
    """Append to a file, twice a second, how late the event loop was and how much memory is held.

    A line is peak memory in KiB, then seconds of lag. Written as it goes: the process is killed.
    """
    with path.open("a", encoding="ascii") as file:
        while True:
            lags = []
            for _ in range(SAMPLES_A_LINE):
                due = time.monotonic() + SAMPLE_SECONDS
                await anyio.sleep(SAMPLE_SECONDS)
                lags.append(f"{max(0.0, time.monotonic() - due):.4f}")
            file.write(f"{peak_kib()} {' '.join(lags)}\n")
            file.flush()


def peak_kib() -> int:
    """Return the most memory this process ever held, in KiB.

    Not `ru_maxrss`: that begins with what the parent held at the fork.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    raise LookupError("VmHWM")


def main() -> None:
    """Run the command with its clock and its vitals."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaign.child")
    HurriedClock.add_arguments(parser)
    parser.add_argument("--vitals", type=Path, required=True)
    parser.add_argument("arguments", nargs="+")
    options = parser.parse_args()
    clock = HurriedClock.of(options)

    @asynccontextmanager
    async def hurried(job: Job, **more: Any) -> AsyncIterator[Session]:
        try:
            async with (
                open_session(job, clock=clock, **more) as session,
                anyio.create_task_group() as vitals,
            ):
                vitals.start_soon(note_vitals, options.vitals)
                yield session
                vitals.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            raise first_error(group) from group

    # Time is an argument of the session; the command has no option for it.
    with mock.patch.object(driving, "open_session", hurried):
        batchgen(options.arguments)


if __name__ == "__main__":
    main()
