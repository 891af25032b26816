"""Anything in any order: a ledger beside a plain model of it, and runs beside a server's own books.

Kills are copies of the directory, taken while the ledger is open: what SQLite's files hold at that
moment is what a SIGKILL would leave. Runs live in virtual time.
"""

import asyncio
import hashlib
import os
import shutil
import sqlite3
import tempfile
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Final

import anyio
import pytest
from aiohttp import web
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from batchgen.errors import LedgerError
from batchgen.events import Reason, Summary
from batchgen.job import (
    Job,
    OnAmbiguous,
    Output,
    PollSettings,
    Prompt,
    RunSettings,
    TimeoutSettings,
)
from batchgen.ledger.ledger import Ledger
from batchgen.ledger.tables import Record
from batchgen.outcomes import (
    Accepted,
    Answered,
    Completed,
    FetchOutcome,
    GenerationFailed,
    Interrupted,
    LookUp,
    NotSent,
    NoVideo,
    Pending,
    SubmitOutcome,
    Trouble,
    Unusable,
)
from batchgen.providers.base import Pace, at_once
from batchgen.run import Run
from batchgen.rundir import RunDirectory
from batchgen.sandbox.clips import ClipRequest, render
from batchgen.session import admit
from batchgen.task import FORGOTTEN, TRANSITIONS, Cause, Status, Task
from batchgen.transfer import open_transfer
from tests import virtual_time
from tests.conftest import committed
from tests.virtual_time import NightClock

NORMAL: Final = settings(
    max_examples=25,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
LONG: Final = settings(NORMAL, max_examples=1500, stateful_step_count=60)
MEMORY: Final = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
"""Where directories are made: the machines make thousands."""


def killed(folder: Path) -> Path:
    """Return a copy of a run directory as a SIGKILL at this moment would leave it."""
    # Beside it, never below: a hundred kills must not make a path longer than SQLite takes.
    copy = Path(tempfile.mkdtemp(prefix="run-", dir=folder.parent))
    shutil.copytree(folder, copy, symlinks=True, dirs_exist_ok=True)
    return copy


def submits_of(folder: Path) -> dict[str, sqlite3.Row]:
    """Read every intent ever committed out of a ledger that nobody holds."""
    with sqlite3.connect(RunDirectory(folder).ledger) as db:
        db.row_factory = sqlite3.Row
        rows = {row["client_request_id"]: row for row in db.execute("SELECT * FROM submits")}
    db.close()
    return rows


# The ledger.


@dataclass
class Submit:
    """An intent, as the model remembers it."""

    task_id: str
    usd: float | None
    cost: float | None = None
    decided: bool = False
    """Whether it was in doubt and decided upon: what it may have cost stays counted."""


@dataclass
class Expected:
    """What the model knows of a task."""

    status: Status = Status.PENDING
    gone: bool = False
    cause: Cause | None = None
    code: str | None = None
    generation_id: str | None = None
    sent: str | None = None
    cost: float | None = None
    completed: bool = False
    sha256: str | None = None
    attempts: int = 0
    replaced_by: str | None = None

    @property
    def is_forgotten(self) -> bool:
        return self.status is Status.FAILED and (self.cause, self.code) == (Cause.FETCH, FORGOTTEN)

    @property
    def is_made_again(self) -> bool:
        """Tell whether a retry submits it anew."""
        nothing_made = self.cause in (Cause.SUBMIT, Cause.GENERATION) or self.is_forgotten
        return self.status is Status.FAILED and not self.gone and nothing_made

    def forget(self) -> None:
        """Forget everything that came of earlier submits, as a retry does."""
        self.cause = self.code = self.generation_id = self.sent = self.cost = None
        self.completed = False


def made_task(number: int, index: int) -> tuple[Task, int, str]:
    params: dict[str, Any] = {"model": "m", "prompt": f"prompt {number}", "seed": number}
    task = Task(f"task{number:08}", index, params, f"prompt {number}")
    return task, index, f"clip{number % 3}"


PRICES: Final = st.sampled_from([None, 0.06, 0.25])
TASKS: Final = st.integers(0, 7)
Step = Callable[[], Coroutine[Any, Any, Any]]


class LedgerMachine(RuleBasedStateMachine):
    """Any steps in any order, and a kill at any moment."""

    def __init__(self) -> None:
        super().__init__()
        self.home = Path(tempfile.mkdtemp(dir=MEMORY))
        self.folder = self.home / "run"
        self.ledger = Ledger.open(self.folder)
        self.loop = asyncio.new_event_loop()
        self.tasks: dict[str, Expected] = {}
        self.submits: dict[str, Submit] = {}
        self.ids = 0

    # A job comes again: grown, shrunk, in another order.

    @initialize(numbers=st.permutations(range(8)), count=st.integers(1, 8))
    def begun(self, numbers: list[int], count: int) -> None:
        self.admitted(numbers, count)

    @rule(numbers=st.permutations(range(8)), count=st.integers(0, 8))
    def admitted(self, numbers: list[int], count: int) -> None:
        wanted = [f"task{number:08}" for number in numbers[:count]]
        known = [name for name in wanted if name in self.tasks]
        placed = {self._in_place_of(name) for name in wanted}
        dropped = [
            name
            for name, task in self.tasks.items()
            if name not in placed and task.status is Status.PENDING and not task.attempts
        ]
        admission = self.ledger.admit(
            made_task(number, place) for place, number in enumerate(numbers[:count])
        )
        assert (admission.known, admission.duplicates) == (len(known), 0)
        assert (admission.new, admission.gone) == (len(wanted) - len(known), len(dropped))
        for name in dropped:
            del self.tasks[name]
        for name, task in self.tasks.items():
            task.gone = name not in placed
            if task.replaced_by in dropped:
                task.replaced_by = None
        self.tasks |= {name: Expected() for name in wanted if name not in self.tasks}

    def _in_place_of(self, name: str) -> str:
        """Follow a task that was replaced to the one that is the job's now."""
        while name in self.tasks and (later := self.tasks[name].replaced_by) is not None:
            name = later
        return name

    # Steps.

    def _aimed(self, number: int, *statuses: Status) -> str:
        """Name a task: mostly one that has a status which the step is for."""
        fit = [name for name, task in self.tasks.items() if task.status in statuses]
        return fit[number % len(fit)] if fit and number < 7 else f"task{number:08}"

    def _may(self, name: str, to: Status) -> bool:
        return name in self.tasks and to in TRANSITIONS[self.tasks[name].status]

    def _take(self, name: str, to: Status, step: Step) -> Expected | None:
        """Take a step, which the ledger keeps where the table allows it and refuses elsewhere."""
        if self._may(name, to):
            self.loop.run_until_complete(step())
            self.tasks[name].status = to
            return self.tasks[name]
        with pytest.raises(LedgerError):
            self.loop.run_until_complete(step())
        return None

    @rule(number=TASKS, usd=PRICES)
    def intended(self, number: int, usd: float | None) -> None:
        name, sent = self._aimed(number, Status.PENDING), f"sent-{len(self.submits)}"
        task = self._take(
            name,
            Status.SUBMITTING,
            lambda: self.ledger.intend(
                name, client_request_id=sent, body_sha256="0" * 64, reserved_usd=usd, at=1.0
            ),
        )
        if task:
            self.submits[sent] = Submit(name, usd)
            task.sent = sent
            task.attempts += 1

    @rule(number=TASKS, taken_from=st.none() | TASKS)
    def accepted(self, number: int, taken_from: int | None) -> None:
        """An id comes, a new one or one that another task has already."""
        name, other = (
            self._aimed(number, Status.SUBMITTING, Status.UNRESOLVED, Status.PENDING),
            self.tasks.get(f"task{taken_from or 0:08}"),
        )
        refused = (task := self.tasks.get(name)) is not None and (
            task.status is Status.PENDING and task.sent is not None
        )
        if not refused and not self._may(name, Status.IN_FLIGHT):
            # Even then the id is kept, beside the ledger: it was paid for.
            return
        self.ids += 1
        given = f"id:{self.ids}"
        if taken_from is not None and other is not None and other.generation_id is not None:
            given = other.generation_id
            if other is not self.tasks.get(name):
                kept = self.ledger.accepted(name, given, at=2.0)
                assert self.loop.run_until_complete(kept) is False
                return
        if refused:
            # The provider's log shows that it was taken all the same.
            self.tasks[name].status = Status.SUBMITTING
            self.tasks[name].attempts += 1
        task = self._take(name, Status.IN_FLIGHT, lambda: self.ledger.accepted(name, given, at=2.0))
        if task:
            task.generation_id, task.cause, task.code = given, None, None
            self._settled(task)

    def _settled(self, task: Expected) -> None:
        if task.sent is not None:
            self.submits[task.sent].decided = False

    @rule(number=TASKS)
    def not_taken(self, number: int) -> None:
        name = self._aimed(number, Status.SUBMITTING)
        # Only the answer to a submit says so: a task with an id is never put back by it.
        if name in self.tasks and self.tasks[name].status is not Status.SUBMITTING:
            return
        task = self._take(
            name, Status.PENDING, lambda: self.ledger.not_taken(name, "refused", "429", at=2.0)
        )
        if task:
            task.attempts -= 1

    @rule(number=TASKS)
    def in_doubt(self, number: int) -> None:
        name = self._aimed(number, Status.SUBMITTING)
        task = self._take(
            name, Status.UNRESOLVED, lambda: self.ledger.in_doubt(name, "reset", at=2.0)
        )
        if task:
            task.cause, task.code = Cause.SUBMIT, "ambiguous_submit"

    @rule(number=TASKS, by_hand=st.booleans())
    def resubmitted(self, number: int, *, by_hand: bool) -> None:
        name = self._aimed(number, Status.UNRESOLVED, Status.CANCELLED)
        held = name in self.tasks and self.tasks[name].status in (
            Status.UNRESOLVED,
            Status.CANCELLED,
        )
        if not held:
            return

        async def step() -> None:
            if by_hand:
                self.ledger.submit_again([name], at=3.0)
            else:
                await self.ledger.resubmit(name, at=3.0)

        task = self._take(name, Status.PENDING, step)
        if task and task.sent is not None:
            self.submits[task.sent].decided = True
            task.sent = task.cause = task.code = None

    @rule(number=TASKS)
    def abandoned(self, number: int) -> None:
        name = self._aimed(number, Status.UNRESOLVED)
        if name in self.tasks and self.tasks[name].status is not Status.UNRESOLVED:
            return

        async def step() -> None:
            self.ledger.abandon([name], at=3.0)

        task = self._take(name, Status.CANCELLED, step)
        if task and task.sent is not None:
            self.submits[task.sent].decided = True
            task.cause, task.code = Cause.SUBMIT, "abandoned"

    @rule(number=TASKS)
    def adopted(self, number: int) -> None:
        name = self._aimed(number, Status.UNRESOLVED, Status.CANCELLED)
        if name not in self.tasks or self.tasks[name].status not in (
            Status.UNRESOLVED,
            Status.CANCELLED,
        ):
            return
        self.ids += 1
        task = self.tasks[name]
        assert self.ledger.adopt(name, f"id:{self.ids}", at=3.0)
        task.status, task.generation_id = Status.IN_FLIGHT, f"id:{self.ids}"
        task.cause = task.code = None
        self._settled(task)

    @rule(number=TASKS, usd=PRICES)
    def completed(self, number: int, usd: float | None) -> None:
        name = self._aimed(number, Status.IN_FLIGHT)
        task = self._take(
            name,
            Status.COMPLETED,
            lambda: self.ledger.completed(
                name,
                video_url="https://h/x.mp4",
                at=4.0,
                polls=1,
                queue_s=1.0,
                generate_s=2.0,
                cost_usd=usd,
                cost_is_estimate=False,
            ),
        )
        if task:
            task.completed = True
            self._billed(task, usd)

    def _billed(self, task: Expected, usd: float | None) -> None:
        if usd is not None:
            task.cost = usd
            if task.sent is not None:
                self.submits[task.sent].cost = usd

    @rule(number=TASKS)
    def expired(self, number: int) -> None:
        name = self._aimed(number, Status.COMPLETED)
        if name in self.tasks and self.tasks[name].status is not Status.COMPLETED:
            return
        self._take(name, Status.IN_FLIGHT, lambda: self.ledger.expired(name))

    @rule(number=TASKS)
    def verified(self, number: int) -> None:
        name = self._aimed(number, Status.COMPLETED)

        async def step() -> None:
            await self.ledger.verified(name, size=5, sha256=f"hash of {name}")

        if name in self.tasks and self.tasks[name].status is Status.COMPLETED:
            self.loop.run_until_complete(step())
            self.tasks[name].sha256 = f"hash of {name}"
        else:
            with pytest.raises(LedgerError):
                self.loop.run_until_complete(step())

    @rule(number=TASKS)
    def succeeded(self, number: int) -> None:
        name = self._aimed(number, Status.COMPLETED)
        task = self._take(
            name,
            Status.SUCCEEDED,
            lambda: self.ledger.succeeded(
                name, at=5.0, download_s=1.0, width=1, height=1, fps=1.0, duration_s=1.0
            ),
        )
        if task:
            task.cause = task.code = None

    @rule(
        number=TASKS,
        cause=st.sampled_from(Cause),
        code=st.sampled_from(["one", "two", FORGOTTEN]),
        bill=PRICES,
    )
    def failed(self, number: int, cause: Cause, code: str, bill: float | None = None) -> None:
        name = self._aimed(number, Status.SUBMITTING, Status.IN_FLIGHT, Status.COMPLETED)
        possible = {
            Status.SUBMITTING: [Cause.SUBMIT],
            Status.IN_FLIGHT: [Cause.GENERATION, Cause.FETCH],
            Status.COMPLETED: [Cause.DOWNLOAD],
        }
        if name in self.tasks and cause not in possible.get(self.tasks[name].status, [cause]):
            return
        task = self._take(
            name,
            Status.FAILED,
            lambda: self.ledger.failed(name, cause, code, "no", at=5.0, bill_usd=bill),
        )
        if task:
            task.cause, task.code = cause, code
            self._billed(task, bill)

    @rule(number=TASKS)
    def timed_out(self, number: int) -> None:
        name = self._aimed(number, Status.IN_FLIGHT)
        task = self._take(
            name, Status.TIMED_OUT, lambda: self.ledger.timed_out(name, "slow", polls=1)
        )
        if task:
            task.cause, task.code = Cause.FETCH, "timed_out"

    # What commands do.

    @rule(codes=st.sampled_from([(), ("one",), ("timed_out", "two"), ("none",)]))
    def resumed(self, codes: tuple[str, ...]) -> None:
        paid = [
            task
            for task in self.tasks.values()
            if task.generation_id is not None
            and task.replaced_by is None
            and (
                task.status is Status.TIMED_OUT
                or (task.status is Status.FAILED and task.cause in (Cause.FETCH, Cause.DOWNLOAD))
            )
            and (not codes or task.code in codes)
        ]
        assert self.ledger.resume_paid(codes) == len(paid)
        for task in paid:
            task.status, task.cause, task.code = Status.IN_FLIGHT, None, None

    @rule(codes=st.sampled_from([(), ("one",), ("none",)]))
    def retried(self, codes: tuple[str, ...]) -> None:
        for task in self.tasks.values():
            if task.is_made_again and (not codes or task.code in codes):
                if task.is_forgotten:
                    # It was taken and made again: what it has cost stays counted.
                    submit = self.submits[str(task.sent)]
                    submit.decided = True
                    submit.usd = task.cost if task.cost is not None else submit.usd
                task.status = Status.PENDING
                task.forget()
        assert set(self.ledger.retry(codes, at=3.0)) == self._waiting()

    def _waiting(self) -> set[str]:
        made = {task.replaced_by for task in self.tasks.values()}
        return {
            name
            for name, task in self.tasks.items()
            if task.status is Status.PENDING and not task.gone and (task.attempts or name in made)
        }

    @rule(number=TASKS, codes=st.sampled_from([(), ("one",), ("submit",), ("none",)]))
    def replaced(self, number: int, codes: tuple[str, ...]) -> None:
        """What failed gets another in its place, which the unchanged job then has."""
        self.intended(number, 0.06)
        self.failed(number, Cause.SUBMIT, "one")
        chosen = [
            name
            for name, task in self.tasks.items()
            if task.is_made_again and (not codes or task.code in codes or task.cause in codes)
        ]
        for name in chosen:
            self.tasks[name].gone = True
            self.tasks[name].replaced_by = f"{name}+"
            self.tasks[f"{name}+"] = Expected()
        assert set(self.ledger.replace(self._another, codes)) == self._waiting()
        self.admitted(list(range(8)), 8)

    @staticmethod
    def _another(record: Record, _: int) -> tuple[Task, str]:
        made = replace(record.task, task_id=f"{record.task_id}+")
        return made, f"{record.stem}+"

    @rule()
    def refetched(self) -> None:
        """No file was ever written here: all that succeeded are missing theirs."""
        missing = [
            task
            for task in self.tasks.values()
            if task.status is Status.SUCCEEDED and not task.gone
        ]
        assert self.ledger.refetch_missing() == len(missing)
        for task in missing:
            task.status = Status.IN_FLIGHT

    # The end of a process.

    def _reopened(self, folder: Path) -> None:
        self.folder = folder
        self.ledger = Ledger.open(folder)
        cut_off = [task for task in self.tasks.values() if task.status is Status.SUBMITTING]
        assert self.ledger.recover() == len(cut_off)
        for task in cut_off:
            task.status, task.cause, task.code = Status.UNRESOLVED, Cause.SUBMIT, "interrupted"

    @rule()
    def closed(self) -> None:
        self.ledger.close()
        self._reopened(self.folder)

    @rule()
    def killed(self) -> None:
        copy = killed(self.folder)
        self.ledger.close()
        self._reopened(copy)

    @rule(number=TASKS)
    def killed_in_mid_commit(self, number: int) -> None:
        """The copy is taken while a step waits for its commit: it happened or it did not."""
        name = f"task{number:08}"
        step_made, go_on = asyncio.Event(), threading.Event()

        def hanging(db: sqlite3.Connection) -> None:
            if name in self.tasks:
                db.execute("UPDATE tasks SET polls = polls + 1000 WHERE task_id = ?", (name,))
            self.loop.call_soon_threadsafe(step_made.set)
            assert go_on.wait(30)

        async def midway() -> Path:
            writing = asyncio.ensure_future(self.ledger._writer.record(hanging))
            await step_made.wait()
            copy = killed(self.folder)
            go_on.set()
            await writing
            return copy

        copy = self.loop.run_until_complete(midway())
        self.ledger.close()
        self._reopened(copy)
        assert all(record.polls < 1000 for record in self.ledger.records())

    @rule(number=TASKS, torn=st.booleans())
    def killed_with_an_id_in_the_rescue_file_only(self, number: int, *, torn: bool) -> None:
        name = self._aimed(number, Status.SUBMITTING)
        if name not in self.tasks or self.tasks[name].status is not Status.SUBMITTING:
            return
        self.ids += 1
        self.ledger._rescue.keep(name, f"id:{self.ids}")
        copy = killed(self.folder)
        self.ledger.close()
        if torn:
            path = RunDirectory(copy).rescued_ids
            path.write_bytes(path.read_bytes().rstrip()[:-1])
        else:
            task = self.tasks[name]
            task.status, task.generation_id = Status.IN_FLIGHT, f"id:{self.ids}"
            task.cause = task.code = None
        self._reopened(copy)

    # What always holds.

    @invariant()
    def every_task_is_as_the_model_says(self) -> None:
        records = list(self.ledger.records())
        assert len({record.task_id for record in records}) == len(records)
        assert len({record.stem.casefold() for record in records}) == len(records)
        assert {record.task_id: self._seen(record) for record in records} == {
            name: replace(task, completed=False) for name, task in self.tasks.items()
        }

    @staticmethod
    def _seen(record: Record) -> Expected:
        return Expected(
            status=Status(record.status),
            gone=bool(record.gone),
            cause=Cause(record.cause) if record.cause else None,
            code=record.error_code,
            generation_id=record.generation_id,
            sent=record.client_request_id,
            cost=record.cost_usd,
            sha256=record.sha256,
            attempts=record.attempts,
            replaced_by=record.replaced_by,
        )

    @invariant()
    def an_id_belongs_to_one_task(self) -> None:
        ids = Counter(record.generation_id for record in self.ledger.records())
        del ids[None]
        assert not ids or max(ids.values()) == 1

    @invariant()
    def counts_add_up(self) -> None:
        there = Counter(task.status for task in self.tasks.values() if not task.gone)
        assert self.ledger.counts() == dict(there)
        assert len(list(self.ledger.records())) == len(self.tasks)

    @invariant()
    def what_is_committed_is_what_was_reserved_or_charged(self) -> None:
        dollars, count = 0.0, 0
        for sent, submit in self.submits.items():
            task = self.tasks.get(submit.task_id)
            if task is None:
                continue  # never sent, and no longer wanted
            free = task.status in (Status.PENDING, Status.CANCELLED) or (
                task.status is Status.FAILED and task.cause in (Cause.SUBMIT, Cause.GENERATION)
            )
            if submit.cost is not None:
                # Whatever became of the task: it was paid.
                dollars, count = dollars + submit.cost, count + 1
            elif submit.decided or (task.sent == sent and not free):
                dollars, count = dollars + (submit.usd or 0.0), count + 1
        dollars_now, submits = committed(self.ledger)
        assert submits == count
        assert dollars_now == pytest.approx(dollars)

    @invariant()
    def what_is_under_way_will_be_asked_about(self) -> None:
        under_way = {record.task_id for record in self.ledger.under_way()}
        assert under_way == {
            name
            for name, task in self.tasks.items()
            if task.status in (Status.IN_FLIGHT, Status.COMPLETED)
        }
        doubts = {record.task_id for record, _ in self.ledger.doubts()}
        assert doubts == {
            name for name, task in self.tasks.items() if task.status is Status.UNRESOLVED
        }

    def teardown(self) -> None:
        self.ledger.close()
        self.loop.close()
        shutil.rmtree(self.home)


class TestALedgerInAnyOrder(LedgerMachine.TestCase):  # type: ignore[misc,valid-type]
    settings = NORMAL


@pytest.mark.nightly
@pytest.mark.timeout(1800)
def test_a_ledger_in_any_order_all_night() -> None:
    run_state_machine_as_test(LedgerMachine, settings=LONG)


# Runs.


@cache
def clip() -> bytes:
    return render(ClipRequest("machine", width=160, height=96))


HASH: Final = hashlib.sha256(clip()).hexdigest()


@dataclass(frozen=True)
class SubmitPlan:
    """What comes of one POST.

    Attributes:
        answer: What is said; None stands for an id.
        taken: Whether it is taken, which an error may well not say.
        logged: Whether the provider's log tells of it.
        seconds: How long it takes.
        old_id: Whether the id was given to another submit before.
    """

    answer: Trouble | None = None
    taken: bool = True
    logged: bool = True
    seconds: float = 0.0
    old_id: bool = False


@dataclass(frozen=True)
class Taken:
    """A submit the server took, in its own books."""

    client_request_id: str
    body: bytes
    generation_id: str


REFUSED_AFTER_TAKING: Final = tuple(
    SubmitPlan(Answered(status, "busy", wait, from_api))
    for status, from_api in ((429, True), (503, True), (429, False))
    for wait in (None, 30.0)
)


class Server:
    """A provider with books of its own, which says and does what it is told to.

    Attributes:
        posts: What comes of the next POSTs; then all goes well.
        polls: What the next polls are told; then the video is done.
        files: What the next downloads get; then the whole file.
        log_works: Whether its log can be read.
        hides: Whether it took a submit that it refused: from then on its log can be read.
        taken: Every submit it took.
        seen: Client request ids of all POSTs that arrived.
        failed: Ids of generations it gave up, charging nothing.
    """

    base_url = "http://127.0.0.1"

    def __init__(self) -> None:
        self.posts: list[SubmitPlan] = []
        self.polls: list[FetchOutcome] = []
        self.files: list[str] = []
        self.log_works = True
        self.hides = False
        self.taken: list[Taken] = []
        self.seen: Counter[str] = Counter()
        self.failed: set[str] = set()
        self.logged: dict[str, str] = {}
        self.url = ""

    def post(self, body: bytes, client_request_id: str) -> tuple[SubmitPlan, SubmitOutcome]:
        plan = self.posts.pop(0) if self.posts else SubmitPlan()
        if plan in REFUSED_AFTER_TAKING:
            if not self.log_works:
                # Nothing could tell of it then: that the log can be read is what is held here.
                plan = replace(plan, taken=False)
            self.hides |= plan.taken
        if isinstance(plan.answer, NotSent):
            return plan, plan.answer
        self.seen[client_request_id] += 1
        if not plan.taken:
            return plan, plan.answer or Answered(400, "no")
        given = f"id:{len(self.taken)}"
        if plan.old_id and self.taken:
            given = self.taken[0].generation_id
        self.taken.append(Taken(client_request_id, body, given))
        if plan.logged:
            self.logged[client_request_id] = given
        return plan, plan.answer or Accepted(given)

    def poll(self, generation_id: str) -> FetchOutcome:
        assert generation_id in {each.generation_id for each in self.taken}, "an id it never gave"
        if generation_id in self.failed:
            return GenerationFailed("generation_failed", "no")
        outcome = self.polls.pop(0) if self.polls else Completed("", 0.06)
        if isinstance(outcome, GenerationFailed):
            self.failed.add(generation_id)
        if isinstance(outcome, Completed):
            return replace(outcome, url=f"{self.url}/{generation_id}.mp4?sig=1")
        return outcome


class Line:
    """One process's line to the server: it ends with the process."""

    base_url = Server.base_url
    clock_offset: float | None = None

    def __init__(self, server: Server, clock: NightClock) -> None:
        self._server = server
        self._clock = clock
        self.alive = True

    async def submit(self, body: bytes, client_request_id: str) -> SubmitOutcome:
        if not self.alive:
            return NotSent("this process is no more")
        plan, outcome = self._server.post(body, client_request_id)
        await self._clock.sleep(plan.seconds)
        return outcome

    async def fetch(self, generation_id: str, model: str | None = None) -> FetchOutcome:
        del model
        return self._server.poll(generation_id) if self.alive else NotSent("no more")

    async def find(
        self, client_request_ids: Collection[str] | None, since: float, pace: Pace = at_once
    ) -> LookUp:
        del since
        await pace()
        logged = self._server.logged if self._server.log_works else {}
        found = {sent: logged[sent] for sent in client_request_ids or logged if sent in logged}
        return LookUp(found, whole=self._server.log_works)

    async def price(self) -> float | None:
        return 0.06


@asynccontextmanager
async def file_host(server: Server) -> AsyncIterator[str]:
    """Serve the files over real sockets, broken in the ways the server is told."""

    async def answer(request: web.Request) -> web.StreamResponse:
        match server.files.pop(0) if server.files else "whole":
            case "cut":
                response = web.StreamResponse(headers={"Content-Length": str(len(clip()))})
                await response.prepare(request)
                await response.write(clip()[:1000])
                assert request.transport is not None
                request.transport.abort()
                return response
            case "half":
                return web.Response(body=clip()[: len(clip()) // 2], content_type="video/mp4")
            case "page":
                return web.Response(text="<html>sorry</html>", content_type="video/mp4")
            case "empty":
                return web.Response(content_type="video/mp4")
            case "whole":
                return web.Response(body=clip(), content_type="video/mp4")
            case status:
                return web.Response(status=int(status))

    application = web.Application()
    application.router.add_get("/{name}", answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield server.url
    await runner.cleanup()


ANSWERS: Final = st.builds(
    Answered,
    st.sampled_from([400, 401, 402, 403, 404, 408, 413, 422, 429, 500, 502, 503, 504, 520, 301]),
    st.sampled_from(["", "insufficient balance", "no"]),
    st.none() | st.floats(0, 2000),
)
LOST: Final = st.sampled_from(
    [Interrupted("reset"), Unusable("no id"), Answered(502), Answered(408), Answered(503)]
)
YES: Final = st.sampled_from([True])
NO: Final = st.sampled_from([False])
POSTS: Final = st.one_of(
    st.builds(SubmitPlan, seconds=st.sampled_from([0.0, 5.0, 60.0])),
    st.builds(SubmitPlan, old_id=YES),
    # Twice: what is lost is what matters most.
    *[
        st.builds(
            SubmitPlan,
            LOST,
            taken=st.booleans(),
            logged=st.booleans(),
            seconds=st.sampled_from([0.0, 20.0, 120.0]),
        )
    ]
    * 2,
    st.builds(SubmitPlan, ANSWERS.filter(lambda said: said.status < 500), taken=NO),
    st.sampled_from(REFUSED_AFTER_TAKING),
    st.builds(
        SubmitPlan,
        st.builds(NotSent, st.just("no route"), st.booleans()),
        taken=NO,
    ),
)
POLLS: Final = st.one_of(
    st.builds(Completed, st.just(""), st.none() | st.just(0.05)),
    st.builds(Pending, st.sampled_from(["queued", "odd"]), st.booleans(), st.booleans()),
    st.builds(NoVideo, st.just("none")),
    st.builds(GenerationFailed, st.sampled_from(["generation_failed", "nsfw"]), st.just("no")),
    st.builds(NotSent, st.just("no route"), st.booleans()),
    st.builds(Interrupted, st.just("reset")),
    st.builds(Unusable, st.just("html")),
    ANSWERS,
)
FILES: Final = st.sampled_from(
    [
        "cut",
        "half",
        "page",
        "empty",
        "whole",
        "401",
        "403",
        "404",
        "410",
        "413",
        "429",
        "500",
        "502",
        "503",
    ]
)
LEAVING: Final = (Reason.REFUSED, Reason.GAVE_UP)
"""A run that leaves drops what it waits for: a last step may be durable and not yet counted."""
ENDS: Final = st.sampled_from(["by itself", "drained", "left", "cancelled", "killed", "killed"])


class RunMachine(RuleBasedStateMachine):
    """Runs that meet anything and end in any way, one after the other in one directory."""

    def __init__(self) -> None:
        super().__init__()
        self.home = Path(tempfile.mkdtemp(dir=MEMORY))
        self.folder = self.home / "run"
        self.server = Server()
        self.dusk = virtual_time.DUSK
        self.prompts = 0
        self.job = Job("machine", (), Output(self.folder))

    @initialize(count=st.integers(2, 6), on_ambiguous=st.sampled_from(OnAmbiguous))
    def begun(self, count: int, on_ambiguous: OnAmbiguous) -> None:
        self.prompts = count
        self.job = replace(
            self.job,
            run=RunSettings(
                concurrency=3,
                submits=2,
                downloads=2,
                poll=PollSettings(first=5.0, every=20.0),
                timeout=TimeoutSettings(generation=900.0),
                on_ambiguous=on_ambiguous,
                stop_if_failures=4,
                give_up_after=4 * 3600.0,
            ),
        )

    @rule()
    def a_video_is_deleted(self) -> None:
        for video in sorted((self.folder / "videos").glob("*.mp4"))[:1]:
            video.unlink()

    # A run, and how it ends.

    @rule(
        more=st.integers(0, 4),
        posts=st.lists(POSTS, min_size=2, max_size=8),
        polls=st.lists(POLLS, max_size=10),
        files=st.lists(FILES, max_size=6),
        log_works=st.booleans(),
        end=ENDS,
        at=st.sampled_from([0.0, 1.0, 6.0, 15.0, 40.0, 130.0, 900.0]),
        again=st.booleans(),
    )
    def run(
        self,
        more: int,
        posts: list[SubmitPlan],
        polls: list[FetchOutcome],
        files: list[str],
        end: str,
        at: float,
        *,
        log_works: bool,
        again: bool,
    ) -> None:
        """Grow, and meet all of this until the end that was drawn; then look into the books."""
        self.prompts += more
        self.server.posts, self.server.polls, self.server.files = posts, polls, files
        self.server.log_works = log_works or self.server.hides
        clock = NightClock(self.dusk)
        prompts = tuple(Prompt(f"prompt {number}") for number in range(self.prompts))
        job = replace(self.job, prompts=prompts, output=Output(self.folder))

        async def night() -> tuple[Summary | None, Path, float]:
            async with file_host(self.server):
                summary, folder = await self._one_run(job, clock, end, at, again=again)
            return summary, folder, clock.outside()

        summary, folder, seconds = virtual_time.run(night)
        self.dusk += seconds + 3600.0
        self.folder = folder
        if summary is not None:
            with Ledger.open(folder) as ledger:
                left = ledger.counts()
            if end in ("by itself", "drained") and summary.reason not in LEAVING:
                assert summary.counts == left
            assert sum(summary.counts.values()) == self.prompts
        self._look_into_the_books()

    async def _one_run(
        self, job: Job, clock: NightClock, end: str, at: float, *, again: bool
    ) -> tuple[Summary | None, Path]:
        line, folder, summary = Line(self.server, clock), job.output.dir, None
        with Ledger.open(folder) as ledger:
            ledger.bind(job.provider.kind)
            admit(job, ledger)
            ledger.recover()
            ledger.refetch_missing()
            ledger.resume_paid()
            if again:
                ledger.retry(at=3.0)
            ledger.directory.clear_parts()
            async with open_transfer(base_url=line.base_url, seconds=60) as transfer:
                run = Run(job, ledger, line, transfer, clock=clock, rng=virtual_time.dice())
                async with anyio.create_task_group() as group:

                    async def ending() -> None:
                        nonlocal folder
                        await clock.sleep(at)
                        match end:
                            case "drained":
                                run.stopping.drain(Reason.INTERRUPTED)
                            case "left":
                                run.stopping.leave(Reason.INTERRUPTED)
                            case "cancelled":
                                group.cancel_scope.cancel()
                            case "killed":
                                folder = killed(ledger.directory.path)
                                line.alive = False
                                group.cancel_scope.cancel()

                    if end != "by itself":
                        group.start_soon(ending)
                    summary = await run.go()
                    group.cancel_scope.cancel()
        return (summary if folder == job.output.dir else None), folder

    # What must be true whatever happened.

    def _look_into_the_books(self) -> None:
        submits = submits_of(self.folder)
        with Ledger.open(self.folder) as ledger:
            records = list(ledger.records())
        self._nothing_is_paid_for_twice(submits, records)
        self._nothing_is_lost(submits, records)
        self._failed_means_failed(records)
        self._files_are_what_succeeded(records)

    def _nothing_is_paid_for_twice(
        self, submits: dict[str, sqlite3.Row], records: list[Record]
    ) -> None:
        """Submits taken, less tasks, less generations that failed for free: decided on record."""
        assert not self.server.seen or max(self.server.seen.values()) == 1
        decided = Counter(
            row["task_id"] for row in submits.values() if row["outcome"] == "resubmitted"
        )
        if self.job.run.on_ambiguous is not OnAmbiguous.RESUBMIT:
            assert not decided, "so few tasks are never evidence"
        taken = Counter(each.body for each in self.server.taken)
        failed = Counter(
            each.body for each in self.server.taken if each.generation_id in self.server.failed
        )
        for record in records:
            body = record.task.body
            assert taken[body] - failed[body] <= 1 + decided[record.task_id]
        assert taken.keys() <= {record.task.body for record in records}

    def _nothing_is_lost(self, submits: dict[str, sqlite3.Row], records: list[Record]) -> None:
        """Whatever the server took is in the ledger, by its id or as a doubt."""
        tasks = {record.task_id: record for record in records}
        for each in self.server.taken:
            intent = submits[each.client_request_id]
            task = tasks[intent["task_id"]]
            assert hashlib.sha256(each.body).hexdigest() == intent["body_sha256"]
            if intent["outcome"] == "accepted":
                assert intent["generation_id"] == each.generation_id
            elif intent["outcome"] == "refused":
                assert task.client_request_id == each.client_request_id
                assert task.status == Status.PENDING, "it is looked up before it is repeated"
            elif intent["outcome"] != "resubmitted":
                assert intent["outcome"] in ("ambiguous", None)
                assert task.client_request_id == each.client_request_id
                assert task.status in (Status.UNRESOLVED, Status.SUBMITTING)
        ids = Counter(record.generation_id for record in records if record.generation_id)
        assert not ids or max(ids.values()) == 1
        assert ids.keys() <= {each.generation_id for each in self.server.taken}

    def _failed_means_failed(self, records: list[Record]) -> None:
        """No outage fails a task: only what the server said of it does."""
        taken = {each.body for each in self.server.taken}
        for record in records:
            if record.status == Status.FAILED and record.cause == Cause.GENERATION:
                assert record.generation_id in self.server.failed
            if record.status == Status.FAILED and record.cause == Cause.SUBMIT:
                assert record.generation_id is None
            if record.status in (Status.IN_FLIGHT, Status.COMPLETED, Status.SUCCEEDED):
                assert record.task.body in taken

    def _files_are_what_succeeded(self, records: list[Record]) -> None:
        videos = {f"videos/{path.name}": path for path in (self.folder / "videos").iterdir()}
        for path in videos.values():
            assert hashlib.sha256(path.read_bytes()).hexdigest() == HASH
        done = {record.file_name for record in records if record.status == Status.SUCCEEDED}
        named = {record.file_name for record in records if record.sha256 == HASH}
        assert done <= named
        # Those deleted by hand are fetched again by the next run; a kill may come before the word.
        assert videos.keys() <= named

    def teardown(self) -> None:
        """When all troubles are over, everything that can be had is had."""
        for _ in range(2):
            self.run(0, [], [], [], "by itself", 0.0, log_works=True, again=True)
        with Ledger.open(self.folder) as ledger:
            records = list(ledger.records())
            counts = ledger.counts()
        videos = len(list((self.folder / "videos").iterdir()))
        assert videos == counts.get(Status.SUCCEEDED, 0)
        logged = set(self.server.logged)
        for record in records:
            # What stays in doubt is in no log, or has an id that another task has.
            assert record.status in (Status.SUCCEEDED, Status.UNRESOLVED, Status.FAILED)
            if record.status == Status.UNRESOLVED:
                assert (
                    record.client_request_id not in logged
                    or self.server.logged[record.client_request_id] == "id:0"
                )
            if record.status == Status.FAILED:
                assert record.generation_id in self.server.failed
        shutil.rmtree(self.home)


class TestRunsThatMeetAnything(RunMachine.TestCase):  # type: ignore[misc,valid-type]
    settings = settings(NORMAL, max_examples=25, stateful_step_count=6)


@pytest.mark.nightly
@pytest.mark.timeout(3600)
def test_runs_that_meet_anything_all_night() -> None:
    run_state_machine_as_test(RunMachine, settings=settings(LONG, stateful_step_count=12))
