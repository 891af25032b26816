"""Nights of lost answers in virtual time, against each kind of log a provider may have."""

from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeAlias

import anyio
import pytest

import batchgen.run.run
from batchgen.events import Event, Notice, Reason, Summary
from batchgen.job import Budget, Job, OnAmbiguous, Output, PollSettings, Prompt, RunSettings
from batchgen.ledger.ledger import Ledger
from batchgen.ledger.sightings import Sightings, evidence_of_repeats
from batchgen.ledger.tables import Record
from batchgen.outcomes import Interrupted, LookUp, SubmitOutcome
from batchgen.providers.base import Pace, at_once
from batchgen.report.manifest import written_rows
from batchgen.run import Run
from batchgen.session import admit
from batchgen.task import Status
from batchgen.transfer import open_transfer
from tests import virtual_time
from tests.test_long_nights import Provider, files
from tests.virtual_time import NightClock

TASKS: Final = 150
LISTED: TypeAlias = Callable[[int, bool], float | None]
"""How a log lists the n-th submit that was taken, given whether it was answered: seconds after the
submit, or None for never."""


def at_once_for_all(_: int, answered: bool) -> float | None:  # noqa: FBT001
    del answered
    return 2.0


def four_minutes_late(number: int, answered: bool) -> float | None:  # noqa: FBT001
    del answered
    return 200.0 + number % 40


def an_hour_late(_: int, answered: bool) -> float | None:  # noqa: FBT001
    del answered
    return 3600.0


def not_quite_all(number: int, answered: bool) -> float | None:  # noqa: FBT001
    del answered
    return None if number % 25 == 11 else 2.0


def nothing(_: int, answered: bool) -> float | None:  # noqa: FBT001
    del answered
    return None


def only_what_was_answered(_: int, answered: bool) -> float | None:  # noqa: FBT001
    return 2.0 if answered else None


class Killed(Exception):
    """The process died here: nothing after it happened."""


class Lossy(Provider):
    """A provider that loses answers to submits, and whose log is of some kind.

    Attributes:
        listed: How its log lists what was taken.
        loses: What happens to the n-th task's first submit: "" it is answered, "taken" or "lost".
        log_reads: Look-ups in its log.
        came: How often each task was submitted.
        loses_again: Tasks of which every further submit is lost.
    """

    def __init__(self, clock: NightClock, video_url: str, listed: LISTED) -> None:
        super().__init__(clock, video_url, ())
        self.makes = 30.0
        self.listed = listed
        self.loses: Callable[[int], str] = a_tenth_of_each
        self.log_reads = 0
        self._rows: dict[str, float | None] = {}
        self.came: Counter[str] = Counter()
        self.loses_again: set[str] = set()

    async def submit(self, body: bytes, client_request_id: str) -> SubmitOutcome:
        task_id = client_request_id.partition(".")[0]
        self.came[task_id] += 1
        first = self.came[task_id] == 1
        fate = self.loses(len(self.came) - 1) if first else ""
        if task_id in self.loses_again:
            fate = "lost"
        if fate == "lost":
            await self._clock.sleep(1.0)
            return Interrupted("reset, and it never arrived")
        number = len(self.taken)
        outcome = await super().submit(body, client_request_id)
        delay = self.listed(number, not fate)
        self._rows[client_request_id] = None if delay is None else self._clock.now() + delay
        return Interrupted("reset, though it was taken") if fate else outcome

    async def find(
        self, client_request_ids: Collection[str] | None, since: float, pace: Pace = at_once
    ) -> LookUp:
        if client_request_ids is None:
            # What a run asks before its first submit has nothing to do with doubts.
            return await super().find(None, since, pace)
        await pace()
        self.log_reads += 1
        now = self._clock.now()
        listed = {sent for sent, at in self._rows.items() if at is not None and at <= now}
        found = {sent: self.taken[sent] for sent in client_request_ids if sent in listed}
        return LookUp(found, whole=True)


def a_tenth_of_each(number: int) -> str:
    return {3: "taken", 7: "lost"}.get(number % 10, "")


@dataclass
class Morning:
    """What there is when a night is over."""

    summaries: list[Summary]
    provider: Lossy
    repeats: list[tuple[str, str, str | None]]
    rows: list[dict[str, Any]]
    said: str

    @property
    def summary(self) -> Summary:
        return self.summaries[-1]

    @property
    def bought_twice(self) -> list[str]:
        bodies = Counter(self.provider.bodies)
        return [body.decode() for body, count in bodies.items() if count > 1]


def spend(
    folder: Path,
    listed: LISTED,
    *,
    tasks: Sequence[int] = (TASKS,),
    begin: Callable[[Lossy, int], None] | None = None,
    meanwhile: Callable[[Run, NightClock], Coroutine[Any, Any, None]] | None = None,
    budget: Budget | None = None,
    **settings: Any,
) -> Morning:
    """Spend nights in one directory, a run for each number of tasks; `begin` precedes each."""
    settings = {"concurrency": 6, "submits": 2, "poll": PollSettings(20.0, 20.0), **settings}
    job = Job("night", (), Output(folder / "run"), run=RunSettings(**settings))
    job = replace(job, budget=budget or Budget())
    clock = NightClock()
    grown = job
    summaries: list[Summary] = []
    seen: list[Event] = []

    async def night() -> Morning:
        nonlocal grown
        async with files([], lambda: 200, None) as url:
            provider = Lossy(clock, url, listed)
            for number, count in enumerate(tasks):
                if begin is not None:
                    begin(provider, number)
                grown = replace(job, prompts=tuple(Prompt(f"prompt {n}") for n in range(count)))
                with Ledger.open(job.output.dir) as ledger:
                    admit(grown, ledger)
                    ledger.recover()
                    async with open_transfer(base_url=provider.base_url, seconds=60) as transfer:
                        run = Run(
                            grown,
                            ledger,
                            provider,
                            transfer,
                            clock=clock,
                            rng=virtual_time.dice(),
                            observer=seen.append,
                        )
                        try:
                            async with anyio.create_task_group() as group:
                                if meanwhile is not None:
                                    group.start_soon(meanwhile, run, clock)
                                summaries.append(await run.go())
                                group.cancel_scope.cancel()
                        except* Killed:
                            pass
                clock.suspend(600.0, monotonic_counts=False)
        with Ledger.open(job.output.dir) as ledger:
            rows = list(written_rows(grown, ledger))
            repeats = ledger._writer.ask(evidence_of_repeats)
        said = "\n".join(event.message for event in seen if isinstance(event, Notice))
        return Morning(summaries, provider, repeats, rows, said)

    return virtual_time.run(night)


@pytest.fixture(autouse=True)
def _a_calm_watcher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batchgen.run.run, "TELL_SECONDS", 30.0)


@pytest.mark.parametrize("listed", [at_once_for_all, four_minutes_late])
def test_with_a_log_that_lists_all_no_person_is_needed_and_nothing_is_bought_twice(
    tmp_path: Path, listed: LISTED
) -> None:
    morning = spend(tmp_path, listed)
    assert morning.summary.counts == {Status.SUCCEEDED: TASKS}, morning.said
    assert not morning.bought_twice
    assert len(morning.provider.taken) == TASKS
    assert len(morning.repeats) >= TASKS // 10
    for _, evidence, turned_up in morning.repeats:
        assert "known submits were in the provider's log within" in evidence
        assert turned_up is None


@pytest.mark.parametrize("listed", [not_quite_all, nothing, only_what_was_answered, an_hour_late])
def test_a_log_that_is_not_known_to_list_all_in_time_leaves_every_doubt_to_a_person(
    tmp_path: Path, listed: LISTED
) -> None:
    morning = spend(tmp_path, listed)
    unresolved = morning.summary.counts[Status.UNRESOLVED]
    assert morning.summary.counts == {
        Status.SUCCEEDED: TASKS - unresolved,
        Status.UNRESOLVED: unresolved,
    }
    assert unresolved >= TASKS // 10
    assert not morning.repeats
    assert not morning.bought_twice
    assert f"{unresolved} submits stay unresolved: " in morning.said


def test_a_log_is_not_read_in_a_night_without_doubts_and_once_a_minute_with_one(
    tmp_path: Path,
) -> None:
    def none_is_lost(provider: Lossy, run: int) -> None:
        del run
        provider.loses = lambda _: ""

    quiet = spend(tmp_path / "a", at_once_for_all, tasks=[30], begin=none_is_lost)
    assert quiet.provider.log_reads == 0

    def one_is_lost(provider: Lossy, run: int) -> None:
        del run
        provider.loses = lambda number: "lost" if number == 5 else ""

    morning = spend(tmp_path / "b", at_once_for_all, begin=one_is_lost)
    assert morning.summary.counts[Status.UNRESOLVED] == 1
    assert "0 submits were found in the provider's log after a lost answer" in morning.said
    assert morning.provider.log_reads <= morning.summary.seconds / 60 * 2 + 3


def test_with_hold_nothing_is_submitted_again_whatever_the_log_shows(tmp_path: Path) -> None:
    morning = spend(tmp_path, at_once_for_all, on_ambiguous=OnAmbiguous.HOLD)
    assert morning.summary.counts[Status.UNRESOLVED] == TASKS // 10
    assert not morning.repeats


def test_what_an_earlier_run_saw_of_the_log_counts_but_a_doubt_is_watched_anew(
    tmp_path: Path,
) -> None:
    """The clock says that ten minutes lie between the runs; nobody knows who set it."""
    last = TASKS - 1

    def lose(provider: Lossy, run: int) -> None:
        del run
        taken = range(0, 70, 10)
        provider.loses = lambda n: "taken" if n in taken else "lost" if n == last else ""

    morning = spend(tmp_path, at_once_for_all, tasks=[TASKS, TASKS + 2], begin=lose)
    first, second = morning.summaries
    assert first.counts[Status.UNRESOLVED] == 1
    assert "no submit that left after it is in the provider's log" in morning.said
    assert second.counts == {Status.SUCCEEDED: TASKS + 2}
    assert 600 < second.seconds < 900
    assert len(morning.repeats) == 1
    assert not morning.bought_twice


def test_no_repeat_passes_the_budget(tmp_path: Path) -> None:
    morning = spend(tmp_path, at_once_for_all, budget=Budget(max_tasks=TASKS + 3))
    assert morning.summary.submitted == TASKS + 3
    assert 3 <= len(morning.repeats) < TASKS // 10
    assert f"the budget of {TASKS + 3} tasks is used up" in morning.said


def test_a_first_interrupt_ends_the_wait_for_the_log_at_once(tmp_path: Path) -> None:
    interrupted: list[float] = []

    async def interrupt(run: Run, clock: NightClock) -> None:
        while not run.is_settling:  # a test may poll
            await clock.sleep(10.0)
        interrupted.append(clock.outside())
        run.stopping.drain(Reason.INTERRUPTED)

    def lose_late(provider: Lossy, run: int) -> None:
        del run
        late = range(TASKS - 9, TASKS - 1)
        provider.loses = lambda n: "taken" if n % 10 == 3 else "lost" if n in late else ""

    morning = spend(tmp_path, at_once_for_all, begin=lose_late, meanwhile=interrupt)
    assert morning.summary.reason is Reason.INTERRUPTED
    assert morning.summary.seconds - interrupted[0] < 1.0
    assert morning.summary.counts[Status.UNRESOLVED] == 7
    assert "7 submits whose answer was lost are looked for in the provider's log" in morning.said


@pytest.mark.parametrize("jump", [3600.0, -3600.0])
def test_a_clock_that_is_set_in_mid_run_makes_no_doubt_old(tmp_path: Path, jump: float) -> None:
    def lost_ones_late(_: int, answered: bool) -> float | None:  # noqa: FBT001
        return 2.0 if answered else 240.0

    async def set_clock(run: Run, clock: NightClock) -> None:
        del run
        await clock.sleep(950.0)
        clock.wall_error = jump

    morning = spend(tmp_path, lost_ones_late, meanwhile=set_clock)
    assert not morning.bought_twice
    assert morning.summary.seconds > 1_000
    assert morning.summary.counts[Status.SUCCEEDED] >= TASKS * 0.8


def test_killed_between_decision_and_submit_a_task_is_submitted_again_once_and_never_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repeat = Sightings.repeat
    decided: list[str] = []

    async def repeat_and_die(self: Sightings, task_id: str, evidence: str, *, at: float) -> Record:
        record = await repeat(self, task_id, evidence, at=at)
        if not decided:
            decided.append(task_id)
            raise Killed
        return record

    monkeypatch.setattr(Sightings, "repeat", repeat_and_die)

    def lose(provider: Lossy, run: int) -> None:
        provider.loses = a_tenth_of_each
        if run == 1:
            provider.loses_again = set(decided)

    morning = spend(tmp_path, at_once_for_all, tasks=[TASKS, TASKS], begin=lose)
    (task_id,) = decided
    assert [each for each, *_ in morning.repeats].count(task_id) == 1
    assert morning.summary.counts == {Status.SUCCEEDED: TASKS - 1, Status.UNRESOLVED: 1}
    assert morning.provider.came[task_id] == 2
    assert "its task was submitted again before" in morning.said


def test_a_submit_that_turns_up_after_all_ends_it_and_the_manifest_has_both_ids(
    tmp_path: Path,
) -> None:
    """The log takes an hour for one row: no rule can know that."""
    slow = 122

    def listed(number: int, answered: bool) -> float | None:  # noqa: FBT001
        return 1800.0 if number == slow and not answered else 2.0

    def lose(provider: Lossy, run: int) -> None:
        del run
        # In the order they are taken, which is the order they leave while none is lost.
        provider.loses = lambda n: "taken" if n == slow or n in range(0, 60, 10) else ""

    morning = spend(tmp_path, listed, tasks=[TASKS * 3], begin=lose)
    assert len(morning.bought_twice) == 1
    ((task_id, _, turned_up),) = morning.repeats
    assert turned_up == f"id:{slow}"
    assert f"task {task_id} is paid for twice" in morning.said
    (row,) = [row for row in morning.rows if row["duplicate_generation_id"] is not None]
    assert row["task_id"] == task_id
    assert row["duplicate_generation_id"] == turned_up
    assert row["status"] == "succeeded"
    assert row["generation_id"] != turned_up
