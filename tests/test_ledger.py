"""What a step's caller was told is on disk, whatever ends the process; no wrong step is kept."""

import asyncio
import fcntl
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from batchgen import names
from batchgen.column_types import ColumnType
from batchgen.errors import LedgerError, RunDirectoryError, RunLocked
from batchgen.ledger.admission import Admission
from batchgen.ledger.between import SETTLED_BY_HAND
from batchgen.ledger.ledger import Ledger
from batchgen.ledger.questions import Ending
from batchgen.ledger.tables import LONGEST_PATH, Record, refusal
from batchgen.models import Scalar
from batchgen.task import FORGOTTEN, TRANSITIONS, Cause, Status, Task
from tests.conftest import committed

NOW = 1_785_585_600.0


def task(number: int, *, index: int | None = None, **more: Any) -> Task:
    params: dict[str, Scalar] = {"model": "m", "prompt": f"prompt {number}", "seed": number}
    place = number if index is None else index
    return Task(f"task{number:08}", place, params, f"prompt {number}", **more)


def tasks(numbers: range) -> Iterator[tuple[Task, int, str]]:
    return ((task(number), number, f"{number:04}_clip") for number in numbers)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(tmp_path / "run") as opened:
        yield opened


def by_id(ledger: Ledger) -> dict[str, Record]:
    return {record.task_id: record for record in ledger.records()}


def status_of(ledger: Ledger, task_id: str) -> Status:
    return Status(by_id(ledger)[task_id].status)


async def intend(ledger: Ledger, task_id: str, sent: str = "", usd: float | None = 0.06) -> None:
    await ledger.intend(
        task_id,
        client_request_id=sent or f"{task_id}.{os.urandom(6).hex()}",
        body_sha256="0" * 64,
        reserved_usd=usd,
        at=NOW,
    )


async def complete(ledger: Ledger, task_id: str, *, usd: float | None = 0.05) -> None:
    await ledger.completed(
        task_id,
        video_url="https://h/x.mp4",
        at=NOW + 60,
        polls=3,
        queue_s=10.0,
        generate_s=50.0,
        cost_usd=usd,
        cost_is_estimate=False,
    )


async def succeed(ledger: Ledger, task_id: str) -> None:
    await ledger.succeeded(
        task_id, at=NOW + 70, download_s=1.5, width=832, height=480, fps=16.0, duration_s=5.0
    )


STEPS: dict[str, tuple[Status, Callable[[Ledger, str], Coroutine[Any, Any, object]]]] = {
    "intend": (Status.SUBMITTING, intend),
    "accepted": (Status.IN_FLIGHT, lambda led, i: led.accepted(i, f"gen-{i}", at=NOW)),
    "not_taken": (Status.PENDING, lambda led, i: led.not_taken(i, "refused", "429", at=NOW)),
    "in_doubt": (Status.UNRESOLVED, lambda led, i: led.in_doubt(i, "reset", at=NOW)),
    "resubmit": (Status.PENDING, lambda led, i: led.resubmit(i, at=NOW)),
    "completed": (Status.COMPLETED, complete),
    "expired": (Status.IN_FLIGHT, lambda led, i: led.expired(i)),
    "succeeded": (Status.SUCCEEDED, succeed),
    "failed": (
        Status.FAILED,
        lambda led, i: led.failed(i, Cause.GENERATION, "generation_failed", "no", at=NOW),
    ),
    "timed_out": (Status.TIMED_OUT, lambda led, i: led.timed_out(i, "too long", polls=9)),
}


async def bring(ledger: Ledger, task_id: str, status: Status) -> None:
    """Take a pending task to a status by the shortest way."""
    ways: dict[Status, tuple[str, ...]] = {
        Status.PENDING: (),
        Status.SUBMITTING: ("intend",),
        Status.UNRESOLVED: ("intend", "in_doubt"),
        Status.IN_FLIGHT: ("intend", "accepted"),
        Status.COMPLETED: ("intend", "accepted", "completed"),
        Status.SUCCEEDED: ("intend", "accepted", "completed", "succeeded"),
        Status.FAILED: ("intend", "accepted", "failed"),
        Status.TIMED_OUT: ("intend", "accepted", "timed_out"),
    }
    for step in ways[status]:
        await STEPS[step][1](ledger, task_id)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("status", [status for status in Status if status != Status.CANCELLED])
def test_a_step_is_kept_where_the_table_allows_it_and_refused_elsewhere(
    ledger: Ledger, status: Status, step: str
) -> None:
    ledger.admit(tasks(range(1)))
    to, take = STEPS[step]

    async def go() -> None:
        await bring(ledger, "task00000000", status)
        before = by_id(ledger)["task00000000"]
        # What a person decides is narrower than the table: it is about submits in doubt alone.
        doubted = step != "resubmit" or status is Status.UNRESOLVED
        if to in TRANSITIONS[status] and doubted:
            await take(ledger, "task00000000")
            assert status_of(ledger, "task00000000") is to
        else:
            refusal = f"cannot become {to}: it is {status}" if doubted else "nothing to settle"
            with pytest.raises(LedgerError, match=refusal):
                await take(ledger, "task00000000")
            assert by_id(ledger)["task00000000"] == before

    asyncio.run(go())


@pytest.mark.parametrize("step", STEPS)
def test_no_step_is_kept_for_a_task_nobody_knows(ledger: Ledger, step: str) -> None:
    with pytest.raises(LedgerError, match="unknown"):
        asyncio.run(STEPS[step][1](ledger, "nobody"))
    assert len(list(ledger.records())) == 0


def test_a_file_is_recorded_only_for_a_task_whose_video_exists(ledger: Ledger) -> None:
    ledger.admit(tasks(range(1)))

    async def go() -> None:
        for name in ("task00000000", "nobody"):
            with pytest.raises(LedgerError):
                await ledger.verified(name, size=5, sha256="a" * 64)
        await bring(ledger, "task00000000", Status.COMPLETED)
        await ledger.verified("task00000000", size=5, sha256="a" * 64)

    asyncio.run(go())
    record = by_id(ledger)["task00000000"]
    assert (record.bytes, record.sha256) == (5, "a" * 64)


def test_a_task_s_whole_way_is_there_after_the_ledger_was_closed(tmp_path: Path) -> None:
    async def go(ledger: Ledger) -> None:
        await intend(ledger, "task00000000", "sent")
        await ledger.accepted("task00000000", "gen", at=NOW)
        await complete(ledger, "task00000000")
        await ledger.verified("task00000000", size=5, sha256="a" * 64)
        await succeed(ledger, "task00000000")

    with Ledger.open(tmp_path) as ledger:
        ledger.admit([(task(0, prompt_id="p", variables={"animal": "fox"}, repeat=2), 7, "stem")])
        asyncio.run(go(ledger))
    with Ledger.open(tmp_path) as ledger:
        [record] = ledger.records()
    assert record.task == task(0, prompt_id="p", variables={"animal": "fox"}, repeat=2)
    assert record.file_name == "videos/stem.mp4"
    shown = {
        name: getattr(record, name)
        for name in ("status", "attempts", "polls", "client_request_id", "generation_id", "bytes")
    }
    assert shown == {
        "status": "succeeded",
        "attempts": 1,
        "polls": 3,
        "client_request_id": "sent",
        "generation_id": "gen",
        "bytes": 5,
    }
    assert (record.width, record.height, record.fps, record.duration_s) == (832, 480, 16.0, 5.0)
    assert (record.queue_s, record.generate_s, record.download_s) == (10.0, 50.0, 1.5)
    assert (record.cost_usd, record.cost_is_estimate) == (0.05, 0)


def test_steps_that_wait_together_are_all_durable(tmp_path: Path) -> None:
    async def go(ledger: Ledger) -> None:
        await asyncio.gather(*(intend(ledger, f"task{n:08}") for n in range(1_500)))
        await asyncio.gather(
            *(ledger.accepted(f"task{n:08}", f"gen-{n}", at=NOW) for n in range(1_500))
        )

    with Ledger.open(tmp_path) as ledger:
        ledger.admit(tasks(range(1_500)))
        asyncio.run(go(ledger))
    with Ledger.open(tmp_path) as ledger:
        found = by_id(ledger)
    assert {record.status for record in found.values()} == {"in_flight"}
    assert [found[f"task{n:08}"].generation_id for n in (0, 777, 1_499)] == [
        "gen-0",
        "gen-777",
        "gen-1499",
    ]


def test_a_wrong_step_harms_none_of_those_that_share_its_commit(ledger: Ledger) -> None:
    ledger.admit(tasks(range(50)))

    async def go() -> list[BaseException | None]:
        steps = [intend(ledger, f"task{n:08}" if n % 10 else "nobody") for n in range(50)]
        return await asyncio.gather(*steps, return_exceptions=True)

    results = asyncio.run(go())
    assert [number for number, result in enumerate(results) if result is not None] == [
        *range(0, 50, 10)
    ]
    assert all(isinstance(results[n], LedgerError) for n in range(0, 50, 10))
    assert ledger.counts() == {Status.SUBMITTING: 45, Status.PENDING: 5}
    assert all(record.attempts == 1 for record in ledger.records() if record.status != "pending")


def test_a_client_request_id_is_used_once(ledger: Ledger) -> None:
    ledger.admit(tasks(range(2)))

    async def go() -> None:
        await intend(ledger, "task00000000", "the same")
        with pytest.raises(LedgerError):
            await intend(ledger, "task00000001", "the same")

    asyncio.run(go())
    assert status_of(ledger, "task00000001") is Status.PENDING


def test_a_wait_that_is_cancelled_does_not_undo_its_step(ledger: Ledger) -> None:
    ledger.admit(tasks(range(1)))

    async def go() -> None:
        step = asyncio.ensure_future(intend(ledger, "task00000000"))
        await asyncio.sleep(0)
        step.cancel()
        with suppress(asyncio.CancelledError):
            await step

    asyncio.run(go())
    assert status_of(ledger, "task00000000") is Status.SUBMITTING


def test_a_step_after_the_end_is_refused_and_does_not_wait_for_ever(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path)
    ledger.close()
    ledger.close()
    with pytest.raises(LedgerError, match="closed"):
        ledger.counts()
    with pytest.raises(LedgerError, match="closed"):
        asyncio.run(intend(ledger, "a"))


def test_tasks_are_admitted_once_although_a_wrong_step_shares_the_commit(ledger: Ledger) -> None:
    ledger.admit(tasks(range(20)))
    writer, begun, free = ledger._writer, threading.Event(), threading.Event()

    def slow(_: sqlite3.Connection) -> None:
        begun.set()
        free.wait(5)

    async def go() -> tuple[Any, Any]:
        # While the thread is busy the others gather behind it, into one group.
        blocker = threading.Thread(target=writer.ask, args=(slow,))
        blocker.start()
        await asyncio.to_thread(begun.wait, 5)
        wrong = asyncio.ensure_future(intend(ledger, "nobody"))
        await asyncio.sleep(0)
        joining = asyncio.ensure_future(asyncio.to_thread(ledger.admit, tasks(range(30))))
        await asyncio.sleep(0.1)
        free.set()
        wrong_step, admitted = await asyncio.gather(wrong, joining, return_exceptions=True)
        blocker.join()
        return wrong_step, admitted

    wrong, admission = asyncio.run(go())
    assert isinstance(wrong, LedgerError)
    assert admission == Admission(new=10, known=20, gone=0, duplicates=0)
    assert ledger.counts() == {Status.PENDING: 30}


def test_a_second_ledger_on_one_directory_is_refused_under_any_name(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "run")
    with Ledger.open(tmp_path / "run"):
        for path in (tmp_path / "run", tmp_path / "link", tmp_path / "run" / ".." / "run"):
            with pytest.raises(RunLocked):
                Ledger.open(path)
        (tmp_path / "run").rename(tmp_path / "moved")
        with pytest.raises(RunLocked):
            Ledger.open(tmp_path / "moved")
    Ledger.open(tmp_path / "moved").close()


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    code = "import sys; from batchgen.ledger.ledger import Ledger; Ledger.open(sys.argv[1])"
    with Ledger.open(tmp_path):
        tried = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False
        )
    assert "RunLocked" in tried.stderr


def filled(path: Path) -> Path:
    with Ledger.open(path) as ledger:
        ledger.admit(tasks(range(200)))
    return ledger.directory.ledger


def spoil_head(data: bytes) -> bytes:
    return b"not a database at all, no" + data[25:]


def spoil_pages(data: bytes) -> bytes:
    return data[:4096] + b"\xff" * 4096 + data[8192:]


@pytest.mark.parametrize(
    "spoil",
    [
        spoil_head,
        spoil_pages,
        lambda data: data[: len(data) // 2],
        lambda _: b"x",
        lambda d: d[:50],
    ],
)
def test_a_damaged_ledger_is_refused_and_left_as_it_is(
    tmp_path: Path, spoil: Callable[[bytes], bytes]
) -> None:
    file = filled(tmp_path)
    damaged = spoil(file.read_bytes())
    file.write_bytes(damaged)
    beside = sorted(path.name for path in file.parent.iterdir())
    with pytest.raises(RunDirectoryError, match="restore it from a copy"):
        Ledger.open(tmp_path)
    assert file.read_bytes() == damaged
    assert sorted(path.name for path in file.parent.iterdir()) == beside


def test_a_ledger_of_a_newer_version_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    file = filled(tmp_path)
    db = sqlite3.connect(file)
    db.execute("PRAGMA user_version = 99")
    db.close()
    newer = file.read_bytes()
    with pytest.raises(RunDirectoryError, match="format 99"):
        Ledger.open(tmp_path)
    assert file.read_bytes() == newer


def test_a_database_of_something_else_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / ".batchgen" / "ledger.sqlite"
    file.parent.mkdir()
    db = sqlite3.connect(file)
    db.execute("CREATE TABLE recipes (name)")
    db.close()
    foreign = file.read_bytes()
    with pytest.raises(RunDirectoryError, match="cannot be used"):
        Ledger.open(tmp_path)
    assert file.read_bytes() == foreign


def test_a_directory_in_place_of_the_ledger_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / ".batchgen" / "ledger.sqlite").mkdir(parents=True)
    with pytest.raises(RunDirectoryError, match="cannot be used"):
        Ledger.open(tmp_path)


@pytest.mark.parametrize("result", ["manifest.jsonl", "videos/a.mp4"])
@pytest.mark.parametrize("loss", ["gone", "empty", "without its write-ahead log"])
def test_a_run_whose_ledger_was_lost_is_never_begun_anew(
    tmp_path: Path, loss: str, result: str
) -> None:
    file = filled(tmp_path)
    (tmp_path / result).write_text("paid for")
    file.unlink()
    if loss == "empty":
        file.touch()
    if loss == "without its write-ahead log":
        db = sqlite3.connect(file)
        db.execute("PRAGMA journal_mode = WAL")
        db.close()
        assert file.stat().st_size > 0
    with pytest.raises(RunDirectoryError, match="restore it from a copy"):
        Ledger.open(tmp_path)


@pytest.mark.parametrize("decide", ["adopt", "submit_again", "abandon"])
@pytest.mark.parametrize("status", sorted(set(Status) - {Status.UNRESOLVED, Status.CANCELLED}))
def test_only_a_submit_in_doubt_is_decided_by_hand(
    ledger: Ledger, status: Status, decide: str
) -> None:
    ledger.admit(tasks(range(1)))
    name = task(0).task_id
    ledger._writer.ask(lambda db: db.execute("UPDATE tasks SET status = ?", (status,)).rowcount)
    decisions: dict[str, Callable[[], object]] = {
        "adopt": lambda: ledger.adopt(name, "id:1", at=NOW),
        "submit_again": lambda: ledger.submit_again([name], at=NOW),
        "abandon": lambda: ledger.abandon([name], at=NOW),
    }
    with pytest.raises(LedgerError, match="there is nothing to settle"):
        decisions[decide]()
    assert status_of(ledger, name) is status


@pytest.mark.anyio
@pytest.mark.parametrize("instead", ["nothing", "a directory"])
async def test_what_is_no_file_under_a_video_s_name_is_no_video(
    ledger: Ledger, instead: str
) -> None:
    ledger.admit(tasks(range(2)))
    for number in range(2):
        name = task(number).task_id
        await intend(ledger, name)
        await ledger.accepted(name, f"id:{number}", at=NOW)
        await complete(ledger, name)
        await succeed(ledger, name)
        (ledger.directory.path / by_id(ledger)[name].file_name).write_bytes(b"a video")
    path = ledger.directory.path / by_id(ledger)[task(0).task_id].file_name
    path.unlink()
    if instead == "a directory":
        path.mkdir()
    assert ledger.refetch_missing() == 1
    assert status_of(ledger, task(0).task_id) is Status.IN_FLIGHT
    assert status_of(ledger, task(1).task_id) is Status.SUCCEEDED


def test_a_birth_that_was_cut_off_leaves_an_empty_file_that_is_gone_on_with(tmp_path: Path) -> None:
    file = tmp_path / ".batchgen" / "ledger.sqlite"
    file.parent.mkdir()
    file.touch()
    with Ledger.open(tmp_path) as ledger:
        assert len(list(ledger.records())) == 0


def test_a_ledger_that_cannot_be_locked_is_not_called_damaged(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with closing(sqlite3.connect(path)) as holder, closing(sqlite3.connect(path, 0)) as late:
        holder.execute("BEGIN EXCLUSIVE")
        with pytest.raises(sqlite3.OperationalError) as busy:
            late.execute("BEGIN IMMEDIATE")
    said = str(refusal(path, busy.value))
    assert said.startswith(f"cannot lock {path}: database is locked.")
    assert "--output" in said
    assert "restore" not in said


def test_a_refused_ledger_gives_the_directory_back(tmp_path: Path) -> None:
    file = filled(tmp_path)
    good = file.read_bytes()
    file.write_bytes(b"x" * 5_000)
    with pytest.raises(RunDirectoryError):
        Ledger.open(tmp_path)
    descriptor = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(descriptor)
    file.write_bytes(good)
    with Ledger.open(tmp_path) as ledger:
        assert len(list(ledger.records())) == 200


def test_a_directory_belongs_to_the_provider_it_was_given_to_first(tmp_path: Path) -> None:
    with Ledger.open(tmp_path) as ledger:
        ledger.bind("sandbox")
        ledger.bind("sandbox")
    with (
        Ledger.open(tmp_path) as ledger,
        pytest.raises(RunDirectoryError, match="sandbox, not aimlapi"),
    ):
        ledger.bind("aimlapi")


def test_a_job_that_is_admitted_twice_changes_nothing(ledger: Ledger) -> None:
    assert ledger.admit(tasks(range(20))) == Admission(new=20, known=0, gone=0, duplicates=0)

    async def go() -> None:
        await bring(ledger, "task00000003", Status.SUCCEEDED)
        await bring(ledger, "task00000004", Status.FAILED)

    asyncio.run(go())
    before = list(ledger.records())
    assert ledger.admit(tasks(range(20))) == Admission(new=0, known=20, gone=0, duplicates=0)
    assert list(ledger.records()) == before


def test_a_job_that_comes_as_it_came_is_read_and_not_written(ledger: Ledger) -> None:
    ledger.admit(tasks(range(200)))
    before = ledger.changes()
    ledger.admit(tasks(range(200)))
    # The names of all parameters and of all variables.
    assert ledger.changes() - before == 2


def test_what_the_job_calls_a_task_later_is_learned_and_its_state_stays(ledger: Ledger) -> None:
    ledger.admit(tasks(range(4)))
    asyncio.run(bring(ledger, "task00000002", Status.FAILED))
    another = task(9, index=2)
    ledger.replace(lambda *_: (another, "0009_clip"))
    asyncio.run(bring(ledger, "task00000001", Status.SUCCEEDED))
    before = by_id(ledger)
    called = [
        replace(
            task(number, prompt_id="bird", variables={"x": "prompt"}),
            prompt_template=f"${{x}} {number}",
        )
        for number in range(4)
    ]
    arrivals = [(one, one.index, "0000_other") for one in called]
    assert ledger.admit(arrivals) == Admission(new=0, known=4, gone=0, duplicates=0)
    after = by_id(ledger)
    for task_id, record in before.items():
        number = 2 if task_id == another.task_id else int(task_id[4:])
        assert after[task_id] == replace(
            record,
            prompt_id="bird",
            prompt_template=f"${{x}} {number}",
            variables='{"x": "prompt"}',
        )
    ledger.admit(tasks(range(4)))
    assert by_id(ledger) == before


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 12), max_size=10), min_size=2, max_size=4),
    st.sets(st.integers(0, 12)),
)
def test_however_a_job_changes_the_ledger_holds_its_tasks_in_its_order(
    jobs: list[list[int]], sent: set[int]
) -> None:
    with tempfile.TemporaryDirectory() as folder, Ledger.open(folder) as ledger:
        held: set[int] = set()
        for numbers in jobs:
            asked = list(dict.fromkeys(numbers))
            admission = ledger.admit(
                (task(number, index=place), place, f"s{number}")
                for place, number in enumerate(numbers)
            )
            assert admission == Admission(
                new=len(set(asked) - held),
                known=len(held & set(asked)),
                gone=len(held - set(asked) - sent),
                duplicates=len(numbers) - len(asked),
            )
            held = set(asked) | (held & sent)
            found = list(ledger.records())
            there = [record for record in found if not record.gone]
            assert [int(record.task_id[4:]) for record in there] == asked
            assert [record.idx for record in there] == [numbers.index(one) for one in asked]
            assert {int(record.task_id[4:]) for record in found} == held

            waiting = [record.task_id for record in there if record.status == Status.PENDING]
            for task_id in waiting:
                if int(task_id[4:]) in sent:
                    asyncio.run(bring(ledger, task_id, Status.FAILED))


def test_a_job_that_grows_keeps_what_was_done_and_one_that_shrinks_forgets_only_the_unsent(
    ledger: Ledger,
) -> None:
    ledger.admit(tasks(range(10)))
    asyncio.run(bring(ledger, "task00000001", Status.SUCCEEDED))
    asyncio.run(bring(ledger, "task00000002", Status.FAILED))
    assert ledger.admit(tasks(range(12))) == Admission(new=2, known=10, gone=0, duplicates=0)
    # Without the tasks 1 and 2, which were sent, and 3 to 8, which were not.
    fewer = [*tasks(range(1)), *tasks(range(9, 12))]
    assert ledger.admit(fewer) == Admission(new=0, known=4, gone=6, duplicates=0)
    assert [record.task_id[-2:] for record in ledger.records()] == [
        *("00", "09", "10", "11"),
        *("01", "02"),
    ]
    assert ledger.counts() == {Status.PENDING: 4}
    assert len(list(ledger.records())) == 6
    assert ledger.admit(tasks(range(12))) == Admission(new=6, known=6, gone=0, duplicates=0)
    assert ledger.counts() == {Status.PENDING: 10, Status.SUCCEEDED: 1, Status.FAILED: 1}


def test_a_task_the_job_asks_for_twice_is_there_once(ledger: Ledger) -> None:
    twice = [(task(1), 0, "a"), (task(1), 1, "b"), (task(2), 2, "c")]
    assert ledger.admit(twice) == Admission(new=2, known=0, gone=0, duplicates=1)
    assert ledger.admit(twice) == Admission(new=0, known=2, gone=0, duplicates=1)
    assert [record.stem for record in ledger.records()] == ["a", "c"]


def test_where_two_names_would_meet_the_later_one_gets_its_task_s_id(ledger: Ledger) -> None:
    ledger.admit([(task(1), 0, "Fox"), (task(2), 1, "fox"), (task(3), 2, "FOX")])
    assert [record.stem for record in ledger.records()] == [
        "Fox",
        "fox_task00000002",
        "FOX_task00000003",
    ]


@pytest.mark.parametrize(
    ("one", "other"),
    [("Fox", "fox"), ("É", "é"), ("e\N{COMBINING ACUTE ACCENT}", "é"), ("weiß", "weiss")],
)
def test_names_that_differ_by_case_or_form_only_are_kept_apart(
    ledger: Ledger, one: str, other: str
) -> None:
    ledger.admit([(task(0), 0, names.safe(one)), (task(1), 1, names.safe(other))])
    first, second = (record.stem for record in ledger.records())
    assert second == f"{names.safe(other)}_{task(1).task_id}"
    assert first == names.safe(one)


def test_a_file_keeps_the_name_it_was_given_first(ledger: Ledger) -> None:
    ledger.admit([(task(1), 0, "first")])
    ledger.admit([(task(1, index=5), 9, "second")])
    [record] = ledger.records()
    assert (record.stem, record.idx, record.position) == ("first", 5, 9)


def test_tasks_that_cannot_be_admitted_leave_the_ledger_as_it_was(ledger: Ledger) -> None:
    ledger.admit(tasks(range(5)))
    before = list(ledger.records())

    def broken() -> Iterator[tuple[Task, int, str]]:
        yield from tasks(range(3))
        raise ValueError("the job's prompts could not be read")

    with pytest.raises(ValueError, match="could not be read"):
        ledger.admit(broken())
    assert list(ledger.records()) == before


def test_the_next_tasks_come_in_the_order_of_submission(ledger: Ledger) -> None:
    ledger.admit((task(n), 100 - n, f"s{n}") for n in range(10))
    asyncio.run(bring(ledger, "task00000009", Status.SUBMITTING))

    async def go() -> list[str]:
        first = await ledger.pending(-1, 3)
        rest = await ledger.pending(first[-1].position, 100)
        return [record.task_id[-1] for record in (*first, *rest)]

    assert asyncio.run(go()) == list("876543210")


@pytest.mark.parametrize("page", [1, 7, 500])
def test_records_come_in_the_job_s_order_those_that_are_gone_last(
    ledger: Ledger, page: int
) -> None:
    count = 60 if page == 1 else 1_203
    ledger.admit((task(n, index=count - n), n, f"s{n}") for n in range(count))

    async def go() -> None:
        for number in (0, 5, 11):
            await bring(ledger, f"task{number:08}", Status.IN_FLIGHT)

    asyncio.run(go())
    ledger.admit((task(n, index=count - n), n, f"s{n}") for n in range(20, count))
    found = list(ledger.records(page))
    expected = [*range(count - 1, 19, -1), 11, 5, 0]
    assert [int(record.task_id[4:]) for record in found] == expected
    assert [record.gone for record in found[-4:]] == [0, 1, 1, 1]


def test_the_statuses_of_known_tasks_are_told_and_of_others_not(ledger: Ledger) -> None:
    ledger.admit(tasks(range(2)))
    assert ledger.statuses(["task00000001", "nobody"]) == {"task00000001": Status.PENDING}
    assert ledger.statuses([]) == {}


def test_failures_are_grouped_by_their_reason_most_first_and_what_is_in_doubt_is_none(
    ledger: Ledger,
) -> None:
    ledger.admit(tasks(range(6)))

    async def go() -> None:
        for number, code in enumerate(["a", "b", "b", "b"]):
            await intend(ledger, f"task{number:08}")
            await ledger.failed(f"task{number:08}", Cause.SUBMIT, code, f"why {code}", at=NOW)
        await bring(ledger, "task00000004", Status.UNRESOLVED)

    asyncio.run(go())
    assert ledger.endings() == [
        Ending("failed", "submit", "b", "why b", 3),
        Ending("failed", "submit", "a", "why a", 1),
    ]


def test_a_long_message_is_kept_short(ledger: Ledger) -> None:
    ledger.admit(tasks(range(1)))

    async def go() -> None:
        await intend(ledger, "task00000000")
        await ledger.failed("task00000000", Cause.SUBMIT, "a", "x" * 100_000, at=NOW)

    asyncio.run(go())
    assert len(by_id(ledger)["task00000000"].error_message or "") == 500


def test_what_is_committed_counts_what_was_or_may_have_been_taken(ledger: Ledger) -> None:
    ledger.admit(tasks(range(12)))
    assert committed(ledger) == (0.0, 0)

    async def go() -> None:
        await bring(ledger, "task00000000", Status.SUBMITTING)  # reserved
        await bring(ledger, "task00000001", Status.UNRESOLVED)  # reserved
        await bring(ledger, "task00000002", Status.IN_FLIGHT)  # reserved
        await bring(ledger, "task00000003", Status.SUCCEEDED)  # booked
        await bring(ledger, "task00000004", Status.TIMED_OUT)  # reserved
        await bring(ledger, "task00000005", Status.FAILED)  # not charged
        await intend(ledger, "task00000006")
        await ledger.failed("task00000006", Cause.SUBMIT, "rejected", "no", at=NOW)
        await intend(ledger, "task00000007")
        await ledger.not_taken("task00000007", "refused", "429", at=NOW)
        await bring(ledger, "task00000008", Status.COMPLETED)  # booked
        await ledger.failed("task00000008", Cause.DOWNLOAD, "download_failed", "404", at=NOW)
        await intend(ledger, "task00000009", usd=None)

    asyncio.run(go())
    usd, count = committed(ledger)
    assert usd == pytest.approx(4 * 0.06 + 2 * 0.05)
    assert count == 7


def test_a_doubtful_submit_goes_on_counting_when_its_task_is_submitted_again(
    ledger: Ledger,
) -> None:
    ledger.admit(tasks(range(1)))

    async def go() -> None:
        await bring(ledger, "task00000000", Status.UNRESOLVED)
        await ledger.resubmit("task00000000", at=NOW)
        assert committed(ledger) == (0.06, 1)
        await bring(ledger, "task00000000", Status.SUCCEEDED)

    asyncio.run(go())
    usd, count = committed(ledger)
    assert usd == pytest.approx(0.06 + 0.05)
    assert count == 2


def test_a_submit_that_took_nothing_is_no_attempt(ledger: Ledger) -> None:
    ledger.admit(tasks(range(2)))

    async def go() -> None:
        for number, outcome in enumerate(("not_sent", "refused")):
            await intend(ledger, f"task{number:08}")
            await ledger.not_taken(f"task{number:08}", outcome, "why", at=NOW)

    asyncio.run(go())
    assert [record.attempts for record in ledger.records()] == [0, 0]


def test_a_refused_submit_keeps_its_name_until_it_is_repeated_and_may_be_found_after_all(
    ledger: Ledger,
) -> None:
    ledger.admit(tasks(range(3)))
    unsent, refused, found = (f"task{number:08}" for number in range(3))

    async def go() -> None:
        for name, outcome in ((unsent, "not_sent"), (refused, "refused"), (found, "refused")):
            await intend(ledger, name, sent=f"{name}.1")
            await ledger.not_taken(name, outcome, "why", at=NOW)
        assert committed(ledger) == (0.0, 0)
        assert await ledger.accepted(found, "gen-found", at=NOW)
        await intend(ledger, refused, sent=f"{refused}.2")

    asyncio.run(go())
    rows = by_id(ledger)
    names = [rows[name].client_request_id for name in (unsent, refused, found)]
    assert names == [None, f"{refused}.2", f"{found}.1"]
    assert (rows[found].status, rows[found].attempts) == (Status.IN_FLIGHT, 1)
    usd, count = committed(ledger)
    assert usd == pytest.approx(0.12)
    assert count == 2


def test_the_cost_is_the_sum_of_what_is_known_and_says_whether_a_part_is_estimated(
    ledger: Ledger,
) -> None:
    ledger.admit(tasks(range(3)))
    assert ledger.cost() == (None, False)

    async def go() -> None:
        await bring(ledger, "task00000000", Status.COMPLETED)
        await bring(ledger, "task00000001", Status.IN_FLIGHT)
        assert ledger.cost() == (0.05, False)
        await ledger.completed(
            "task00000001",
            video_url="u",
            at=NOW,
            polls=1,
            queue_s=None,
            generate_s=None,
            cost_usd=0.06,
            cost_is_estimate=True,
        )

    asyncio.run(go())
    usd, estimated = ledger.cost()
    assert usd == pytest.approx(0.11)
    assert estimated


def test_a_ledger_tells_how_long_the_last_tasks_took_and_what_they_were(ledger: Ledger) -> None:
    ledger.admit(tasks(range(4)))

    async def go() -> None:
        for number in (0, 1, 2):
            await bring(ledger, f"task0000000{number}", Status.COMPLETED)
        for number in (0, 2):
            await succeed(ledger, f"task0000000{number}")

    asyncio.run(go())
    found = ledger.durations(10)
    assert [params["seed"] for params, _ in found] == [0, 2]
    assert [seconds for _, seconds in found] == [60.0, 60.0]
    assert ledger.durations(1) == found[1:]


def test_submits_that_a_crash_cut_off_are_in_doubt_at_the_next_start(tmp_path: Path) -> None:
    async def go(ledger: Ledger) -> None:
        await intend(ledger, "task00000000", "sent-0")
        await intend(ledger, "task00000001", "sent-1")
        await bring(ledger, "task00000002", Status.IN_FLIGHT)

    with Ledger.open(tmp_path) as ledger:
        ledger.admit(tasks(range(4)))
        asyncio.run(go(ledger))
    with Ledger.open(tmp_path) as ledger:
        assert ledger.recover() == 2
        assert ledger.recover() == 0
        unresolved = ledger.unresolved()
        under_way = ledger.under_way()
    assert {record.client_request_id for record in unresolved} == {"sent-0", "sent-1"}
    assert {record.error_code for record in unresolved} == {"interrupted"}
    assert [record.generation_id for record in under_way] == ["gen-task00000002"]


def prepared_failures(ledger: Ledger) -> None:
    ledger.admit(tasks(range(6)))

    async def go() -> None:
        await bring(ledger, "task00000000", Status.TIMED_OUT)
        await bring(ledger, "task00000001", Status.COMPLETED)
        await ledger.failed("task00000001", Cause.DOWNLOAD, "download_failed", "x", at=NOW)
        await bring(ledger, "task00000002", Status.FAILED)
        await intend(ledger, "task00000003")
        await ledger.failed("task00000003", Cause.SUBMIT, "rejected", "x", at=NOW)
        await bring(ledger, "task00000004", Status.UNRESOLVED)

    asyncio.run(go())


def test_ids_that_were_paid_for_are_asked_about_again_and_nothing_else_is(ledger: Ledger) -> None:
    prepared_failures(ledger)
    assert ledger.resume_paid(["timed_out"]) == 1
    assert ledger.resume_paid() == 1
    assert ledger.resume_paid() == 0
    under_way = ledger.under_way()
    assert {record.generation_id for record in under_way} == {
        "gen-task00000000",
        "gen-task00000001",
    }
    assert {(record.error_code, record.cause) for record in under_way} == {(None, None)}


def test_failed_tasks_are_tried_again_without_their_old_id_and_paid_ones_are_not(
    ledger: Ledger,
) -> None:
    prepared_failures(ledger)
    assert ledger.retry(["nothing of the kind"], at=NOW) == []
    assert ledger.retry(["rejected"], at=NOW) == ["task00000003"]
    # What an earlier retry did not come to is still to be done.
    assert ledger.retry(at=NOW) == ["task00000002", "task00000003"]
    found = by_id(ledger)
    for name in ("task00000002", "task00000003"):
        assert found[name].status == "pending"
        assert found[name].generation_id is None
        assert found[name].error_code is None
        assert found[name].attempts == 1
    assert found["task00000000"].generation_id == "gen-task00000000"
    assert found["task00000004"].status == "unresolved"


def test_a_failed_task_the_job_no_longer_has_is_not_tried_again(ledger: Ledger) -> None:
    prepared_failures(ledger)
    ledger.admit(tasks(range(3, 6)))
    assert ledger.retry(at=NOW) == ["task00000003"]


def forget(ledger: Ledger, usd: float | None) -> None:
    """Have the provider forget task 0, of which it had charged `usd`, and task 1, unfinished."""
    ledger.admit(tasks(range(3)))

    async def go() -> None:
        for name in ("task00000000", "task00000001"):
            await bring(ledger, name, Status.IN_FLIGHT)
        await complete(ledger, "task00000000", usd=usd)
        await ledger.expired("task00000000")
        for name in ("task00000000", "task00000001"):
            await ledger.failed(name, Cause.FETCH, FORGOTTEN, "HTTP 404", at=NOW)

    asyncio.run(go())


def test_an_id_that_the_provider_forgot_is_asked_about_by_a_run_and_made_anew_by_a_retry(
    ledger: Ledger,
) -> None:
    forget(ledger, 0.25)
    assert ledger.resume_paid(forgotten=False) == 0
    before, submits = committed(ledger)
    assert submits == 2
    assert [cost for _, cost in ledger.forgotten()] == [0.25, 0.06], "charged, and reserved"
    assert ledger.retry(["moderation"], at=NOW) == []
    assert ledger.retry([FORGOTTEN], at=NOW) == ["task00000000", "task00000001"]
    assert ledger.forgotten() == []
    assert {record.generation_id for record in ledger.records()} == {None}
    usd, submits = committed(ledger)
    assert usd == pytest.approx(before), "what was paid stays counted"
    assert submits == 2


def test_a_run_asks_about_a_forgotten_id_again_and_submits_nothing(ledger: Ledger) -> None:
    forget(ledger, None)
    assert ledger.resume_paid() == 2
    assert {record.generation_id for record in ledger.under_way()} == {
        "gen-task00000000",
        "gen-task00000001",
    }


def test_a_forgotten_id_that_is_replaced_is_asked_about_no_more(ledger: Ledger) -> None:
    forget(ledger, None)
    assert ledger.replace(another) == ["task00000000a", "task00000001a"]
    assert ledger.resume_paid() == 0
    assert committed(ledger)[1] == 2


def test_a_person_may_have_one_forgotten_id_made_again(ledger: Ledger) -> None:
    forget(ledger, 0.25)
    before, _ = committed(ledger)
    ledger.submit_again(["task00000000"], at=NOW)
    found = by_id(ledger)
    assert (found["task00000000"].status, found["task00000000"].generation_id) == ("pending", None)
    assert found["task00000001"].status == "failed"
    usd, submits = committed(ledger)
    assert usd == pytest.approx(before)
    assert submits == 2


def another(record: Record, number: int) -> tuple[Task, str]:
    """Name a replacement after what it replaces: a, b, ... behind its id."""
    name = f"{record.task_id}{'abc'[number - 1]}"
    return Task(name, record.idx, {"prompt": "again", "seed": number}, "again"), f"{name}_clip"


def test_a_replaced_task_stays_as_it_failed_and_another_waits_in_its_place(ledger: Ledger) -> None:
    prepared_failures(ledger)
    before = by_id(ledger)
    assert ledger.replace(another, ["rejected"]) == ["task00000003a"]
    found = by_id(ledger)
    failed, made = found["task00000003"], found["task00000003a"]
    assert (failed.gone, failed.replaced_by) == (1, "task00000003a")
    assert failed == replace(before["task00000003"], gone=1, replaced_by="task00000003a")
    assert (made.status, made.gone, made.attempts) == ("pending", 0, 0)
    assert (made.idx, made.position) == (failed.idx, failed.position)
    assert sum(ledger.counts().values()) == 6
    # What an earlier retry did not come to is still to be done; what was replaced never is again.
    assert ledger.retry(at=NOW) == ["task00000002", "task00000003a"]


def test_what_is_paid_for_is_not_replaced(ledger: Ledger) -> None:
    prepared_failures(ledger)
    assert ledger.replace(another, ["timed_out", "download", "ambiguous_submit"]) == []
    assert ledger.replace(another, ["failed"]) == ["task00000002a", "task00000003a"]


def test_a_job_that_still_has_the_failed_task_has_its_replacement(ledger: Ledger) -> None:
    prepared_failures(ledger)
    ledger.replace(another, ["rejected"])

    async def fail_again() -> None:
        await bring(ledger, "task00000003a", Status.FAILED)

    asyncio.run(fail_again())
    ledger.replace(another, ["generation_failed"])
    later = [(task(number, index=9 - number), 9 - number, f"{number:04}") for number in range(6)]
    ledger.admit(later)
    found = by_id(ledger)
    chain = ["task00000003", "task00000003a", "task00000003aa"]
    assert [found[name].gone for name in chain] == [1, 1, 0]
    assert (found[chain[-1]].idx, found[chain[-1]].position) == (6, 6)
    assert found["task00000002a"].gone == 0
    assert sum(ledger.counts().values()) == 6
    assert [record.task_id for record in asyncio.run(pending(ledger))] == [
        "task00000005",
        "task00000003aa",
        "task00000002a",
    ]


def test_a_replacement_that_was_never_sent_goes_with_its_job_and_comes_back_as_what_failed(
    ledger: Ledger,
) -> None:
    prepared_failures(ledger)
    ledger.replace(another, ["rejected"])
    ledger.admit(tasks(range(2)))
    assert "task00000003a" not in by_id(ledger)
    ledger.admit(tasks(range(6)))
    failed = by_id(ledger)["task00000003"]
    assert (failed.gone, failed.status, failed.replaced_by) == (0, "failed", None)
    assert ledger.replace(another, ["rejected"]) == ["task00000003a"]


def test_a_replacement_the_ledger_has_already_is_passed_over(ledger: Ledger) -> None:
    prepared_failures(ledger)
    known = Task("task00000003a", 6, {"prompt": "again", "seed": 1}, "again")
    ledger.admit([*tasks(range(6)), (known, 6, "known")])
    assert ledger.replace(another, ["rejected"]) == ["task00000003b"]


async def pending(ledger: Ledger) -> list[Record]:
    return await ledger.pending(-1, 100)


def test_names_and_types_of_all_parameters_and_variables_are_remembered(ledger: Ledger) -> None:
    ledger.admit([(task(1, variables={"animal": "fox"}), 0, "a")])
    ledger.admit([(task(2, variables={"mood": "calm", "animal": 7}), 0, "b")])
    sent, used = ledger.column_types()
    text = {ColumnType.STRING}
    assert sent == {"model": text, "prompt": text, "seed": {ColumnType.INTEGER}}
    assert used == {"animal": {ColumnType.STRING, ColumnType.INTEGER}, "mood": text}
    assert list(used) == sorted(used)


def test_any_text_comes_back_from_the_ledger_as_it_was(tmp_path: Path) -> None:
    prompt = "a\0b \x1b[2J \r\n 'q\" ${x} 狐🦊 \u2028 <b> =1+1"
    odd = Task("odd", 0, {"model": "m", "prompt": prompt, "shift": 5.0, "flag": True, "n": 2}, "$$")
    with Ledger.open(tmp_path) as ledger:
        ledger.admit([(odd, 0, "狐-🦊")])
    with Ledger.open(tmp_path) as ledger:
        [record] = ledger.records()
    assert record.task == odd
    assert {name: type(value) for name, value in record.task.params.items()}["shift"] is float
    assert record.stem == "狐-🦊"


_LOOP = """
import asyncio, sys
from batchgen.ledger.ledger import Ledger
from batchgen.task import Task

def task(n):
    return Task(f"task{n:08}", n, {"model": "m", "prompt": f"p{n}"}, f"p{n}"), n, f"s{n}"

async def carry(ledger, n):
    name = f"task{n:08}"
    await ledger.intend(name, client_request_id=f"c{n}", body_sha256="", reserved_usd=None, at=0)
    print("intended", name, flush=True)
    await ledger.accepted(name, f"gen-{n}", at=0)
    print("accepted", name, flush=True)

async def work(ledger, first):
    for n in range(first, 100_000, 8):
        await carry(ledger, n)

async def main():
    with Ledger.open(sys.argv[1]) as ledger:
        ledger.admit(task(n) for n in range(20_000))
        print("ready", "-", flush=True)
        await asyncio.gather(*(work(ledger, first) for first in range(8)))

asyncio.run(main())
"""


@pytest.mark.parametrize("lines", [1, 40, 333])
def test_a_kill_loses_nothing_of_what_was_acknowledged(tmp_path: Path, lines: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _LOOP, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        said = [writer.stdout.readline() for _ in range(lines)]
        writer.send_signal(signal.SIGKILL)
        rest = writer.stdout.read().splitlines(keepends=True)
    # The last line may have been cut off by the kill.
    told = [line.split() for line in (*said, *rest) if line.endswith("\n")]
    with Ledger.open(tmp_path) as ledger:
        found = by_id(ledger)
        assert ledger.recover() <= 8
    assert len(found) == 20_000
    for word, name in told[1:]:
        assert found[name].status in {"in_flight", "submitting"}
        if word == "accepted":
            assert found[name].generation_id == f"gen-{int(name[4:])}"


class Steps(RuleBasedStateMachine):
    """A ledger beside a dictionary: any steps, and closing it now and then."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self.ledger = Ledger.open(self._folder.name)
        self.loop = asyncio.new_event_loop()
        self.model: dict[str, Status] = {}
        self.causes: dict[str, Cause] = {}
        self.ids: dict[str, str] = {}

    @initialize(count=st.integers(1, 5))
    def admitted(self, count: int) -> None:
        self.ledger.admit(tasks(range(count)))
        self.model = {f"task{number:08}": Status.PENDING for number in range(count)}

    @precondition(lambda self: bool(self.model))
    @rule(number=st.integers(0, 4), step=st.sampled_from(sorted(STEPS)))
    def step(self, number: int, step: str) -> None:
        name = f"task{number:08}"
        to, take = STEPS[step]
        allowed = name in self.model and to in TRANSITIONS[self.model[name]]
        if step == "resubmit":
            # A decision about a doubt: the table has the same way for a submit that was refused.
            allowed = allowed and self.model[name] in SETTLED_BY_HAND
        if not allowed:
            with pytest.raises(LedgerError):
                self.loop.run_until_complete(take(self.ledger, name))
            return
        self.loop.run_until_complete(take(self.ledger, name))
        self.model[name] = to
        if step == "accepted":
            self.ids[name] = f"gen-{name}"
        if step in ("failed", "timed_out", "in_doubt"):
            self.causes[name] = {
                "failed": Cause.GENERATION,
                "timed_out": Cause.FETCH,
                "in_doubt": Cause.SUBMIT,
            }[step]

    @rule()
    def reopened(self) -> None:
        self.ledger.close()
        self.ledger = Ledger.open(self._folder.name)

    @rule()
    def recovered(self) -> None:
        cut_off = [name for name, status in self.model.items() if status is Status.SUBMITTING]
        assert self.ledger.recover() == len(cut_off)
        self.model |= dict.fromkeys(cut_off, Status.UNRESOLVED)

    @rule()
    def resumed(self) -> None:
        paid = [
            name
            for name, status in self.model.items()
            if name in self.ids and status is Status.TIMED_OUT
        ]
        assert self.ledger.resume_paid() == len(paid)
        self.model |= dict.fromkeys(paid, Status.IN_FLIGHT)

    @rule()
    def retried(self) -> None:
        failed = [name for name, status in self.model.items() if status is Status.FAILED]
        waiting = self.ledger.retry(at=NOW)
        # With them come tasks that an earlier retry did not come to.
        assert set(failed) <= set(waiting)
        assert {self.model[name] for name in set(waiting) - set(failed)} <= {Status.PENDING}
        self.model |= dict.fromkeys(failed, Status.PENDING)
        for name in failed:
            self.ids.pop(name, None)

    @rule()
    def admitted_again(self) -> None:
        known = len(self.model)
        assert self.ledger.admit(tasks(range(known))) == Admission(0, known, 0, 0)

    @invariant()
    def the_ledger_says_what_happened(self) -> None:
        assert self.ledger.statuses(list(self.model)) == self.model
        assert sum(self.ledger.counts().values()) == len(self.model)
        for record in self.ledger.records():
            if record.task_id in self.ids:
                assert record.generation_id == self.ids[record.task_id]

    def teardown(self) -> None:
        self.ledger.close()
        self.loop.close()
        self._folder.cleanup()


class TestStepsInAnyOrder(Steps.TestCase):  # type: ignore[misc,valid-type]
    settings = settings(
        max_examples=25,
        stateful_step_count=25,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )


def test_the_ledger_s_json_is_readable_without_batchgen(tmp_path: Path) -> None:
    db = sqlite3.connect(filled(tmp_path))
    [params] = db.execute("SELECT params FROM tasks WHERE task_id = 'task00000007'").fetchone()
    db.close()
    assert json.loads(params) == {"model": "m", "prompt": "prompt 7", "seed": 7}


def test_a_path_that_is_longer_than_sqlite_takes_is_refused_in_a_sentence(tmp_path: Path) -> None:
    folder = tmp_path
    while len(str(folder)) < LONGEST_PATH - 250:
        folder /= "a" * 200
    with Ledger.open(folder / "run"):
        pass
    too_long = folder / ("b" * 240) / "run"
    with pytest.raises(RunDirectoryError, match=r"too long a path.*--output"):
        Ledger.open(too_long)
