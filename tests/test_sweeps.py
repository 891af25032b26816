"""The kill sweep: a run of 20 tasks dies at one durable step after the other, twice, and recovers.

Kills of the process, not of the machine: what was handed to the kernel stays. What only an fsync
keeps is for the sweeps that make system calls fail.
"""

import random
import signal
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import pytest

from tests.sweeps import books
from tests.sweeps.child import Order
from tests.sweeps.points import UNHARMED, Plan
from tests.sweeps.runs import End, Runs, forking, server, taken

pytestmark = pytest.mark.anyio

KINDS: Final = (
    "commit schema",
    "made schema",
    "commit more",
    "commit pending",
    "made pending",
    "commit submitting",
    "made submitting",
    "post",
    "sent",
    "answered",
    "commit in_flight",
    "made in_flight",
    "commit completed",
    "made completed",
    "open",
    "truncate",
    "write",
    "fsync",
    "commit completed-verified",
    "made completed-verified",
    "replace videos",
    "replaced videos",
    "commit succeeded",
    "made succeeded",
    "replace .batchgen",
    "replaced .batchgen",
    "pwrite",
)
"""Every kind of durable step, with the moments between which a task's money hangs on it."""
RECOVERY: Final = 90
"""Points of a recovery among which its own kill is drawn; a run has some 360."""
CHUNKS: Final = 4
STRIDE: Final = 5
"""Every fifth step in the usual suite; the night takes every one."""


@pytest.fixture(scope="module")
def runs() -> Iterator[Runs]:
    with forking() as started:
        yield started


@pytest.fixture
def folder() -> Iterator[Path]:
    """A directory in memory where there is one: no kill of a process can tell the difference."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        yield Path(name)


async def die_twice(runs: Runs, folder: Path, first: Plan, seed: int) -> End:
    """Kill a run, kill its recovery, let the third come to its end, and check after each.

    Returns:
        How the first ended.
    """
    account: books.Account = ()
    async with server() as sandbox:
        directory = folder / f"run-{seed}"
        again = Plan("kill", at=random.Random(seed).randint(1, RECOVERY))
        ends = []
        untaken: set[str] = set()
        for plan in (first, again, UNHARMED):
            end = await runs.run(Order(directory, sandbox.url, plan))
            ends.append(end)
            account = await taken(sandbox)
            assert end.killed_at or (end.status == 0 and not end.error), end
            assert end.status == (-signal.SIGKILL if end.killed_at else 0), end
            # What was in doubt and not taken at a kill stays so: nothing is sent a second time.
            untaken = books.check_at_rest(directory, account)
            assert len(untaken) <= books.SUBMITS * sum(bool(each.killed_at) for each in ends)
        books.check_end(directory, account, 20, untaken)
    return ends[0]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_run_that_dies_at_this_kind_of_step_and_again_in_its_recovery_recovers(
    runs: Runs, folder: Path, kind: str
) -> None:
    first = await die_twice(runs, folder, Plan("kill", at=1, only=(kind,)), len(kind))
    assert first.killed_at.startswith(kind)


@pytest.mark.parametrize("chunk", range(CHUNKS))
async def test_a_run_that_dies_at_the_nth_step_and_again_in_its_recovery_recovers(
    runs: Runs, folder: Path, chunk: int
) -> None:
    assert await sweep(runs, folder, first=chunk * STRIDE + 1, step=CHUNKS * STRIDE) > 10


@pytest.mark.nightly
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("round_", range(5))
@pytest.mark.parametrize("chunk", range(8))
async def test_a_run_that_dies_at_any_step_and_again_at_any_of_its_recovery_recovers(
    runs: Runs, folder: Path, chunk: int, round_: int
) -> None:
    assert await sweep(runs, folder, first=chunk + 1, step=8, salt=round_ + 1) > 30


async def sweep(runs: Runs, folder: Path, *, first: int, step: int, salt: int = 0) -> int:
    """Kill a run at every `step`-th point from `first` on until it has none more; count them."""
    at = first
    while (await die_twice(runs, folder, Plan("kill", at=at), 1000 * salt + at)).killed_at:
        at += step
    return (at - first) // step
