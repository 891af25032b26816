"""Whole nights in virtual time: hours of trouble of every kind, and in the morning all is there."""

import errno
import os
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import aiohttp
import anyio
import pytest
from aiohttp import web

import batchgen.run.run
from batchgen.errors import LedgerError
from batchgen.events import Reason, Summary
from batchgen.job import (
    Budget,
    Job,
    OnAmbiguous,
    Output,
    PollSettings,
    Prompt,
    ProviderSettings,
    RunSettings,
    TimeoutSettings,
)
from batchgen.ledger.ledger import Ledger
from batchgen.ledger.tables import Record
from batchgen.ledger.writer import Step, Writer
from batchgen.outcomes import (
    Accepted,
    Answered,
    Completed,
    FetchOutcome,
    Interrupted,
    LookUp,
    NotSent,
    Pending,
    SubmitOutcome,
    Trouble,
)
from batchgen.part import Part
from batchgen.policy import RETRY_AFTER_CAP, Phase
from batchgen.providers.aimlapi import CLOCK_SLACK
from batchgen.providers.base import Pace, at_once
from batchgen.run import Run
from batchgen.sandbox.clips import ClipRequest, render
from batchgen.session import admit
from batchgen.task import Status
from batchgen.transfer import Saved, Transfer, open_transfer
from tests import virtual_time
from tests.virtual_time import NightClock

HERE: Final = Path(__file__).parent
HOUR: Final = 3600.0
TASKS: Final = 12
BOTH: Final = (Phase.SUBMIT, Phase.FETCH)


@cache
def clip() -> bytes:
    return render(ClipRequest("a long night", width=160, height=96))


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What every request of some phases gets between two times of the night.

    Attributes:
        begin: Seconds after dusk.
        end: Seconds after dusk.
        answer: What it gets, given how many got it before.
        phases: Which requests.
        after: Seconds it takes to come.
        taken: Whether a submit is taken all the same.
        only: The one generation it is done to; None for all.
    """

    begin: float
    end: float
    answer: Callable[[int], Trouble]
    phases: tuple[Phase, ...] = BOTH
    after: float = 0.0
    taken: bool = False
    only: str | None = None


class Provider:
    """A provider through a night. It knows the truth: what it took, what it was asked and when.

    Attributes:
        taken: Every submit it took, by client request id: the generation's id.
        bodies: What was wanted, for every submit it took.
        asked: Times of all requests of a phase, in seconds after dusk.
        makes: Seconds it takes to make a video; twice that for every second one.
        stuck: Generations that stay in the queue.
        answers_after: Seconds until a submit that is taken is answered.
    """

    base_url = "http://127.0.0.1"
    clock_offset: float | None = None

    def __init__(self, clock: NightClock, video_url: str, faults: Collection[Fault]) -> None:
        self._clock = clock
        self._video_url = video_url
        self._faults = faults
        self._given: Counter[Fault] = Counter()
        self._born: dict[str, float] = {}
        self.makes = 200.0
        self.answers_after = 0.0
        self.stuck: set[str] = set()
        self.taken: dict[str, str] = {}
        self.bodies: Counter[bytes] = Counter()
        self.asked: dict[Phase, list[float]] = {phase: [] for phase in Phase}

    async def _trouble(
        self, phase: Phase, generation_id: str | None = None
    ) -> tuple[Fault, Trouble] | None:
        now = self._clock.outside()
        self.asked[phase].append(now)
        for fault in self._faults:
            if fault.only not in (None, generation_id):
                continue
            if phase in fault.phases and fault.begin <= now < fault.end:
                self._given[fault] += 1
                await self._clock.sleep(fault.after)
                return fault, fault.answer(self._given[fault] - 1)
        return None

    async def submit(self, body: bytes, client_request_id: str) -> SubmitOutcome:
        came = self._clock.outside()
        trouble = await self._trouble(Phase.SUBMIT)
        if trouble is not None and not trouble[0].taken:
            return trouble[1]
        generation_id = f"id:{len(self.taken)}"
        self.taken[client_request_id] = generation_id
        self.bodies[body] += 1
        self._born[generation_id] = came
        await self._clock.sleep(self.answers_after)
        return trouble[1] if trouble is not None else Accepted(generation_id)

    async def fetch(self, generation_id: str, model: str | None = None) -> FetchOutcome:
        del model
        trouble = await self._trouble(Phase.FETCH, generation_id)
        if trouble is not None:
            return trouble[1]
        age = self._clock.outside() - self._born[generation_id]
        slow = int(generation_id.removeprefix("id:")) % 2
        if generation_id in self.stuck or age < self.makes * (1 + slow):
            return Pending("queued", queued=True)
        return Completed(self._video_url, 0.06)

    async def find(
        self, client_request_ids: Collection[str] | None, since: float, pace: Pace = at_once
    ) -> LookUp:
        await pace()
        if await self._trouble(Phase.FETCH) is not None:
            return LookUp({}, whole=False)
        found = {
            sent: self.taken[sent]
            for sent in client_request_ids or self.taken
            if sent in self.taken and self._taken_at(sent) >= since - CLOCK_SLACK
        }
        return LookUp(found, whole=True)

    def _taken_at(self, sent: str) -> float:
        return self._clock.dusk + self._born[self.taken[sent]]

    async def price(self) -> float | Trouble | None:
        if (trouble := await self._trouble(Phase.FETCH)) is not None:
            return trouble[1]
        return 0.06

    def asked_during(self, faults: Collection[Fault], phase: Phase) -> int:
        """Count the requests of a phase that met one of these faults."""
        return sum(
            any(phase in each.phases and each.begin <= when < each.end for each in faults)
            for when in self.asked[phase]
        )


@asynccontextmanager
async def files(
    downloads: list[float],
    statuses: Callable[[], int],
    tls: ssl.SSLContext | None,
    host: str = "127.0.0.1",
) -> AsyncIterator[str]:
    """Serve a clip over a real socket; note when it was asked for. Status 0 is half of it."""

    async def answer(request: web.Request) -> web.StreamResponse:
        downloads.append(anyio.current_time())
        status = statuses()
        if status == 0:
            half = web.StreamResponse(headers={"Content-Length": str(len(clip()))})
            await half.prepare(request)
            await half.write(clip()[: len(clip()) // 2])
            assert request.transport is not None
            request.transport.close()
            return half
        response = web.Response(
            status=status, body=clip() if status == 200 else b"", content_type="video/mp4"
        )
        # An idle connection goes by the machine's own clock, on which no night passes.
        response.force_close()
        return response

    application = web.Application()
    application.router.add_get("/clip.mp4", answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    scheme = "http" if tls is None else "https"
    yield f"{scheme}://{host}:{runner.addresses[0][1]}/clip.mp4"
    await runner.cleanup()


@dataclass
class Morning:
    """What there is when a night is over.

    Attributes:
        summaries: How its runs ended.
        provider: Who knows the truth.
        records: The ledger's rows.
        hours: How long it was.
        downloads: When the file's host was asked, in seconds of the loop.
    """

    summaries: list[Summary]
    provider: Provider
    records: list[Record]
    hours: float
    downloads: list[float] = field(default_factory=list)

    @property
    def summary(self) -> Summary:
        return self.summaries[-1]

    def all_is_well(self, tasks: int = TASKS) -> None:
        """Every task has its video and was paid for once."""
        assert self.summary.counts == {Status.SUCCEEDED: tasks}
        self.paid_once(tasks)

    def paid_once(self, tasks: int = TASKS) -> None:
        """No submit was made twice, and no id was lost."""
        assert max(self.provider.bodies.values(), default=0) <= 1
        assert len(self.provider.taken) <= tasks
        known = {record.generation_id for record in self.records}
        unresolved = sum(record.status == Status.UNRESOLVED for record in self.records)
        lost = set(self.provider.taken.values()) - known
        assert len(lost) <= unresolved, "an id is known, or its task says that it may exist"


Meanwhile = Callable[[Run, NightClock, Provider], Coroutine[Any, Any, None]]


async def one_run(
    job: Job, provider: Provider, clock: NightClock, meanwhile: Meanwhile | None
) -> tuple[Summary, list[Record]]:
    with Ledger.open(job.output.dir) as ledger:
        ledger.bind(job.provider.kind)
        admit(job, ledger)
        ledger.recover()
        ledger.refetch_missing()
        ledger.resume_paid()
        async with open_transfer(base_url=provider.base_url, seconds=60) as transfer:
            run = Run(job, ledger, provider, transfer, clock=clock, rng=virtual_time.dice())
            async with anyio.create_task_group() as group:
                if meanwhile is not None:
                    group.start_soon(meanwhile, run, clock, provider)
                summary = await run.go()
        return summary, list(ledger.records())


def spend(
    folder: Path,
    *faults: Fault,
    tasks: int = TASKS,
    meanwhile: Meanwhile | None = None,
    makes: float = 200.0,
    clock: NightClock | None = None,
    runs: int = 1,
    rest: float = 0.0,
    file_status: Callable[[], int] = lambda: 200,
    file_tls: ssl.SSLContext | None = None,
    file_host: str = "127.0.0.1",
    budget: Budget | None = None,
    **settings: Any,
) -> Morning:
    """Spend a night with these troubles; return what there is in the morning.

    With several `runs` the machine is off for `rest` seconds between them.
    """
    settings = {"concurrency": 4, "submits": 2, **settings}
    prompts = tuple(Prompt(f"prompt {number}") for number in range(tasks))
    job = Job("night", prompts, Output(folder / "run"), run=RunSettings(**settings))
    job = replace(job, budget=budget or Budget(), provider=ProviderSettings(kind="aimlapi"))
    clock = clock or NightClock()

    async def night() -> Morning:
        downloads: list[float] = []
        async with files(downloads, file_status, file_tls, file_host) as url:
            provider = Provider(clock, url, faults)
            provider.makes = makes
            summary, records = await one_run(job, provider, clock, meanwhile)
            summaries = [summary]
            for _ in range(runs - 1):
                clock.suspend(rest, monotonic_counts=False)
                summary, records = await one_run(job, provider, clock, None)
                summaries.append(summary)
            return Morning(summaries, provider, records, clock.outside() / HOUR, downloads)

    return virtual_time.run(night)


@pytest.fixture(autouse=True)
def _a_calm_watcher(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice a second is for people who watch: nobody does, and a night has 57,600 of these."""
    monkeypatch.setattr(batchgen.run.run, "TELL_SECONDS", 30.0)


def midway(answer: Callable[[int], Trouble], hours: float, **more: Any) -> tuple[Fault, Fault]:
    """Return a fault that begins when slots are free for submits and others wait for their video.

    The first videos are done after 200 s: from then on the next submits meet the fault, and the
    polls of the slower videos do soon after.
    """
    submits = Fault(
        begin=190, end=190 + hours * HOUR, answer=answer, phases=(Phase.SUBMIT,), **more
    )
    return submits, replace(submits, begin=250, phases=(Phase.FETCH,))


def at_dusk(answer: Callable[[int], Trouble], **more: Any) -> Fault:
    """Return a fault that the first submits meet."""
    return Fault(begin=0, end=1, answer=answer, phases=(Phase.SUBMIT,), **more)


def no_route(_: int) -> Trouble:
    return NotSent("Cannot connect to host: no route")


def no_dns(_: int) -> Trouble:
    return NotSent("Cannot connect to host: Name or service not known")


def bad_certificate(_: int) -> Trouble:
    return NotSent("certificate has expired", certificate=True)


def status(number: int, message: str = "") -> Callable[[int], Trouble]:
    """Return an answer of the API itself, and of no proxy."""
    return lambda _: Answered(number, message, from_api=True)


def no_answer(_: int) -> Trouble:
    return Interrupted("no answer in time")


# Outages.

PROBES_AN_HOUR: Final = 120
"""A host that is out is tried every 30 s."""


def test_eight_hours_without_a_network_fail_nothing_and_cost_a_probe_now_and_then(
    tmp_path: Path,
) -> None:
    faults = midway(no_route, 8)
    morning = spend(tmp_path, *faults)
    morning.all_is_well()
    assert 8 < morning.hours < 9
    for phase in BOTH:
        assert 800 < morning.provider.asked_during(faults, phase) <= 8 * PROBES_AN_HOUR + 10


def test_a_run_that_begins_without_a_network_waits_for_it(tmp_path: Path) -> None:
    fault = Fault(begin=0, end=8 * HOUR, answer=no_dns)
    morning = spend(tmp_path, fault)
    morning.all_is_well()
    assert morning.provider.asked_during([fault], Phase.SUBMIT) <= 8 * PROBES_AN_HOUR + 10


@pytest.mark.parametrize("answer", [status(503), status(429)], ids=["503", "429"])
def test_eight_hours_of_a_busy_provider_fail_nothing_and_are_no_storm(
    tmp_path: Path, answer: Callable[[int], Trouble]
) -> None:
    faults = midway(answer, 8)
    morning = spend(tmp_path, *faults)
    morning.all_is_well()
    assert 8 < morning.hours < 9
    # Those that stand in line behind a pause go together when it is over.
    for phase in BOTH:
        assert 100 < morning.provider.asked_during(faults, phase) <= 2 * 8 * PROBES_AN_HOUR


@pytest.mark.parametrize(
    "answer", [status(500), status(502), status(504), no_answer], ids=["500", "502", "504", "mute"]
)
def test_eight_hours_of_broken_polls_fail_nothing(
    tmp_path: Path, answer: Callable[[int], Trouble]
) -> None:
    after = 30.0 if answer is no_answer else 0.0
    _, fault = midway(answer, 8, after=after)
    morning = spend(tmp_path, fault)
    morning.all_is_well()
    # One a minute for each of the four in flight, more or less, where no breaker does better.
    assert morning.provider.asked_during([fault], Phase.FETCH) <= 1.05 * 8 * 4 * 60


@pytest.mark.parametrize("answer", [status(502), no_answer], ids=["502", "mute"])
def test_submits_whose_answers_are_lost_for_hours_are_found_again_and_none_is_made_twice(
    tmp_path: Path, answer: Callable[[int], Trouble]
) -> None:
    faults = midway(answer, 8, after=100.0, taken=True)
    morning = spend(tmp_path, *faults, tasks=60, runs=2, rest=8 * HOUR)
    morning.all_is_well(60)


@pytest.mark.parametrize(
    "after",
    [
        0.0,
        60.0,
        120.0,
    ],
)
def test_submits_that_were_lost_themselves_stay_held_and_are_few(
    tmp_path: Path, after: float
) -> None:
    fault, _ = midway(status(502), 8, after=after)
    morning = spend(tmp_path, fault, tasks=120)
    held = morning.summary.counts[Status.UNRESOLVED]
    assert morning.summary.counts == {Status.SUCCEEDED: 120 - held, Status.UNRESOLVED: held}
    assert held == morning.provider.asked_during([fault], Phase.SUBMIT) < 60
    morning.paid_once(120)


def test_with_resubmit_even_these_are_made_each_on_record(tmp_path: Path) -> None:
    fault, _ = midway(status(502), 2)
    morning = spend(tmp_path, fault, on_ambiguous=OnAmbiguous.RESUBMIT)
    assert set(morning.summary.counts) <= {Status.SUCCEEDED, Status.UNRESOLVED}
    assert max(record.attempts for record in morning.records) <= 3
    morning.paid_once()


@pytest.mark.parametrize("policy", OnAmbiguous)
def test_a_machine_that_sleeps_in_the_middle_of_a_submit_looks_where_it_was_taken(
    tmp_path: Path, policy: OnAmbiguous
) -> None:
    lost = at_dusk(no_answer, after=10.0, taken=True)

    async def sleep(run: Run, clock: NightClock, provider: Provider) -> None:
        del run, provider
        await clock.sleep(2.0)
        clock.suspend(8 * HOUR, monotonic_counts=False)

    morning = spend(tmp_path, lost, tasks=2, meanwhile=sleep, on_ambiguous=policy)
    morning.all_is_well(2)


def test_with_resubmit_a_doubt_of_an_earlier_run_is_made_by_the_next_one(tmp_path: Path) -> None:
    lost = at_dusk(no_answer, after=10.0)

    async def leave(run: Run, clock: NightClock, provider: Provider) -> None:
        del provider
        await clock.sleep(15)
        run.stopping.leave(Reason.INTERRUPTED)

    morning = spend(
        tmp_path,
        lost,
        tasks=2,
        runs=2,
        rest=60.0,
        meanwhile=leave,
        on_ambiguous=OnAmbiguous.RESUBMIT,
    )
    assert morning.summaries[0].counts == {Status.UNRESOLVED: 2}
    morning.all_is_well(2)


def test_a_first_interrupt_puts_no_submit_in_doubt_even_where_nobody_answers_polls(
    tmp_path: Path,
) -> None:
    polls = Fault(begin=20, end=10 * HOUR, answer=status(500), phases=(Phase.FETCH,))

    async def interrupt(run: Run, clock: NightClock, provider: Provider) -> None:
        provider.answers_after = 6.0
        while not (run.parked and run.stopping._posts):
            await clock.sleep(1.0)
        run.stopping.retire(Reason.INTERRUPTED)

    morning = spend(tmp_path, polls, tasks=60, concurrency=60, meanwhile=interrupt)
    assert Status.SUBMITTING not in morning.summary.counts
    assert Status.UNRESOLVED not in morning.summary.counts
    assert morning.hours < 1, "what cannot be finished is not waited for"
    morning.paid_once(60)


def test_a_run_that_is_left_at_the_very_moment_of_a_submit_makes_it_no_more(tmp_path: Path) -> None:
    async def leave(run: Run, clock: NightClock, provider: Provider) -> None:
        del provider
        await clock.sleep(2.0 - 4e-10)  # in the turn in which the pace lets the second submit go
        run.stopping.leave(Reason.INTERRUPTED)

    morning = spend(tmp_path, tasks=6, submits=4, rate_limit=0.5, meanwhile=leave)
    assert len(morning.provider.taken) == 1
    assert morning.hours * HOUR < 5


@pytest.mark.parametrize("objection", ["Rejected by our content policy", "Unsafe: NSFW prompt"])
def test_one_prompt_that_is_forbidden_stops_no_night(tmp_path: Path, objection: str) -> None:
    first = at_dusk(status(403, objection))
    morning = spend(tmp_path, first, rate_limit=0.5)
    assert morning.summary.counts == {Status.FAILED: 1, Status.SUCCEEDED: TASKS - 1}
    assert {record.error_code for record in morning.records} == {None, "moderation"}


def test_after_too_many_silent_hours_a_run_gives_up_and_the_next_one_does_the_rest(
    tmp_path: Path,
) -> None:
    morning = spend(tmp_path, *midway(no_route, 4), give_up_after=3 * HOUR, runs=2, rest=HOUR)
    first, _ = morning.summaries
    assert first.reason is Reason.GAVE_UP
    assert first.counts[Status.SUCCEEDED] >= 2
    assert not {Status.FAILED, Status.TIMED_OUT} & first.counts.keys()
    morning.all_is_well()


def test_a_new_address_of_a_video_that_is_there_is_asked_for_at_once(tmp_path: Path) -> None:
    statuses = iter([403, 200])
    poll = PollSettings(first=60.0)
    morning = spend(tmp_path, tasks=1, file_status=lambda: next(statuses), poll=poll)
    morning.all_is_well(1)
    *_, found, again = morning.provider.asked[Phase.FETCH]
    assert again - found < 5


def test_a_video_that_was_done_in_an_outage_is_not_taken_for_a_slow_one(tmp_path: Path) -> None:
    outage = Fault(begin=100, end=2 * HOUR, answer=no_route, phases=(Phase.FETCH,))
    (done_unseen,) = spend(tmp_path / "one", outage, tasks=1).records
    assert (done_unseen.queue_s, done_unseen.generate_s) == (None, None)
    (seen,) = spend(tmp_path / "two", tasks=1).records
    assert 200 <= (seen.queue_s or 0) + (seen.generate_s or 0) < 230


def test_a_stray_refusal_long_after_a_storm_holds_no_poll_up(tmp_path: Path) -> None:
    storm = Fault(begin=5, end=600, answer=status(429), phases=(Phase.FETCH,))
    stray = Fault(begin=1500, end=1506, answer=status(429), phases=(Phase.FETCH,))
    poll = PollSettings(first=5.0, every=5.0)
    morning = spend(tmp_path, storm, stray, tasks=1, makes=1800.0, poll=poll)
    morning.all_is_well(1)
    after = [when for when in morning.provider.asked[Phase.FETCH] if when >= 1500]
    assert max(later - earlier for earlier, later in pairwise(after[:5])) < 10


def test_two_hours_of_a_broken_file_host_fail_nothing(tmp_path: Path) -> None:
    clock = NightClock()

    def broken() -> int:
        return 502 if 100 < clock.outside() < 2 * HOUR else 200

    morning = spend(tmp_path, clock=clock, file_status=broken)
    morning.all_is_well()
    # One in half a minute on average for each, where no breaker does better.
    assert len([when for when in morning.downloads if when < 2 * HOUR]) <= 2 * HOUR / 25 * TASKS


def test_a_file_that_never_gets_further_is_given_up_and_holds_no_run_for_a_night(
    tmp_path: Path,
) -> None:
    morning = spend(tmp_path, tasks=2, file_status=lambda: 0)
    assert morning.summary.counts == {Status.FAILED: 2}
    assert {record.error_code for record in morning.records} == {"download_failed"}
    assert morning.hours < 1
    assert len(morning.downloads) <= 2 * 12
    morning.paid_once(2)


def test_polls_that_are_refused_for_ever_end_a_run_when_nobody_waits_any_more(
    tmp_path: Path,
) -> None:
    """Of each kind: busy, wrong settings, an id that is not known."""
    for number in (503, 429, 302, 413):
        fault = Fault(begin=5, end=1000 * HOUR, answer=status(number), phases=(Phase.FETCH,))
        morning = spend(tmp_path / str(number), fault, tasks=4, give_up_after=2 * HOUR)
        assert morning.summary.reason in (Reason.GAVE_UP, Reason.REFUSED), number
        assert 2 <= morning.hours < 3, number
        assert morning.summary.counts == {Status.IN_FLIGHT: 4}, number


def test_an_outage_in_which_the_provider_stands_still_times_nothing_out(tmp_path: Path) -> None:
    outage = Fault(begin=5, end=8 * HOUR, answer=no_route, phases=(Phase.FETCH,))
    spend(tmp_path, outage, tasks=1, makes=8 * HOUR + 300).all_is_well(1)


def test_a_dead_network_at_the_start_of_a_run_with_a_budget_in_dollars_is_waited_for(
    tmp_path: Path,
) -> None:
    outage = Fault(begin=0, end=HOUR, answer=no_route)
    morning = spend(tmp_path, outage, tasks=3, budget=Budget(max_usd=5.0))
    morning.all_is_well(3)
    assert not [when for when in morning.provider.asked[Phase.SUBMIT] if when < HOUR]


def test_a_disk_that_stays_full_ends_a_run_when_nobody_waits_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(writer: Writer, step: Step[Any]) -> Any:
        del writer, step
        error = LedgerError("the ledger could not be written: full")
        error.full = True
        raise error

    async def fill(run: Run, clock: NightClock, provider: Provider) -> None:
        del run, provider
        await clock.sleep(50)
        monkeypatch.setattr(Writer, "record", full)

    morning = spend(tmp_path, tasks=6, meanwhile=fill, give_up_after=2 * HOUR)
    assert morning.summary.reason is Reason.GAVE_UP
    assert 2 <= morning.hours < 3


# One generation that cannot be asked about, though all others can.


def always(answer: Callable[[int], Trouble], only: str) -> Fault:
    return Fault(begin=0, end=1000 * HOUR, answer=answer, phases=(Phase.FETCH,), only=only)


@pytest.mark.parametrize(
    "answer", [status(500), status(429), no_answer], ids=["500", "429", "mute"]
)
def test_one_id_that_never_answers_gets_its_time_and_no_more(
    tmp_path: Path, answer: Callable[[int], Trouble]
) -> None:
    morning = spend(tmp_path, always(answer, "id:3"), runs=2)
    late = {Status.SUCCEEDED: TASKS - 1, Status.TIMED_OUT: 1}
    assert [summary.counts for summary in morning.summaries] == [late, late]
    for summary in morning.summaries:
        # Its half hour, by what others were told and, when they were done, one known to be done.
        assert HOUR / 2 < summary.seconds < 0.8 * HOUR
    (stuck,) = [record for record in morning.records if record.status == Status.TIMED_OUT]
    assert stuck.generation_id == "id:3"
    assert "the last poll: " in (stuck.error_message or "")
    morning.paid_once()


def test_an_outage_costs_no_task_its_time_though_others_were_answered_before_it(
    tmp_path: Path,
) -> None:
    outage = Fault(begin=2000, end=8 * HOUR, answer=status(500), phases=(Phase.FETCH,))
    # One is done before the outage and could be asked about in it, the other is not.
    morning = spend(
        tmp_path, outage, tasks=2, makes=1500.0, timeout=TimeoutSettings(generation=2200.0)
    )
    morning.all_is_well(2)
    # That one more is asked about is hardly felt by who is out of order.
    assert morning.provider.asked_during([outage], Phase.FETCH) <= 8 * 60 * 1.1


@pytest.mark.parametrize("number", [302, 401, 403, 414])
def test_one_id_that_is_always_refused_holds_no_other_up(tmp_path: Path, number: int) -> None:
    morning = spend(tmp_path, always(status(number), "id:3"))
    assert morning.summary.counts == {Status.SUCCEEDED: TASKS - 1, Status.FAILED: 1}
    (refused,) = [record for record in morning.records if record.status == Status.FAILED]
    assert (refused.error_code, refused.generation_id) == ("fetch_refused", "id:3")
    assert morning.hours < 0.6


def leave_at(seconds: float) -> Meanwhile:
    async def leave(run: Run, clock: NightClock, provider: Provider) -> None:
        del provider
        await clock.sleep(seconds)
        run.stopping.leave(Reason.INTERRUPTED)

    return leave


def forgets(*numbers: int) -> list[Fault]:
    """Return faults of a provider that forgets generations after a first run of 100 s."""
    return [
        replace(always(status(404, "not found"), f"id:{number}"), begin=100.0) for number in numbers
    ]


@pytest.mark.parametrize("rest", [0.0, HOUR])
def test_ids_that_the_provider_forgot_hold_no_new_work_up_and_are_never_bought_again(
    tmp_path: Path, rest: float
) -> None:
    morning = spend(tmp_path, *forgets(0, 1, 2), meanwhile=leave_at(100.0), runs=3, rest=rest)
    first, second, third = morning.summaries
    assert first.counts == {Status.IN_FLIGHT: 4, Status.PENDING: TASKS - 4}
    for summary in (second, third):
        assert summary.counts == {Status.FAILED: 3, Status.SUCCEEDED: TASKS - 3}
    lost = [record for record in morning.records if record.status == Status.FAILED]
    assert {(record.error_code, record.cause) for record in lost} == {("forgotten", "fetch")}
    # New work begins as soon as the first of them was asked about, or at once.
    began = next(when for when in morning.provider.asked[Phase.SUBMIT] if when >= 100.0)
    assert began - (100.0 + rest) < 10
    assert third.seconds < 300, "a few questions each, and no more"
    morning.paid_once()


def test_many_forgotten_ids_are_asked_about_quickly_where_nothing_else_is_to_be_done(
    tmp_path: Path,
) -> None:
    many = 60
    lost = [replace(fault, begin=2000.0) for fault in forgets(*range(many))]

    async def lose_videos(run: Run, clock: NightClock, provider: Provider) -> None:
        del run, provider
        await clock.sleep(2000.0)
        for video in (tmp_path / "run" / "videos").iterdir():
            video.unlink()

    morning = spend(tmp_path, *lost, tasks=many, makes=10.0, meanwhile=lose_videos, runs=2)
    assert morning.summary.counts == {Status.FAILED: many}
    assert morning.summary.seconds < 300
    morning.paid_once(many)


def test_an_id_of_an_earlier_run_that_is_alive_is_fetched_before_new_work_is_done(
    tmp_path: Path,
) -> None:
    lost = forgets(*range(3))
    morning = spend(tmp_path, *lost, meanwhile=leave_at(100.0), runs=2, rest=HOUR)
    began = morning.summaries[0].seconds + HOUR
    (alive,) = [record for record in morning.records if record.generation_id == "id:3"]
    assert (alive.downloaded_at or 0.0) - virtual_time.DUSK - began < 10


def test_what_an_earlier_run_gave_up_holds_no_new_work_up_though_it_is_still_pending(
    tmp_path: Path,
) -> None:
    async def leave(run: Run, clock: NightClock, provider: Provider) -> None:
        await leave_at(100.0)(run, clock, provider)
        provider.stuck = set(provider.taken.values())

    morning = spend(tmp_path, meanwhile=leave, runs=2, rest=HOUR)
    assert morning.summary.counts == {Status.TIMED_OUT: 4, Status.SUCCEEDED: TASKS - 4}
    began = next(when for when in morning.provider.asked[Phase.SUBMIT] if when >= 100.0)
    assert began - (100.0 + HOUR) < 10
    # Its half hour is over when the others have long been made.
    assert morning.summary.seconds < 0.6 * HOUR


def test_what_the_provider_is_still_at_work_on_takes_up_slots_of_the_next_run(
    tmp_path: Path,
) -> None:
    morning = spend(tmp_path, meanwhile=leave_at(100.0), runs=2)
    morning.all_is_well()
    began = next(when for when in morning.provider.asked[Phase.SUBMIT] if when >= 100.0)
    assert began >= 200.0, "none of the four was done before"


def test_an_id_that_is_forgotten_in_mid_run_gives_its_slot_back(tmp_path: Path) -> None:
    fault = replace(always(status(404, "not found"), "id:1"), begin=50.0)
    morning = spend(
        tmp_path, fault, concurrency=2, tasks=20, timeout=TimeoutSettings(generation=HOUR)
    )
    assert morning.summary.counts == {Status.FAILED: 1, Status.SUCCEEDED: 19}
    (lost,) = [record for record in morning.records if record.status == Status.FAILED]
    assert (lost.generation_id, lost.error_code) == ("id:1", "forgotten")
    last = max(record.submitted_at or 0.0 for record in morning.records)
    # 19 videos of 300 s on average, two at once; with one slot alone it would be nearly twice that.
    assert last - virtual_time.DUSK < HOUR
    morning.paid_once(20)


def test_a_provider_that_knows_none_of_its_ids_is_sent_no_more_than_the_slots_hold(
    tmp_path: Path,
) -> None:
    fault = Fault(begin=0, end=100 * HOUR, answer=status(404), phases=(Phase.FETCH,))
    morning = spend(tmp_path, fault, tasks=60)
    assert morning.summary.reason is Reason.FAILURES
    assert len(morning.provider.taken) <= 10 + 4
    assert len([when for when in morning.provider.asked[Phase.SUBMIT] if when < HOUR / 2]) == 4
    morning.paid_once(60)


# A run that is to end.


def interrupt_at(seconds: float) -> Meanwhile:
    async def interrupt(run: Run, clock: NightClock, provider: Provider) -> None:
        del provider
        await clock.sleep(seconds)
        run.stopping.drain(Reason.INTERRUPTED)

    return interrupt


def test_a_first_interrupt_does_not_wait_for_an_id_that_never_answers(tmp_path: Path) -> None:
    never = always(status(500), "id:3")
    morning = spend(tmp_path, never, meanwhile=interrupt_at(210.0))
    # The others in flight are finished.
    assert morning.summary.counts == {
        Status.SUCCEEDED: len(morning.provider.taken) - 1,
        Status.IN_FLIGHT: 1,
        Status.PENDING: TASKS - len(morning.provider.taken),
    }
    assert morning.hours * HOUR < 900


@pytest.mark.parametrize("answer", [status(502), no_route, status(401), status(302)])
def test_a_first_interrupt_ends_also_where_the_outage_comes_after_it(
    tmp_path: Path, answer: Callable[[int], Trouble]
) -> None:
    outage = Fault(begin=150, end=10 * HOUR, answer=answer, phases=(Phase.FETCH,))
    morning = spend(tmp_path, outage, meanwhile=interrupt_at(100.0))
    assert morning.summary.reason is Reason.INTERRUPTED
    assert morning.summary.counts == {Status.IN_FLIGHT: 4, Status.PENDING: TASKS - 4}
    assert morning.hours * HOUR < 900


def test_a_first_interrupt_does_not_wait_for_a_broken_file_host(tmp_path: Path) -> None:
    morning = spend(tmp_path, meanwhile=interrupt_at(100.0), file_status=lambda: 502)
    assert morning.summary.reason is Reason.INTERRUPTED
    assert morning.summary.counts == {Status.COMPLETED: 4, Status.PENDING: TASKS - 4}
    assert morning.hours * HOUR < 1200


def test_a_first_interrupt_waits_for_a_provider_that_hesitates(tmp_path: Path) -> None:
    short = Fault(begin=150, end=200, answer=status(502), phases=(Phase.FETCH,))
    morning = spend(tmp_path, short, meanwhile=interrupt_at(100.0))
    assert morning.summary.counts == {Status.SUCCEEDED: 4, Status.PENDING: TASKS - 4}


# Long waits.


def test_a_day_in_the_queue_is_waited_for_where_the_job_allows_it(tmp_path: Path) -> None:
    patient = TimeoutSettings(generation=48 * HOUR)
    morning = spend(tmp_path, tasks=4, makes=12 * HOUR, timeout=patient)
    morning.all_is_well(4)
    assert 24 <= morning.hours < 24.1
    # Two were asked about for half a day, two for a whole one.
    assert len(morning.provider.asked[Phase.FETCH]) < 2 * 36 * HOUR / 25


def test_a_day_in_the_queue_past_the_timeout_is_taken_up_by_the_next_run(tmp_path: Path) -> None:
    morning = spend(tmp_path, tasks=4, makes=12 * HOUR, runs=2, rest=24 * HOUR)
    first, _ = morning.summaries
    assert first.counts == {Status.TIMED_OUT: 4}
    assert HOUR / 2 <= first.seconds < 0.6 * HOUR
    morning.all_is_well(4)


# The machine and its clocks.


@pytest.mark.parametrize("monotonic_counts", [True, False])
@pytest.mark.parametrize("at", [0.5, 100.0, 203.0])
def test_a_machine_that_sleeps_for_eight_hours_in_mid_run_goes_on_as_if_nothing_was(
    tmp_path: Path, at: float, *, monotonic_counts: bool
) -> None:
    async def sleep(run: Run, clock: NightClock, provider: Provider) -> None:
        del run, provider
        await clock.sleep(at)
        clock.suspend(8 * HOUR, monotonic_counts=monotonic_counts)

    # As a laptop wakes: the network comes a minute later.
    dawn = Fault(begin=at + 8 * HOUR, end=at + 8 * HOUR + 60, answer=no_dns)
    morning = spend(tmp_path, dawn, meanwhile=sleep)
    morning.all_is_well()
    assert 8 < morning.hours < 8.5


@pytest.mark.parametrize("days", [-1.0, 1.0])
def test_a_clock_on_the_wall_that_jumps_a_day_times_nothing_out(
    tmp_path: Path, days: float
) -> None:
    async def jump(run: Run, clock: NightClock, provider: Provider) -> None:
        del run, provider
        await clock.sleep(100)
        clock.wall_error = days * 24 * HOUR

    morning = spend(tmp_path, meanwhile=jump)
    morning.all_is_well()
    assert morning.hours < 0.4


@pytest.mark.parametrize(
    ("dusk", "hours"),
    [("2027-03-27T23:00", 7.5), ("2027-10-30T23:00", 9.5), ("2027-06-01T23:00", 8.5)],
    ids=["spring", "autumn", "summer"],
)
def test_stop_at_is_the_clock_on_the_wall_also_in_the_nights_it_is_put_on_and_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dusk: str, hours: float
) -> None:
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    try:
        began = datetime.fromisoformat(dusk).timestamp()
        clock = NightClock(began)
        morning = spend(
            tmp_path, tasks=1000, clock=clock, stop_at=(7, 30), concurrency=1, makes=HOUR / 5
        )
    finally:
        monkeypatch.undo()
        time.tzset()
    assert morning.summary.reason is Reason.DEADLINE
    # What is in flight is finished.
    assert hours <= morning.hours < hours + 0.5
    assert set(morning.summary.counts) == {Status.SUCCEEDED, Status.PENDING}
    morning.paid_once(1000)


# A provider that says no.


@pytest.mark.parametrize("asked", [5.0, 60.0, 1e9], ids=["5 s", "60 s", "for ever"])
def test_an_hour_of_retry_after_is_honoured(tmp_path: Path, asked: float) -> None:
    faults = midway(lambda _: Answered(429, "slow", asked), 1)
    morning = spend(tmp_path, *faults)
    morning.all_is_well()
    waited = min(asked, RETRY_AFTER_CAP)
    openings = HOUR / waited + 1
    # As many go at once as may: two submits, and the polls of the four in flight.
    assert morning.provider.asked_during(faults, Phase.SUBMIT) <= 2 * openings
    assert morning.provider.asked_during(faults, Phase.FETCH) <= 4 * openings


def test_a_key_that_is_revoked_for_five_hours_fails_nothing_and_is_tried_every_three_minutes(
    tmp_path: Path,
) -> None:
    faults = midway(status(401, "invalid API key"), 5)
    morning = spend(tmp_path, *faults)
    morning.all_is_well()
    for phase in BOTH:
        assert 90 <= morning.provider.asked_during(faults, phase) <= 5 * 20 + 10


ODD_ANSWERS: Final = [
    *[(Phase.SUBMIT, number) for number in (301, 302, 307, 308, 404, 410)],
    *[(Phase.FETCH, number) for number in (301, 302, 303, 307, 308, 413, 414, 431)],
]


@pytest.mark.parametrize(("phase", "number"), ODD_ANSWERS)
def test_a_single_odd_answer_in_mid_run_is_tried_again_and_ends_nothing(
    tmp_path: Path, phase: Phase, number: int
) -> None:
    given: list[int] = []

    def odd(count: int) -> Trouble:
        given.append(count)
        return Answered(number)

    fault = Fault(begin=30, end=40, answer=odd, phases=(phase,))
    every_second = PollSettings(first=1.0, every=1.0)
    morning = spend(tmp_path, fault, tasks=40, makes=10.0, poll=every_second)
    morning.all_is_well(40)
    assert given
    assert morning.hours < 0.2


@pytest.mark.parametrize(("phase", "number"), [(Phase.SUBMIT, 404), (Phase.FETCH, 302)])
def test_odd_answers_for_hours_are_waited_out_and_tried_ever_more_seldom(
    tmp_path: Path, phase: Phase, number: int
) -> None:
    fault, _ = midway(status(number), 3)
    fault = replace(fault, phases=(phase,))
    morning = spend(tmp_path, fault)
    morning.all_is_well()
    assert 3 < morning.hours < 3.4
    assert 50 <= morning.provider.asked_during([fault], phase) <= 3 * 20 + 10


@pytest.mark.parametrize("number", [302, 404])
def test_an_odd_answer_at_the_door_ends_the_run_at_once(tmp_path: Path, number: int) -> None:
    fault = Fault(begin=0, end=HOUR, answer=status(number), phases=(Phase.SUBMIT,))
    morning = spend(tmp_path, fault)
    assert morning.summary.reason is Reason.REFUSED
    assert f"does not answer submits here: HTTP {number}" in morning.summary.detail
    assert morning.summary.counts == {Status.PENDING: TASKS}
    assert morning.hours * HOUR < 5


def test_odd_answers_that_stay_end_the_run_as_wrong_settings_do(tmp_path: Path) -> None:
    fault = Fault(begin=190, end=100 * HOUR, answer=status(302), phases=(Phase.SUBMIT,))
    morning = spend(tmp_path, fault, give_up_after=2 * HOUR)
    assert morning.summary.reason is Reason.REFUSED
    assert "does not answer submits here: HTTP 302" in morning.summary.detail
    assert 2 <= morning.hours < 2.3
    assert morning.summary.counts == {Status.SUCCEEDED: 4, Status.PENDING: TASKS - 4}


@pytest.mark.parametrize(
    "answer",
    [
        status(402),
        status(403, "out of credits"),
        status(400, "Insufficient balance"),
        status(429, "You exceeded your current quota, please check your plan and billing details."),
    ],
    ids=["402", "403", "400", "429"],
)
def test_an_empty_account_waits_to_be_filled_while_what_is_paid_for_is_finished(
    tmp_path: Path, answer: Callable[[int], Trouble]
) -> None:
    fault, _ = midway(answer, 5)
    finished: list[int] = []

    async def look(run: Run, clock: NightClock, provider: Provider) -> None:
        await clock.sleep(HOUR)
        finished.append(len(provider.taken))
        assert not run.parked

    morning = spend(tmp_path, fault, meanwhile=look)
    morning.all_is_well()
    assert finished == [len([0 for when in morning.downloads if when < HOUR])]
    assert 90 <= morning.provider.asked_during([fault], Phase.SUBMIT) <= 5 * 20 + 10


def test_a_certificate_that_is_bad_for_three_hours_fails_nothing(tmp_path: Path) -> None:
    faults = midway(bad_certificate, 3)
    morning = spend(tmp_path, *faults)
    morning.all_is_well()
    for phase in BOTH:
        assert 50 <= morning.provider.asked_during(faults, phase) <= 3 * 20 + 10


def test_a_file_host_whose_certificate_is_bad_for_an_hour_fails_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trusting = ssl.create_default_context(cafile=str(HERE / "here.pem"))
    monkeypatch.setattr(aiohttp.connector, "_SSL_CONTEXT_VERIFIED", trusting)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(HERE / "security/cdn.pem")

    async def mend(run: Run, clock: NightClock, provider: Provider) -> None:
        del run, provider
        await clock.sleep(HOUR)
        tls.load_cert_chain(HERE / "here.pem")

    morning = spend(tmp_path, meanwhile=mend, file_tls=tls)
    morning.all_is_well()
    assert min(morning.downloads) > HOUR, "nothing is asked of a host that cannot prove who it is"
    assert len(morning.downloads) == TASKS


# This machine's disk.


@pytest.mark.parametrize("begin", [0.5, 100.0, 203.0, 206.0])
def test_a_disk_that_is_full_for_three_hours_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begin: float
) -> None:
    clock = NightClock()
    record, fetch = Writer.record, Transfer.fetch

    def full() -> bool:
        return begin <= clock.outside() < begin + 3 * HOUR

    async def record_if_there_is_room(writer: Writer, step: Step[Any]) -> Any:
        if full():
            error = LedgerError("the ledger could not be written: database or disk is full")
            error.full = True
            raise error
        return await record(writer, step)

    async def fetch_if_there_is_room(transfer: Transfer, url: str, part: Part) -> Saved | Trouble:
        if full():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return await fetch(transfer, url, part)

    monkeypatch.setattr(Writer, "record", record_if_there_is_room)
    monkeypatch.setattr(Transfer, "fetch", fetch_if_there_is_room)
    morning = spend(tmp_path, clock=clock)
    morning.all_is_well()
    assert 3 < morning.hours < 4


# All of it.


def test_the_worst_of_nights_ends_well(tmp_path: Path) -> None:
    troubles = (
        Fault(begin=100.0, end=500.0, answer=no_dns),
        Fault(begin=600.0, end=2 * HOUR, answer=lambda _: Answered(429, "slow", 30.0)),
        Fault(begin=2 * HOUR, end=3 * HOUR, answer=status(502), phases=(Phase.FETCH,)),
        Fault(begin=3 * HOUR, end=5 * HOUR, answer=status(401)),
        Fault(begin=5 * HOUR, end=6 * HOUR, answer=no_answer, after=60.0, taken=True),
        Fault(begin=6 * HOUR, end=7 * HOUR, answer=status(402), phases=(Phase.SUBMIT,)),
        Fault(begin=7 * HOUR, end=8 * HOUR, answer=bad_certificate),
    )
    spend(tmp_path, *troubles, tasks=100).all_is_well(100)


def test_a_night_is_the_same_each_time_it_is_spent(tmp_path: Path) -> None:
    one, other = (spend(tmp_path / name, *midway(no_route, 1)) for name in ("one", "other"))
    assert one.provider.asked == other.provider.asked
    assert one.hours == other.hours
