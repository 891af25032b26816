"""The kill sweep: a run of 20 tasks dies at one durable step after the other, twice, and recovers.

Kills of the process, not of the machine: what was handed to the kernel stays. What only an fsync
keeps is for the sweeps that make system calls fail.
"""

import random
import signal
from pathlib import Path
from typing import Final

import pytest

from tests.sweeps import books
from tests.sweeps.child import Order
from tests.sweeps.points import UNHARMED, Plan
from tests.sweeps.runs import DOWNLOADS, End, Runs, server, steps, taken

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
    "write",
    "fsync parts",
    "commit completed-verified",
    "made completed-verified",
    "replace videos",
    "replaced videos",
    "commit succeeded",
    "made succeeded",
    "replace .batchgen",
    "replaced .batchgen",
    "replace run-",
    "replaced run-",
    "pwrite",
)
"""Every kind of durable step, with the moments between which a task's money hangs on it."""
IN_RECOVERY: Final = (
    "commit unresolved",
    "made unresolved",
    "unlink",
    "found",
    "commit in_flight",
    "made in_flight",
)
"""Kinds of steps that only a recovery makes, or makes in another way."""
RECOVERY: Final = 90
"""Points of a recovery among which its own kill is drawn; a run has some 360."""
CHUNKS: Final = 2
STRIDE: Final = 20
"""Every twentieth step in the usual suite; the night takes every one."""


async def die_twice(
    runs: Runs,
    folder: Path,
    first: Plan,
    seed: int,
    again: Plan | None = None,
    downloads: int = 4,
) -> tuple[End, End]:
    """Kill a run, kill its recovery, let the third come to its end, and check after each.

    Returns:
        How the first two ended.
    """
    account: books.Account = ()
    async with server() as sandbox:
        directory = folder / f"run-{seed}"
        drawn = Plan("kill", at=random.Random(seed).randint(1, RECOVERY))
        ends = []
        untaken: set[str] = set()
        for plan in (first, again or drawn, UNHARMED):
            end = await runs.run(Order(directory, sandbox.url, plan, downloads=downloads))
            ends.append(end)
            account = await taken(sandbox)
            assert end.killed_at or (end.status == 0 and not end.error), end
            assert end.status == (-signal.SIGKILL if end.killed_at else 0), end
            # What was in doubt and not taken at a kill stays so: nothing is sent a second time.
            untaken = books.check_at_rest(directory, account)
            assert len(untaken) <= books.SUBMITS * sum(bool(each.killed_at) for each in ends)
        books.check_end(directory, account, 20, untaken)
    return ends[0], ends[1]


@pytest.mark.parametrize(("kind", "downloads"), steps(KINDS))
async def test_a_run_that_dies_at_this_kind_of_step_and_again_in_its_recovery_recovers(
    runs: Runs, folder: Path, kind: str, downloads: int
) -> None:
    plan = Plan("kill", at=1, only=(kind,))
    first, _ = await die_twice(runs, folder, plan, KINDS.index(kind), downloads=downloads)
    assert first.killed_at.startswith(kind)


@pytest.mark.parametrize("kind", IN_RECOVERY)
async def test_a_recovery_that_dies_at_this_kind_of_step_is_recovered_from(
    runs: Runs, folder: Path, kind: str
) -> None:
    # At its sixth answer a run has submits in doubt that were taken; in mid-part, a part.
    first = Plan("kill", at=6, only=("write" if kind == "unlink" else "answered",))
    again = Plan("kill", at=1, only=(kind,))
    _, second = await die_twice(runs, folder, first, IN_RECOVERY.index(kind), again)
    assert second.killed_at.startswith(kind)


@pytest.mark.parametrize("chunk", range(CHUNKS))
async def test_a_run_that_dies_at_the_nth_step_and_again_in_its_recovery_recovers(
    runs: Runs, folder: Path, chunk: int
) -> None:
    assert await sweep(runs, folder, first=chunk * STRIDE + 1, step=CHUNKS * STRIDE) > 5


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
    count = 0
    while True:
        plan = Plan("kill", at=first + count * step)
        seed, downloads = 1000 * salt + plan.at, DOWNLOADS[(count + salt) % 2]
        if not (await die_twice(runs, folder, plan, seed, downloads=downloads))[0].killed_at:
            return count
        count += 1
