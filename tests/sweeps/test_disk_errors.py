"""The error sweep: a disk says no at one durable step after the other, once or for a while.

A full disk (ENOSPC) is waited for. A broken one (EIO) costs a part its bytes and the ledger its
run, never a generation. A short write is gone on with.
"""

import os
from pathlib import Path
from typing import Any, Final

import pytest

from batchgen.ledger.rescue import Rescue
from tests.sweeps import books
from tests.sweeps.child import Order
from tests.sweeps.points import UNHARMED, Plan
from tests.sweeps.runs import DOWNLOADS, End, Runs, server, steps, taken

pytestmark = pytest.mark.anyio

TASKS: Final = 20
FACTOR: Final = 500.0
"""A full disk is looked at every 30 s."""
A_WHILE: Final = 15
"""Steps in a row that fail."""
FOR_EVER: Final = 100_000
KINDS: Final = (
    "commit submitting",
    "commit in_flight",
    "commit completed",
    "open",
    "write",
    "fsync parts",
    "commit completed-verified",
    "replace videos",
    "fsync videos",
    "commit succeeded",
)
"""Every kind of step in a task's way at which a disk can say no."""
REPORTS: Final = ("replace .batchgen", "replace run-", "fsync .batchgen", "fsync run-")


async def fail_and_finish(runs: Runs, directory: Path, plan: Plan, downloads: int = 4) -> End:
    """Let a run meet an error, and a second one none; check both; return how the first ended."""
    async with server() as sandbox:
        order = Order(directory, sandbox.url, plan, factor=FACTOR, downloads=downloads)
        end = await runs.run(order)
        account = await taken(sandbox)
        assert end.status == 0, end
        assert end.clean, f"an error that is no sentence: {end.trace}"
        if not end.error:
            assert end.counts == {"succeeded": TASKS}
        elif plan.harm == "EIO" and account:
            # What else fails is tried again: only a ledger that cannot be written ends a run.
            assert "the ledger could not be written: disk I/O error" in end.error
        else:
            assert not account, f"a run that had begun was ended: {end.error}"
        books.check_at_rest(directory, account)
        if plan.harm == "short":
            assert sandbox.account.requests["download"] == TASKS, "half a file was taken for one"

        last = await runs.run(Order(directory, sandbox.url, factor=FACTOR))
        assert (last.status, last.error) == (0, "")
        books.check_end(directory, await taken(sandbox), TASKS, set())
    return end


@pytest.mark.parametrize(("kind", "downloads"), steps(KINDS))
async def test_a_disk_that_is_full_at_this_kind_of_step_is_waited_for(
    runs: Runs, folder: Path, kind: str, downloads: int
) -> None:
    plan = Plan("ENOSPC", at=1, lasting=A_WHILE, only=(kind,))
    end = await fail_and_finish(runs, folder / "run", plan, downloads)
    assert len(end.harmed) == A_WHILE
    assert end.counts == {"succeeded": TASKS}
    assert any("No space left" in said or "disk is full" in said for said in end.said)


@pytest.mark.parametrize(("kind", "downloads"), steps(KINDS))
async def test_a_disk_that_breaks_at_this_kind_of_step_loses_nothing_that_was_paid_for(
    runs: Runs, folder: Path, kind: str, downloads: int
) -> None:
    plan = Plan("EIO", at=1, only=(kind,))
    end = await fail_and_finish(runs, folder / "run", plan, downloads)
    assert len(end.harmed) == 1


@pytest.mark.parametrize("harm", ["ENOSPC", "EIO"])
async def test_reports_that_cannot_be_written_end_no_run(
    runs: Runs, folder: Path, harm: Any
) -> None:
    # The first ones are the job's own, without which a run does not begin.
    plan = Plan(harm, at=8, lasting=12, only=REPORTS)
    end = await fail_and_finish(runs, folder / "run", plan)
    assert end.counts == {"succeeded": TASKS}
    assert any("a report could not be written" in said for said in end.said)


@pytest.mark.parametrize(
    ("plan", "stride"),
    [
        (Plan("ENOSPC", lasting=A_WHILE), 40),
        (Plan("EIO"), 40),
        (Plan("EIO", lasting=A_WHILE), 40),
        (Plan("short"), 5),
    ],
    ids=["full for a while", "broken once", "broken for a while", "short writes"],
)
async def test_a_run_whose_disk_says_no_at_the_nth_step_loses_nothing_that_was_paid_for(
    runs: Runs, folder: Path, plan: Plan, stride: int
) -> None:
    assert await sweep(runs, folder, plan, first=1, step=stride) >= 4


@pytest.mark.nightly
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("chunk", range(4))
@pytest.mark.parametrize("lasting", [1, 2, A_WHILE, 100])
@pytest.mark.parametrize("harm", ["ENOSPC", "EIO", "short"])
async def test_a_run_whose_disk_says_no_at_any_step_loses_nothing_that_was_paid_for(
    runs: Runs, folder: Path, harm: Any, lasting: int, chunk: int
) -> None:
    plan = Plan(harm, lasting=lasting)
    assert await sweep(runs, folder, plan, first=chunk + 1, step=4) >= 4


async def sweep(runs: Runs, folder: Path, plan: Plan, *, first: int, step: int) -> int:
    """Harm a run at every `step`-th point from `first` on until it has none more; count them."""
    count = 0
    while True:
        here = Plan(plan.harm, first + count * step, plan.lasting)
        downloads = DOWNLOADS[(count + plan.lasting) % 2]
        if not (await fail_and_finish(runs, folder / f"run-{here.at}", here, downloads)).harmed:
            return count
        count += 1


async def test_no_post_leaves_while_its_intent_cannot_be_committed(
    runs: Runs, folder: Path
) -> None:
    broken = Plan("EIO", at=1, lasting=FOR_EVER, only=("commit submitting",))
    async with server() as sandbox:
        order = Order(folder / "run", sandbox.url, broken, factor=FACTOR)
        end = await runs.run(order)
        assert "the ledger could not be written" in end.error
        assert sandbox.account.requests["submit"] == 0


async def test_an_id_that_cannot_be_committed_is_kept_aside_and_the_next_run_takes_it_in(
    runs: Runs, folder: Path
) -> None:
    directory = folder / "run"
    broken = Plan("EIO", at=1, lasting=FOR_EVER, only=("commit in_flight",))
    async with server() as sandbox:
        end = await runs.run(Order(directory, sandbox.url, broken, factor=FACTOR))
        ids = {generation["generation_id"] for generation in await taken(sandbox)}
        assert 0 < len(ids) <= books.SUBMITS
        assert books.read(directory).rescued == ids
        assert any(f"{each} of task" in end.error for each in ids), end.error
        assert "rescued-ids" in end.error

        last = await runs.run(Order(directory, sandbox.url, UNHARMED))
        assert last.counts == {"succeeded": TASKS}
        assert "found" not in last.points, "the provider's log was not needed"
        books.check_end(directory, await taken(sandbox), TASKS, set())
        assert books.read(directory).rescued == frozenset()


async def test_an_id_that_can_be_kept_nowhere_is_said_and_found_in_the_log(
    runs: Runs, folder: Path
) -> None:
    directory = folder / "run"
    # The first is the room set aside when the run begins.
    broken = Plan("EIO", at=2, lasting=FOR_EVER, only=("pwrite", "commit in_flight"))
    async with server() as sandbox:
        end = await runs.run(Order(directory, sandbox.url, broken, factor=FACTOR))
        assert end.clean, end.trace
        ids = {generation["generation_id"] for generation in await taken(sandbox)}
        assert books.read(directory).rescued == frozenset()
        assert any(f"--adopt {each}" in end.error for each in ids), end.error

        last = await runs.run(Order(directory, sandbox.url, UNHARMED))
        assert last.counts == {"succeeded": TASKS}
        books.check_end(directory, await taken(sandbox), TASKS, set())


async def test_a_full_disk_on_which_not_even_the_side_file_can_be_written_is_waited_for(
    runs: Runs, folder: Path
) -> None:
    full = Plan("ENOSPC", at=2, lasting=A_WHILE, only=("pwrite", "commit in_flight"))
    end = await fail_and_finish(runs, folder / "run", full)
    assert "pwrite" in end.harmed
    assert end.counts == {"succeeded": TASKS}


async def test_a_part_whose_fsync_failed_is_thrown_away_and_fetched_anew(
    runs: Runs, folder: Path
) -> None:
    broken = Plan("EIO", at=1, only=("fsync parts",))
    async with server() as sandbox:
        end = await runs.run(Order(folder / "run", sandbox.url, broken, factor=FACTOR))
        assert end.counts == {"succeeded": TASKS}
        assert sandbox.account.requests["download"] == TASKS + 1
        assert not any("no such part" in said for said in end.said), "it was gone on with"


async def test_a_recovery_whose_disk_breaks_ends_with_a_sentence_and_the_next_one_finishes(
    runs: Runs, folder: Path
) -> None:
    for kind in ("unlink", "commit unresolved", "commit in_flight", "pwrite", "fsync run-"):
        directory = folder / kind
        async with server() as sandbox:
            # At the sixth answer some ids are durable and some are in doubt.
            await runs.run(Order(directory, sandbox.url, Plan("kill", at=6, only=("answered",))))
            for harm in ("EIO", "ENOSPC"):
                plan = Plan(harm, at=1, only=(kind,))
                end = await runs.run(Order(directory, sandbox.url, plan, factor=FACTOR))
                assert end.clean, end.trace
                books.check_at_rest(directory, await taken(sandbox))
            last = await runs.run(Order(directory, sandbox.url, factor=FACTOR))
            assert last.error == ""
            untaken = books.check_at_rest(directory, await taken(sandbox))
            books.check_end(directory, await taken(sandbox), TASKS, untaken)


def test_ids_are_kept_whole_by_a_disk_that_takes_a_few_bytes_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: pwrite(fd, bytes(data)[:7], at))
    kept = [("task-1", "id:1"), ("task-2", "id:2")]
    rescue = Rescue(tmp_path / "rescued-ids")
    for task_id, generation_id in kept:
        rescue.keep(task_id, generation_id)
    rescue.close()
    again = Rescue(tmp_path / "rescued-ids")
    assert again.found == kept
    again.clear()
    again.close()
    assert (tmp_path / "rescued-ids").read_bytes().strip() == b""


def test_an_id_kept_behind_one_that_a_crash_tore_is_found(tmp_path: Path) -> None:
    path = tmp_path / "rescued-ids"
    path.write_bytes(b'["task-1", "id:')
    rescue = Rescue(path)
    rescue.keep("task-2", "id:2")
    rescue.close()
    again = Rescue(path)
    again.close()
    assert again.found == [("task-2", "id:2")]
