"""No second wave of submits before a first file is here: the rule alone, and through whole runs."""

import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp.connector
import anyio
import pytest
from aiohttp import web
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

import batchgen.run.run
from batchgen.events import Reason
from batchgen.first_wave import FirstWave
from batchgen.job import Job, ProviderSettings, RetrySettings, TimeoutSettings
from batchgen.ledger.ledger import Ledger
from batchgen.outcomes import GenerationFailed, Pending
from batchgen.policy import Phase
from batchgen.run import Run
from batchgen.task import Status
from tests.test_long_nights import HOUR, Morning, Provider, clip, spend
from tests.test_run import Scripted, do, job, notices
from tests.virtual_time import NightClock

SIZE = 3
TASKS = 12
HOSTS = ["cdn1", "cdn2"]


def test_a_first_wave_is_as_large_as_it_may_be_and_opens_with_the_first_file() -> None:
    wave = FirstWave(2)
    wave.begins("a")
    assert wave.is_open
    wave.begins("b")
    assert (wave.is_open, wave.unproven) == (False, {})
    wave.waits("a", "cdn1")
    assert (wave.is_open, wave.unproven) == (False, {"cdn1": 1})
    wave.arrived("a", "cdn1")
    wave.over("a")
    assert (wave.is_open, wave.unproven) == (True, {})
    for number in range(100):
        wave.begins(str(number))
        assert wave.is_open, "from a host that is trusted files may lag behind"


def test_what_fails_by_itself_frees_its_place_and_a_video_that_cannot_be_fetched_does_not() -> None:
    wave = FirstWave(1)
    wave.begins("a")
    wave.over("a")
    assert wave.is_open
    wave.begins("b")
    wave.waits("b", "cdn1")
    wave.over("b")
    assert not wave.is_open


def test_a_host_that_files_came_from_before_is_trusted_until_something_comes_between() -> None:
    wave = FirstWave(1, {"cdn1"})
    for task in ("a", "b"):
        wave.begins(task)
        wave.waits(task, "cdn1")
    wave.begins("c")
    assert (wave.is_open, wave.unproven) == (True, {})
    wave.doubt("cdn1")
    assert (wave.is_open, wave.unproven) == (False, {"cdn1": 2})
    wave.arrived("b", "cdn1")
    assert (wave.is_open, wave.unproven) == (True, {})


def test_a_new_host_is_waited_for_but_not_while_files_come_from_another() -> None:
    wave = FirstWave(2, {"cdn1"})
    wave.begins("a")
    wave.waits("a", "cdn2")
    wave.begins("b")
    assert not wave.is_open
    wave.waits("b", "cdn1")
    wave.arrived("b", "cdn1")
    assert wave.is_open


class AnyOrder(RuleBasedStateMachine):
    """A run that submits only when it may, and whatever can happen to its tasks meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.wave = FirstWave(SIZE)
        self.made = 0
        self.in_flight: set[str] = set()
        self.waiting: dict[str, str] = {}
        self.open_since_a_file: Counter[str] = Counter()
        self.any_file = False

    @precondition(lambda self: self.wave.is_open)
    @rule()
    def submit(self) -> None:
        task = str(self.made)
        self.made += 1
        self.wave.begins(task)
        self.in_flight.add(task)

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data())
    def fail_by_itself(self, data: st.DataObject) -> None:
        task = data.draw(st.sampled_from(sorted(self.in_flight)))
        self.in_flight.remove(task)
        self.wave.over(task)

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data(), host=st.sampled_from(HOSTS))
    def complete(self, data: st.DataObject, host: str) -> None:
        task = data.draw(st.sampled_from(sorted(self.in_flight)))
        self.in_flight.remove(task)
        self.waiting[task] = host
        self.open_since_a_file[task] = 1
        self.wave.waits(task, host)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def arrive(self, data: st.DataObject) -> None:
        task = data.draw(st.sampled_from(sorted(self.waiting)))
        self.wave.arrived(task, self.waiting.pop(task))
        self.wave.over(task)
        self.open_since_a_file.clear()
        self.any_file = True
        assert self.wave.is_open or len(self.in_flight) >= SIZE

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        task = data.draw(st.sampled_from(sorted(self.waiting)))
        del self.waiting[task]
        self.wave.over(task)

    @rule(host=st.sampled_from(HOSTS))
    def doubt(self, host: str) -> None:
        self.wave.doubt(host)

    @rule()
    def doubt_all(self) -> None:
        self.wave.doubt_all()

    @invariant()
    def before_any_file_no_more_stand_open_than_one_wave(self) -> None:
        if not self.any_file:
            assert len(self.in_flight) + len(self.open_since_a_file) <= SIZE

    @invariant()
    def a_run_with_nothing_unproven_is_not_held_back(self) -> None:
        if not self.wave.unproven and len(self.in_flight) < SIZE:
            assert self.wave.is_open


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


# Through nights, in virtual time: the file host is asked by its name.


class Names:
    """Where `localhost` leads, as the clock has it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, private: Callable[[], bool]) -> None:
        look_up = socket.getaddrinfo

        def getaddrinfo(host: Any, port: Any, *others: Any, **more: Any) -> Any:
            if host == "localhost":
                host = "198.18.0.7" if private() else "127.0.0.1"
            return look_up(host, port, *others, **more)

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        # It goes by the machine's own clock, on which no time passes.
        monkeypatch.setattr(aiohttp.connector._DNSCacheTable, "expired", lambda *_: True)


def private_from(begin: float, end: float, monkeypatch: pytest.MonkeyPatch) -> NightClock:
    clock = NightClock()
    Names(monkeypatch, lambda: begin <= clock.outside() < end)
    return clock


def taken_by(morning: Morning, when: float) -> int:
    return sum(asked <= when for asked in morning.provider.asked[Phase.SUBMIT])


@pytest.fixture(autouse=True)
def _a_calm_watcher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batchgen.run.run, "TELL_SECONDS", 30.0)


def night(folder: Path, **more: Any) -> Morning:
    more = {"file_host": "localhost", "concurrency": 4, **more}
    return spend(folder, retry=RetrySettings(attempts=1), **more)


def test_a_private_file_host_costs_one_wave_at_most_and_fails_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = private_from(0, 2 * HOUR, monkeypatch)
    morning = night(tmp_path, clock=clock)
    assert taken_by(morning, 2 * HOUR) == 4
    assert min(morning.downloads) >= 2 * HOUR
    morning.all_is_well()
    assert {record.attempts for record in morning.records} == {1}


def test_a_host_that_becomes_private_in_mid_run_holds_submits_back_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = private_from(300, 2 * HOUR, monkeypatch)
    morning = night(tmp_path, clock=clock, tasks=40)
    assert taken_by(morning, 2 * HOUR) - taken_by(morning, 400) <= 4
    assert taken_by(morning, 2 * HOUR) < 20
    morning.all_is_well(40)


def test_a_host_that_stays_private_ends_the_run_resumable_with_one_wave_paid_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = private_from(0, 1000 * HOUR, monkeypatch)
    morning = night(tmp_path, clock=clock, give_up_after=2 * HOUR, runs=2)
    assert [summary.reason for summary in morning.summaries] == [Reason.GAVE_UP] * 2
    assert "198.18.0.7" in morning.summary.detail
    assert len(morning.provider.taken) == 4, "nor does another run buy more"
    assert morning.summary.counts == {Status.PENDING: TASKS - 4, Status.COMPLETED: 4}


def test_while_all_files_are_out_of_reach_the_first_interrupt_is_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def interrupt(run: Run, clock: NightClock, provider: Provider) -> None:
        del provider
        parked = []
        for pause in (100, HOUR):
            await clock.sleep(pause)
            parked.append(run.parked)
        assert parked == [False, True]
        run.stopping.retire(Reason.INTERRUPTED)

    clock = private_from(0, 1000 * HOUR, monkeypatch)
    morning = night(tmp_path, clock=clock, meanwhile=interrupt)
    assert morning.summary.reason is Reason.INTERRUPTED
    assert morning.hours < 2


def test_when_no_file_of_the_first_wave_can_be_fetched_the_run_ends_with_words(
    tmp_path: Path,
) -> None:
    morning = spend(tmp_path, file_status=lambda: 404, runs=2)
    assert [summary.reason for summary in morning.summaries] == [Reason.FAILURES] * 2
    assert "HTTP 404" in morning.summary.detail
    assert len(morning.provider.taken) == 4
    assert morning.summary.counts == {Status.PENDING: TASKS - 4, Status.FAILED: 4}


# Through runs in fast time, against a scripted provider.

paid = ProviderSettings(kind="aimlapi")


def paid_job(folder: Path, tasks: int, **run: Any) -> Job:
    return replace(job(folder, tasks, stop_if_failures=None, **run), provider=paid)


@pytest.fixture
async def dead_url() -> AsyncIterator[str]:
    """A file host that has no file."""
    runner = web.AppRunner(web.Application(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/clip.mp4"
    await runner.cleanup()


@pytest.mark.anyio
async def test_generations_that_fail_by_themselves_hold_no_place_in_the_first_wave(
    tmp_path: Path, dead_url: str
) -> None:
    provider = Scripted(dead_url)
    provider.every_fetch = [GenerationFailed("model_error", "the model said no")]
    summary, _ = await do(paid_job(tmp_path, 12, concurrency=2), provider)
    assert summary.counts == {Status.FAILED: 12}
    assert summary.reason is Reason.DONE


@pytest.mark.anyio
async def test_generations_that_time_out_hold_no_place_in_the_first_wave(
    tmp_path: Path, dead_url: str
) -> None:
    provider = Scripted(dead_url)
    provider.every_fetch = [Pending("queued")]
    slow = TimeoutSettings(generation=5.0)
    summary, _ = await do(paid_job(tmp_path, 6, concurrency=2, timeout=slow), provider)
    assert summary.counts == {Status.TIMED_OUT: 6}


@pytest.mark.anyio
async def test_the_sandbox_of_the_run_itself_is_not_held_back(
    tmp_path: Path, dead_url: str
) -> None:
    provider = Scripted(dead_url)
    free = replace(paid_job(tmp_path, 12, concurrency=2), provider=ProviderSettings())
    summary, _ = await do(free, provider)
    assert len(provider.taken) == 12
    assert summary.counts == {Status.FAILED: 12}


@pytest.mark.anyio
@pytest.mark.parametrize("vanished", [False, True])
async def test_a_host_whose_files_are_in_the_ledger_is_not_waited_for_by_the_next_run(
    tmp_path: Path,
    vanished: bool,  # noqa: FBT001  # a parameter
) -> None:
    released = anyio.Event()
    released.set()

    async def answer(_: web.Request) -> web.Response:
        await released.wait()
        return web.Response(body=clip(), content_type="video/mp4")

    application = web.Application()
    application.router.add_get("/clip.mp4", answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        provider = Scripted(f"http://127.0.0.1:{runner.addresses[0][1]}/clip.mp4")
        await do(paid_job(tmp_path, 2, concurrency=2), provider)
        if vanished:
            for video in (tmp_path / "run/videos").iterdir():
                video.unlink()
            with Ledger.open(tmp_path / "run") as ledger:
                assert ledger.refetch_missing() == 2
        released = anyio.Event()

        async def release(_: object) -> None:
            await provider.has_taken(12)
            released.set()

        summary, _ = await do(paid_job(tmp_path, 12, concurrency=2), provider, meanwhile=release)
        assert summary.counts == {Status.SUCCEEDED: 12}
    finally:
        await runner.cleanup()


@pytest.mark.anyio
async def test_what_a_first_wave_waits_for_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batchgen.run.run, "PLACE_SECONDS", 0.02)
    provider = Scripted("https://198.18.0.7/clip.mp4")
    impatient = paid_job(tmp_path, 12, concurrency=2, give_up_after=600.0)
    summary, events = await do(impatient, provider)
    assert summary.reason is Reason.GAVE_UP
    assert len(provider.taken) == 2
    said = notices(events)
    assert "downloads at 198.18.0.7 wait" in said
    assert "the fake-IP DNS of a VPN" in said
    assert "no more are submitted before a first video has arrived whole" in said
    assert "2 at 198.18.0.7" in said
