"""The runner against a scripted provider: what each answer leads to, in fast time."""

import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Coroutine
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from aiohttp import web

from batchgen.again import Again
from batchgen.cli.driving import exit_code
from batchgen.errors import ExitCode, LedgerError, first_error
from batchgen.events import Event, Notice, Reason, Summary, TaskMoved
from batchgen.job import (
    Budget,
    Job,
    OnAmbiguous,
    Output,
    PollSettings,
    Prompt,
    ProviderSettings,
    RunSettings,
)
from batchgen.ledger.ledger import Ledger
from batchgen.ledger.tables import Record
from batchgen.ledger.writer import Step, Writer
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
)
from batchgen.providers.base import Pace, at_once
from batchgen.run import Run
from batchgen.run.refused import LOOKS
from batchgen.sandbox.clips import ClipRequest, render
from batchgen.session import admit, run_job
from batchgen.task import Status
from batchgen.transfer import open_transfer
from tests.conftest import committed

pytestmark = pytest.mark.anyio
FACTOR = 500.0


class FastClock:
    """A clock on which a second takes 2 ms."""

    def monotonic(self) -> float:
        return time.monotonic() * FACTOR

    def now(self) -> float:
        return 1_800_000_000.0 + time.monotonic() * FACTOR

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds / FACTOR)


class Scripted:
    """A provider whose answers are written down: by default every submit is taken, then done."""

    base_url = "http://127.0.0.1"
    clock_offset: float | None = None

    def __init__(self, video_url: str) -> None:
        self.video_url = video_url
        self.submit_answers: list[SubmitOutcome] = []
        self.fetch_answers: dict[str, list[FetchOutcome]] = defaultdict(list)
        self.every_fetch: list[FetchOutcome] = []
        self.taken: dict[str, str] = {}  # client request id -> generation id
        self.logged: dict[str, str] = {}
        self.log_works = True
        self.log_names_ids = True
        self.look_ups: list[Collection[str]] = []
        self.refused: list[str] = []
        self.same_id: str | None = None
        self.polls: Counter[str] = Counter()
        self.asked_at: set[str | None] = set()
        self.in_flight = 0
        self.most_in_flight = 0

    async def submit(self, body: bytes, client_request_id: str) -> SubmitOutcome:
        del body
        if self.submit_answers:
            answer = self.submit_answers.pop(0)
            if not isinstance(answer, Accepted):
                said = answer.reason if isinstance(answer, Interrupted) else ""
                said = answer.message if isinstance(answer, Answered) else said
                self.refused.append(client_request_id)
                if "taken" in said:
                    self.logged[client_request_id] = f"lost-{client_request_id}"
                return answer
        generation_id = self.same_id or f"id:{len(self.taken)}"
        self.taken[client_request_id] = generation_id
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        return Accepted(generation_id)

    async def fetch(self, generation_id: str, model: str | None = None) -> FetchOutcome:
        self.asked_at.add(model)
        self.polls[generation_id] += 1
        if self.fetch_answers[generation_id]:
            return self.fetch_answers[generation_id].pop(0)
        if self.every_fetch:
            return self.every_fetch[0]
        self.in_flight -= 1
        return Completed(self.video_url, 0.06)

    async def find(
        self, client_request_ids: Collection[str] | None, since: float, pace: Pace = at_once
    ) -> LookUp:
        del since
        self.look_ups.append(tuple(client_request_ids or ()))
        await pace()
        if not self.log_works:
            return LookUp({}, whole=False)
        found = {
            sent: self.logged[sent]
            for sent in client_request_ids or self.logged
            if sent in self.logged
        }
        if not self.log_names_ids:
            return LookUp({}, whole=True, without_id=frozenset(found))
        return LookUp(found, whole=True)

    async def has_taken(self, count: int) -> None:
        while len(self.taken) < count:  # noqa: ASYNC110  # a double need not be a good citizen
            await anyio.sleep(0.001)

    async def price(self) -> float | None:
        return None


@pytest.fixture(scope="session")
def clip() -> bytes:
    return render(ClipRequest("a test", width=160, height=96))


@pytest.fixture
async def video_url(clip: bytes) -> AsyncIterator[str]:
    async def answer(request: web.Request) -> web.Response:
        del request
        return web.Response(body=clip, content_type="video/mp4")

    application = web.Application()
    application.router.add_get("/clip.mp4", answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/clip.mp4"
    await runner.cleanup()


@pytest.fixture
def provider(video_url: str) -> Scripted:
    return Scripted(video_url)


def job(folder: Path, tasks: int = 1, **run: object) -> Job:
    run.setdefault("poll", PollSettings(first=1.0, every=1.0))
    settings = RunSettings(**run)  # type: ignore[arg-type]
    prompts = tuple(Prompt(f"prompt {number}") for number in range(tasks))
    return Job(name="test", prompts=prompts, output=Output(folder / "run"), run=settings)


async def do(
    made: Job,
    provider: Scripted,
    *,
    meanwhile: Callable[[Run], Coroutine[Any, Any, None]] | None = None,
    limit: int | None = None,
    clock: FastClock | None = None,
) -> tuple[Summary, list[Event]]:
    """Run a job as a session does, in fast time."""
    seen: list[Event] = []
    with Ledger.open(made.output.dir) as ledger:
        ledger.bind(made.provider.kind)
        admit(made, ledger)
        ledger.recover()
        ledger.resume_paid()
        async with open_transfer(base_url=provider.base_url, seconds=60) as transfer:
            run = Run(
                made,
                ledger,
                provider,
                transfer,
                observer=seen.append,
                limit=limit,
                clock=clock or FastClock(),
            )
            try:
                with anyio.fail_after(30):
                    async with anyio.create_task_group() as group:
                        if meanwhile is not None:
                            group.start_soon(meanwhile, run)
                        summary = await run.go()
            except BaseExceptionGroup as group_of_errors:
                raise first_error(group_of_errors) from group_of_errors
    return summary, seen


def notices(events: list[Event]) -> str:
    return "\n".join(event.message for event in events if isinstance(event, Notice))


async def test_every_task_is_carried_to_a_file(tmp_path: Path, provider: Scripted) -> None:
    summary, _ = await do(job(tmp_path, 30), provider)
    assert summary.reason is Reason.DONE
    assert summary.counts == {Status.SUCCEEDED: 30}
    assert summary.cost_usd == pytest.approx(30 * 0.06)
    assert len(provider.taken) == 30
    assert len(list((tmp_path / "run" / "videos").glob("*.mp4"))) == 30


async def test_no_more_generations_are_in_flight_than_allowed(
    tmp_path: Path, provider: Scripted
) -> None:
    await do(job(tmp_path, 40, concurrency=3), provider)
    assert provider.most_in_flight == 3


async def test_a_submit_that_never_left_is_repeated_for_free(
    tmp_path: Path, provider: Scripted
) -> None:
    provider.submit_answers = [NotSent("refused")] * 5
    summary, events = await do(job(tmp_path), provider)
    assert summary.counts == {Status.SUCCEEDED: 1}
    assert "could not connect: refused" in notices(events)
    with Ledger.open(tmp_path / "run") as ledger:
        (record,) = ledger.records()
    assert record.attempts == 1, "what never left is no attempt"


@pytest.mark.parametrize("status", [429, 503])
async def test_a_busy_provider_is_waited_for_and_asked_for_less(
    tmp_path: Path, provider: Scripted, status: int
) -> None:
    busy = Answered(status, "busy", retry_after=2.0, from_api=True)
    provider.submit_answers = [busy] * 3
    summary, events = await do(job(tmp_path, 5, concurrency=4), provider)
    assert summary.counts == {Status.SUCCEEDED: 5}
    assert f"the provider is busy: HTTP {status}: busy; going on with" in notices(events)


@pytest.mark.parametrize(
    "answer",
    [Interrupted("reset"), Answered(500), Answered(502), Answered(504)],
    ids=["reset", "500", "502", "504"],
)
async def test_a_submit_in_doubt_is_held_and_never_repeated(
    tmp_path: Path, provider: Scripted, answer: SubmitOutcome
) -> None:
    provider.submit_answers = [answer]
    for _ in range(2):
        summary, _ = await do(job(tmp_path), provider)
        assert summary.counts == {Status.UNRESOLVED: 1}
    assert provider.taken == {}


async def test_a_submit_in_doubt_that_is_found_in_the_log_is_adopted(
    tmp_path: Path, provider: Scripted
) -> None:
    provider.submit_answers = [Interrupted("reset, but taken")]
    summary, _ = await do(job(tmp_path), provider)
    assert summary.counts == {Status.SUCCEEDED: 1}
    assert provider.taken == {}
    assert list(provider.polls) == list(provider.logged.values())


REFUSALS = [
    Answered(503, "overloaded", from_api=True),
    Answered(429, "too many at once", 2.0, from_api=True),
    Answered(429, "error code: 1015"),
]


@pytest.mark.parametrize("refusal", REFUSALS)
async def test_a_submit_that_was_taken_in_spite_of_its_refusal_is_not_repeated(
    tmp_path: Path, provider: Scripted, refusal: Answered
) -> None:
    provider.submit_answers = [replace(refusal, message=f"{refusal.message}, but taken")] * 5
    summary, events = await do(job(tmp_path, 8, concurrency=4), provider)
    assert summary.counts == {Status.SUCCEEDED: 8}
    assert summary.submitted == 8
    assert set(provider.polls) == {*provider.logged.values(), *provider.taken.values()}
    assert notices(events).count("it is not submitted again") == 5


@pytest.mark.parametrize("refusal", REFUSALS)
async def test_a_submit_that_was_refused_is_repeated_once_the_log_lacks_it(
    tmp_path: Path, provider: Scripted, refusal: Answered
) -> None:
    provider.submit_answers = [refusal] * 3
    summary, _ = await do(job(tmp_path, 5, concurrency=1), provider)
    assert summary.counts == {Status.SUCCEEDED: 5}
    assert summary.submitted == 8
    assert [len(asked) for asked in provider.look_ups] == [1, 1, 1]
    assert len(set(provider.look_ups)) == 3, "each submit has a name of its own"


@pytest.mark.parametrize("refusal", REFUSALS)
async def test_a_log_that_cannot_be_read_stands_against_no_refusal_for_long(
    tmp_path: Path, provider: Scripted, refusal: Answered
) -> None:
    provider.log_works = False
    provider.submit_answers = [refusal] * 3
    summary, _ = await do(job(tmp_path), provider)
    assert summary.counts == {Status.SUCCEEDED: 1}
    assert len(provider.look_ups) == LOOKS + 2, "the first refusal learns that; the next look once"


async def test_a_log_that_could_not_be_read_at_first_is_read_before_a_refusal_is_believed(
    tmp_path: Path, provider: Scripted
) -> None:
    provider.log_works = False
    provider.submit_answers = [replace(REFUSALS[0], message="overloaded, but taken")]

    async def mend(_: Run) -> None:
        while len(provider.look_ups) < LOOKS - 1:  # noqa: ASYNC110
            await anyio.sleep(0.001)
        provider.log_works = True

    summary, _ = await do(job(tmp_path), provider, meanwhile=mend)
    assert summary.counts == {Status.SUCCEEDED: 1}
    assert summary.submitted == 1


async def test_a_refused_submit_that_the_log_has_without_an_id_is_held_and_not_repeated(
    tmp_path: Path, provider: Scripted
) -> None:
    provider.submit_answers = [replace(REFUSALS[0], message="overloaded, but taken")]
    provider.log_names_ids = False
    summary, _ = await do(job(tmp_path), provider)
    assert summary.counts == {Status.UNRESOLVED: 1}
    assert summary.submitted == 1
    provider.log_names_ids = True
    summary, _ = await do(job(tmp_path), provider)
    assert summary.counts == {Status.SUCCEEDED: 1}
    assert summary.submitted == 0


async def test_a_refused_submit_whose_id_in_the_log_is_another_task_s_is_held(
    tmp_path: Path, provider: Scripted
) -> None:
    await do(job(tmp_path), provider)
    [given] = provider.taken.values()
    provider.submit_answers = [REFUSALS[0]]

    async def lie(_: Run) -> None:
        while not provider.look_ups or not provider.look_ups[-1]:
            for sent in provider.refused:
                provider.logged[sent] = given
            await anyio.sleep(0.0001)

    summary, _ = await do(job(tmp_path, 2), provider, meanwhile=lie)
    assert summary.counts == {Status.SUCCEEDED: 1, Status.UNRESOLVED: 1}
    assert summary.submitted == 1


async def test_refused_submits_that_wait_together_are_looked_up_together(
    tmp_path: Path, provider: Scripted
) -> None:
    provider.submit_answers = [REFUSALS[0]] * 32
    summary, _ = await do(job(tmp_path, 40, concurrency=8, submits=8), provider)
    assert summary.counts == {Status.SUCCEEDED: 40}
    assert len(set().union(*provider.look_ups)) == 32, "each refused submit is looked up"
    assert len(provider.look_ups) <= 16


async def test_a_refused_submit_is_looked_up_by_the_next_run_before_it_is_repeated(
    tmp_path: Path, provider: Scripted
) -> None:
    provider.submit_answers = [Answered(503, "busy, but taken", 800.0, from_api=True)]

    async def leave(run: Run) -> None:
        while not provider.logged:  # noqa: ASYNC110
            await anyio.sleep(0.001)
        await anyio.sleep(0.01)
        run.stopping.leave(Reason.INTERRUPTED)

    summary, _ = await do(job(tmp_path), provider, meanwhile=leave)
    assert summary.counts == {Status.PENDING: 1}
    summary, _ = await do(job(tmp_path), provider)
    assert summary.counts == {Status.SUCCEEDED: 1}
    assert summary.submitted == 0


@pytest.mark.parametrize(
    "answer", [Answered(503, "no healthy upstream", 5.0), Answered(409), Answered(303)]
)
async def test_a_proxy_s_503_a_409_and_a_303_are_held_and_what_was_taken_is_adopted(
    tmp_path: Path, provider: Scripted, answer: Answered
) -> None:
    taken = replace(answer, message=f"{answer.message}, but taken")
    provider.submit_answers = [answer, taken, taken]
    summary, _ = await do(job(tmp_path, 5), provider)
    assert summary.counts == {Status.SUCCEEDED: 4, Status.UNRESOLVED: 1}
    assert summary.submitted == 5, "none is repeated"


async def test_few_are_left_in_doubt_by_a_host_that_answers_each_submit_so(
    tmp_path: Path, provider: Scripted
) -> None:
    provider.submit_answers = [Answered(503, "no healthy upstream")] * 8
    summary, events = await do(job(tmp_path, 60, submits=2), provider)
    assert summary.counts == {Status.SUCCEEDED: 52, Status.UNRESOLVED: 8}
    assert "submits: out of order" in notices(events)
    assert "the provider is busy: HTTP 503" in notices(events)


async def test_with_resubmit_a_doubt_that_is_not_found_is_submitted_again_on_record(
    tmp_path: Path, provider: Scripted
) -> None:
    provider.submit_answers = [Interrupted("reset")]
    made = job(tmp_path, on_ambiguous=OnAmbiguous.RESUBMIT)
    summary, events = await do(made, provider)
    assert summary.counts == {Status.SUCCEEDED: 1}
    assert len(provider.taken) == 1
    assert "submitted again, as on_ambiguous says" in notices(events)


async def test_a_request_the_provider_rejects_fails_its_task_alone(
    tmp_path: Path, provider: Scripted
) -> None:
    provider.submit_answers = [Answered(400, "prompt violates our content policy")]
    summary, _ = await do(job(tmp_path, 3), provider)
    assert summary.counts == {Status.SUCCEEDED: 2, Status.FAILED: 1}
    with Ledger.open(tmp_path / "run") as ledger:
        assert ledger.endings()[0].code == "moderation"


async def test_a_key_refused_at_the_door_ends_the_run_with_nothing_failed(
    tmp_path: Path, provider: Scripted
) -> None:
    provider.submit_answers = [Answered(401, "no such key")] * 20
    summary, _ = await do(job(tmp_path, 6), provider)
    assert summary.reason is Reason.REFUSED
    assert summary.counts == {Status.PENDING: 6}


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answered(401, "no such key"), "no such key; it is read from BATCHGEN_SANDBOX_KEY"),
        (Answered(402), "credits are used up: HTTP 402; look at the balance"),
        (Answered(429, "Your credits are exhausted."), "exhausted; look at the balance"),
        (Answered(403), "refused the account: HTTP 403; look at the balance of the account, and"),
        (Answered(404), "HTTP 404; look at base_url and model"),
    ],
)
async def test_a_refusal_at_the_door_says_where_to_look(
    tmp_path: Path, provider: Scripted, answer: Answered, said: str
) -> None:
    provider.submit_answers = [answer] * 20
    summary, _ = await do(job(tmp_path), provider)
    assert summary.reason is Reason.REFUSED
    assert said in summary.detail
    assert ("BATCHGEN_SANDBOX_KEY" in summary.detail) == (answer.status == 401)


async def test_a_key_refused_in_mid_run_pauses_it_and_fails_nothing(
    tmp_path: Path, provider: Scripted
) -> None:
    revoked = [Answered(401, "key revoked")] * 6
    provider.submit_answers = [Accepted("-"), Accepted("-"), *revoked]
    summary, events = await do(job(tmp_path, 8, concurrency=2, submits=1), provider)
    assert summary.counts == {Status.SUCCEEDED: 8}
    assert "no task is failed by it" in notices(events)


async def test_the_words_of_a_refused_poll_are_shown_and_not_each_time(
    tmp_path: Path, provider: Scripted
) -> None:
    for number in range(5):
        provider.fetch_answers[f"id:{number}"] = [Answered(429, f"enough, says request {number}")]
    summary, events = await do(job(tmp_path, 5), provider)
    assert summary.counts == {Status.SUCCEEDED: 5}
    assert notices(events).count("polls are slowed down: HTTP 429: enough, says request") == 1


async def test_an_outage_of_polls_fails_nothing(tmp_path: Path, provider: Scripted) -> None:
    provider.fetch_answers["id:0"] = [
        *[NotSent("no route")] * 10,
        *[Answered(502)] * 5,
        *[Interrupted("reset")] * 5,
    ]
    summary, _ = await do(job(tmp_path), provider)
    assert summary.counts == {Status.SUCCEEDED: 1}
    assert len(provider.taken) == 1


async def test_a_run_without_any_good_answer_gives_up_resumable(
    tmp_path: Path, provider: Scripted
) -> None:
    provider.submit_answers = [NotSent("no route")] * 10_000
    summary, _ = await do(job(tmp_path, 2, give_up_after=600.0), provider)
    assert summary.reason is Reason.GAVE_UP
    assert summary.counts == {Status.PENDING: 2}


async def test_a_generation_that_takes_too_long_times_out_and_is_asked_for_first_next_time(
    tmp_path: Path, provider: Scripted
) -> None:
    made = job(tmp_path)
    made = replace(made, run=replace(made.run, timeout=replace(made.run.timeout, generation=20.0)))
    provider.every_fetch = [Pending("queued")]
    summary, _ = await do(made, provider)
    assert summary.counts == {Status.TIMED_OUT: 1}
    provider.every_fetch = []
    summary, _ = await do(made, provider)
    assert summary.counts == {Status.SUCCEEDED: 1}
    assert len(provider.taken) == 1


async def test_an_unknown_status_is_still_pending(tmp_path: Path, provider: Scripted) -> None:
    provider.fetch_answers["id:0"] = [Pending("pondering", known=False)] * 3
    summary, events = await do(job(tmp_path), provider)
    assert summary.counts == {Status.SUCCEEDED: 1}
    assert notices(events).count("pondering") == 1


async def test_an_id_unknown_at_first_is_asked_for_again(
    tmp_path: Path, provider: Scripted
) -> None:
    provider.fetch_answers["id:0"] = [Answered(404, "not found")] * 5
    summary, _ = await do(job(tmp_path), provider)
    assert summary.counts == {Status.SUCCEEDED: 1}


async def test_a_completed_generation_without_a_video_is_asked_again_then_failed_with_its_id(
    tmp_path: Path, provider: Scripted
) -> None:
    provider.fetch_answers["id:0"] = [NoVideo("no video")] * 3
    provider.fetch_answers["id:1"] = [NoVideo("no video")] * 100_000
    summary, _ = await do(job(tmp_path, 2), provider)
    assert summary.counts == {Status.SUCCEEDED: 1, Status.FAILED: 1}
    with Ledger.open(tmp_path / "run") as ledger:
        failed = [record for record in ledger.records() if record.status == Status.FAILED]
    assert [(each.error_code, each.generation_id) for each in failed] == [("no_video", "id:1")]


async def test_a_retry_makes_what_was_forgotten_again_and_says_what_it_may_cost(
    tmp_path: Path, provider: Scripted
) -> None:
    soon = PollSettings(first=0.01, every=0.01, max=0.01)
    made = replace(job(tmp_path, 2, poll=soon), budget=Budget(usd_per_video=0.5))
    await run_job(made, provider=provider)
    with Ledger.open(tmp_path / "run") as ledger:
        lost = next(record for record in ledger.records() if record.generation_id == "id:0")
    (tmp_path / "run" / lost.file_name).unlink()
    provider.fetch_answers["id:0"] = [Answered(404, "not found")] * 3
    summary = await run_job(made, provider=provider)
    assert summary.counts == {Status.SUCCEEDED: 1, Status.FAILED: 1}
    assert summary.submitted == 0, "a run asks, and buys nothing"
    seen: list[Event] = []
    retried = Again(alone=True)
    summary = await run_job(made, provider=provider, again=retried, observer=seen.append)
    assert summary.counts == {Status.SUCCEEDED: 2}
    assert (
        "1 generation was paid for ($0.06 so far) and then forgotten by the provider: submitted "
        "again, each may be paid for a second time"
    ) in notices(seen)
    with Ledger.open(tmp_path / "run") as ledger:
        spent = ledger.spent(made.provider.model)
    assert spent.submits == 3
    assert spent.committed_usd == pytest.approx(3 * 0.06)


async def test_ids_of_tasks_that_left_the_job_are_asked_about_once_and_not_waited_for(
    tmp_path: Path, provider: Scripted
) -> None:
    provider.every_fetch = [Pending("queued")]

    async def leave(run: Run) -> None:
        await provider.has_taken(3)
        run.stopping.leave(Reason.INTERRUPTED)

    made = job(tmp_path, 3)
    await do(made, provider, meanwhile=leave)
    provider.every_fetch = []
    provider.polls.clear()
    for old in ("id:0", "id:1"):
        provider.fetch_answers[old] = [Pending("queued")] * 100_000
    summary, _ = await do(replace(made, prompts=(Prompt("another"),)), provider)
    assert summary.counts == {Status.SUCCEEDED: 1}
    assert provider.polls["id:0"] == provider.polls["id:1"] == 1
    with Ledger.open(tmp_path / "run") as ledger:
        ended = {record.generation_id: record.status for record in ledger.records()}
    assert ended == {
        "id:0": "in_flight",
        "id:1": "in_flight",
        "id:2": "succeeded",
        "id:3": "succeeded",
    }, "what is done is fetched: it was paid for"


async def test_failures_in_a_row_stop_the_run(tmp_path: Path, provider: Scripted) -> None:
    provider.every_fetch = [GenerationFailed("bad_model", "the model is broken")]
    summary, _ = await do(job(tmp_path, 50, concurrency=2, stop_if_failures=5), provider)
    assert summary.reason is Reason.FAILURES
    assert "the model is broken" in summary.detail
    assert 5 <= summary.counts[Status.FAILED] <= 7
    assert summary.cost_usd is None, "failed generations are not charged"


async def test_a_drained_run_finishes_what_is_in_flight_and_starts_no_more(
    tmp_path: Path, provider: Scripted
) -> None:
    async def drain(run: Run) -> None:
        await provider.has_taken(4)
        run.stopping.drain(Reason.INTERRUPTED)

    summary, _ = await do(job(tmp_path, 200, concurrency=4), provider, meanwhile=drain)
    assert summary.reason is Reason.INTERRUPTED
    assert summary.counts[Status.SUCCEEDED] == len(provider.taken) < 200
    assert summary.counts[Status.PENDING] == 200 - len(provider.taken)


async def test_what_waits_for_its_submit_is_not_in_flight(
    tmp_path: Path, provider: Scripted
) -> None:
    provider.submit_answers = [NotSent("refused")] * 1000
    said = await under_way(tmp_path, provider, lambda: len(provider.submit_answers) < 990)
    assert said == "0 in flight"


async def test_what_the_provider_works_on_is_in_flight(tmp_path: Path, provider: Scripted) -> None:
    provider.every_fetch = [Pending("queued")]
    said = await under_way(tmp_path, provider, lambda: len(provider.polls) == 4)
    assert said == "4 in flight"


async def test_videos_that_wait_for_their_download_are_counted_as_such(
    tmp_path: Path, provider: Scripted
) -> None:
    provider.video_url = "http://127.0.0.1:9/none.mp4"
    said = await under_way(tmp_path, provider, lambda: len(provider.polls) == 6)
    assert said == "6 downloads"


async def under_way(folder: Path, provider: Scripted, when: Callable[[], bool]) -> str:
    """Run six tasks, four at once, and leave when it is so; return what was under way then."""
    said = ""

    async def leave(run: Run) -> None:
        nonlocal said
        while not when():  # noqa: ASYNC110
            await anyio.sleep(0.001)
        await anyio.sleep(0.02)
        said = run.under_way()
        run.stopping.leave(Reason.INTERRUPTED)

    summary, _ = await do(job(folder, 6, concurrency=4), provider, meanwhile=leave)
    assert summary.detail == "interrupted", "whoever does not say why is said to"
    return said


async def test_a_run_that_leaves_keeps_every_id(tmp_path: Path, provider: Scripted) -> None:
    provider.every_fetch = [Pending("queued")]

    async def leave(run: Run) -> None:
        await provider.has_taken(4)
        run.stopping.leave(Reason.INTERRUPTED)

    summary, _ = await do(job(tmp_path, 9, concurrency=4), provider, meanwhile=leave)
    assert summary.counts == {Status.PENDING: 5, Status.IN_FLIGHT: 4}
    provider.every_fetch = []
    summary, _ = await do(job(tmp_path, 9, concurrency=4), provider)
    assert summary.counts == {Status.SUCCEEDED: 9}
    assert len(provider.taken) == 9


async def test_a_limit_counts_new_tasks_only(tmp_path: Path, provider: Scripted) -> None:
    for sent in (2, 4):
        await do(job(tmp_path, 5), provider, limit=2)
        assert len(provider.taken) == sent


async def test_the_budget_of_tasks_holds_across_runs(tmp_path: Path, provider: Scripted) -> None:
    made = replace(job(tmp_path, 9), budget=Budget(max_tasks=4))
    for _ in range(2):
        summary, _ = await do(made, provider)
        assert summary.reason is Reason.BUDGET
        assert summary.counts == {Status.SUCCEEDED: 4, Status.PENDING: 5}


async def test_the_watcher_sees_each_step_of_a_task_in_order(
    tmp_path: Path, provider: Scripted
) -> None:
    _, events = await do(job(tmp_path), provider)
    steps = [event.status for event in events if isinstance(event, TaskMoved)]
    assert steps == [Status.IN_FLIGHT, Status.COMPLETED, Status.SUCCEEDED]


async def test_resubmits_are_bounded_in_number(tmp_path: Path, provider: Scripted) -> None:
    provider.submit_answers = [Interrupted("reset")] * 50
    made = job(tmp_path, on_ambiguous=OnAmbiguous.RESUBMIT)
    summary, _ = await do(made, provider)
    assert summary.counts == {Status.UNRESOLVED: 1}
    assert summary.submitted == made.run.retry.attempts


async def test_resubmits_never_pass_the_budget(tmp_path: Path, provider: Scripted) -> None:
    provider.submit_answers = [Interrupted("reset")] * 50
    made = replace(
        job(tmp_path, on_ambiguous=OnAmbiguous.RESUBMIT),
        budget=Budget(max_usd=0.25, usd_per_video=0.1),
    )
    summary, _ = await do(made, provider)
    assert summary.submitted == 2
    with Ledger.open(tmp_path / "run") as ledger:
        usd, submits = committed(ledger)
    assert usd == pytest.approx(0.2)
    assert submits == 2


async def test_a_log_that_cannot_be_read_authorises_no_resubmit(
    tmp_path: Path, provider: Scripted
) -> None:
    provider.log_works = False
    provider.submit_answers = [Interrupted("reset")]
    summary, _ = await do(job(tmp_path, on_ambiguous=OnAmbiguous.RESUBMIT), provider)
    assert summary.counts == {Status.UNRESOLVED: 1}
    assert summary.submitted == 1


async def test_a_resubmitted_task_is_started_once_though_it_is_next_in_line(
    tmp_path: Path, provider: Scripted
) -> None:
    provider.submit_answers = [Interrupted("reset")]
    made = job(tmp_path, 30, concurrency=1, on_ambiguous=OnAmbiguous.RESUBMIT)
    made = replace(made, prompts=tuple(reversed(made.prompts)))
    await do(made, provider, limit=1)
    summary, _ = await do(replace(made, prompts=tuple(reversed(made.prompts))), provider)
    assert summary.counts == {Status.SUCCEEDED: 30}
    assert len(provider.taken) == 30


async def test_an_outage_longer_than_the_timeout_times_nothing_out(
    tmp_path: Path, provider: Scripted
) -> None:
    made = job(tmp_path)
    made = replace(made, run=replace(made.run, timeout=replace(made.run.timeout, generation=20.0)))
    provider.fetch_answers["id:0"] = [NotSent("no route")] * 12
    summary, _ = await do(made, provider)
    assert summary.counts == {Status.SUCCEEDED: 1}


async def test_an_id_that_was_given_before_is_not_believed(
    tmp_path: Path, provider: Scripted
) -> None:
    provider.same_id = "id:twice"
    summary, events = await do(job(tmp_path, 2), provider)
    assert summary.counts == {Status.SUCCEEDED: 1, Status.UNRESOLVED: 1}
    assert any("was given to another task" in str(event) for event in events)


async def mixed_up(tmp_path: Path, provider: Scripted) -> tuple[Job, dict[str, Record]]:
    """Have both of two submits answered with the id of the second one: the first task keeps it."""
    made = job(tmp_path, 2, submits=1, concurrency=1)
    provider.same_id = "id:second"
    provider.log_works = False
    summary, _ = await do(made, provider)
    assert summary.counts == {Status.SUCCEEDED: 1, Status.UNRESOLVED: 1}
    provider.log_works = True
    with Ledger.open(made.output.dir) as ledger:
        return made, {str(record.status): record for record in ledger.records()}


async def test_an_id_that_two_tasks_were_given_goes_to_the_one_the_log_says_it_is_of(
    tmp_path: Path, provider: Scripted
) -> None:
    made, records = await mixed_up(tmp_path, provider)
    wrong, held = records["succeeded"], records["unresolved"]
    assert wrong.client_request_id is not None
    assert held.client_request_id is not None
    provider.logged = {held.client_request_id: "id:second", wrong.client_request_id: "id:first"}
    summary, events = await do(made, provider)
    assert summary.counts == {Status.SUCCEEDED: 2}
    with Ledger.open(made.output.dir) as ledger:
        ids = {record.task_id: record.generation_id for record in ledger.records()}
    assert ids == {wrong.task_id: "id:first", held.task_id: "id:second"}
    assert f"is of task {held.task_id} and not of {wrong.task_id}" in notices(events)


@pytest.mark.parametrize("other", [None, "id:second"])
async def test_an_id_that_two_tasks_were_given_stays_where_it_is_while_the_log_names_no_other(
    tmp_path: Path, provider: Scripted, other: str | None
) -> None:
    made, records = await mixed_up(tmp_path, provider)
    provider.logged = {str(records["unresolved"].client_request_id): "id:second"}
    if other is not None:
        provider.logged[str(records["succeeded"].client_request_id)] = other
    summary, _ = await do(made, provider)
    assert summary.counts == {Status.SUCCEEDED: 1, Status.UNRESOLVED: 1}
    with Ledger.open(made.output.dir) as ledger:
        [holder] = [record for record in ledger.records() if record.status == "succeeded"]
    assert (holder.task_id, holder.generation_id) == (records["succeeded"].task_id, "id:second")


async def test_a_video_whose_name_another_file_has_gets_another_name(
    tmp_path: Path, provider: Scripted, clip: bytes
) -> None:
    made = job(tmp_path)
    with Ledger.open(made.output.dir) as ledger:
        admit(made, ledger)
        [record] = ledger.records()
    folder = made.output.dir
    name = record.file_name.removesuffix(".mp4")
    mine = [folder / f"{name}.mp4", folder / f"{name}_{record.task_id}.mp4"]
    for path in mine:
        path.write_bytes(b"mine")
    summary, events = await do(made, provider)
    assert summary.counts == {Status.SUCCEEDED: 1}
    assert [path.read_bytes() for path in mine] == [b"mine", b"mine"]
    with Ledger.open(made.output.dir) as ledger:
        [record] = ledger.records()
    assert record.file_name == f"{name}_{record.task_id}_2.mp4"
    assert (folder / record.file_name).read_bytes() == clip
    assert notices(events).count("is another file, which stays") == 2


async def left_in_flight(tmp_path: Path, provider: Scripted, server: str | None = None) -> Job:
    """Leave one generation in flight, as a kill does."""
    made = replace(job(tmp_path), provider=ProviderSettings(base_url=server))
    provider.every_fetch = [Pending("queued")]

    async def leave(run: Run) -> None:
        await provider.has_taken(1)
        run.stopping.leave(Reason.INTERRUPTED)

    summary, _ = await do(made, provider, meanwhile=leave)
    assert summary.counts == {Status.IN_FLIGHT: 1}
    provider.every_fetch = []
    provider.polls.clear()
    provider.asked_at.clear()
    return made


async def test_a_generation_is_asked_about_at_the_model_it_was_submitted_to(
    tmp_path: Path, provider: Scripted
) -> None:
    made = await left_in_flight(tmp_path, provider)
    other = ProviderSettings(model="alibaba/wan2.1-t2v-turbo")
    await do(replace(made, provider=other), provider)
    assert provider.asked_at == {made.provider.model, other.model}
    with Ledger.open(tmp_path / "run") as ledger:
        assert [record.status for record in ledger.records()] == ["succeeded"] * 2


async def test_a_generation_is_never_asked_about_at_another_server_and_is_not_lost(
    tmp_path: Path, provider: Scripted
) -> None:
    made = await left_in_flight(tmp_path, provider, "http://127.0.0.1:1")
    elsewhere = replace(made, provider=ProviderSettings(base_url="http://127.0.0.1:2"))
    summary, events = await do(elsewhere, provider)
    assert not provider.polls
    assert summary.counts == {Status.IN_FLIGHT: 1}
    assert exit_code(summary) is ExitCode.INCOMPLETE
    assert "1 submitted at http://127.0.0.1:1, where this job does not go now" in notices(events)
    summary, _ = await do(made, provider)
    assert summary.counts == {Status.SUCCEEDED: 1}
    assert len(provider.taken) == 1


async def test_a_submit_in_doubt_is_not_judged_by_another_server_s_log(
    tmp_path: Path, provider: Scripted
) -> None:
    made = replace(
        job(tmp_path, on_ambiguous=OnAmbiguous.RESUBMIT),
        provider=ProviderSettings(base_url="http://127.0.0.1:1"),
    )
    provider.submit_answers = [Interrupted("reset")]
    provider.log_works = False
    summary, _ = await do(made, provider)
    assert summary.counts == {Status.UNRESOLVED: 1}
    provider.log_works = True
    elsewhere = replace(made, provider=ProviderSettings(base_url="http://127.0.0.1:2"))
    summary, _ = await do(elsewhere, provider)
    assert summary.counts == {Status.UNRESOLVED: 1}
    assert not provider.taken, "the other server's empty log proves nothing"
    with Ledger.open(tmp_path / "run") as ledger:
        [held] = ledger.unresolved()
    provider.logged = {held.client_request_id or "": "id:taken"}
    summary, _ = await do(made, provider)
    assert summary.counts == {Status.SUCCEEDED: 1}
    assert not provider.taken


async def test_client_request_ids_name_the_task_and_the_run_directory(
    tmp_path: Path, provider: Scripted
) -> None:
    await do(job(tmp_path, 2), provider)
    with Ledger.open(tmp_path / "run") as ledger:
        run_id, names = ledger.run_id, {record.task_id for record in ledger.records()}
    with Ledger.open(tmp_path / "elsewhere") as ledger:
        assert ledger.run_id != run_id
    assert {tuple(sent.split(".")[:2]) for sent in provider.taken} == {
        (name, run_id) for name in names
    }


async def test_an_id_the_ledger_cannot_keep_is_rescued_and_the_next_run_finds_it(
    tmp_path: Path, provider: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = Writer.record

    async def failing(writer: Writer, step: Step[Any]) -> Any:
        if provider.taken:
            raise LedgerError("the ledger could not be written: disk I/O error")
        return await record(writer, step)

    with monkeypatch.context() as broken:
        broken.setattr(Writer, "record", failing)
        with pytest.raises(LedgerError, match="I/O error"):
            await do(job(tmp_path), provider)
    summary, _ = await do(job(tmp_path), provider)
    assert summary.counts == {Status.SUCCEEDED: 1}
    assert list(provider.polls) == ["id:0"]
    assert len(provider.taken) == 1


async def test_a_full_disk_is_waited_for_at_every_step(
    tmp_path: Path, provider: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = Writer.record
    calls = 0

    async def every_other_fails(writer: Writer, step: Step[Any]) -> Any:
        nonlocal calls
        calls += 1
        if calls % 2:
            error = LedgerError("the ledger could not be written: database or disk is full")
            error.full = True
            raise error
        return await record(writer, step)

    monkeypatch.setattr(Writer, "record", every_other_fails)
    summary, events = await do(job(tmp_path, 3), provider)
    assert summary.counts == {Status.SUCCEEDED: 3}
    assert len(provider.taken) == 3
    assert "waits until there is room" in notices(events)


async def test_a_watcher_that_cannot_write_any_more_ends_nothing(
    tmp_path: Path, provider: Scripted
) -> None:
    def broken(_: Event) -> None:
        raise BrokenPipeError

    made = job(tmp_path, 3)
    summary = await run_job(made, observer=broken, provider=provider)
    assert summary.counts == {Status.SUCCEEDED: 3}


async def test_a_key_that_stays_refused_makes_the_first_interrupt_enough(
    tmp_path: Path, provider: Scripted
) -> None:
    provider.every_fetch = [Answered(401, "revoked")]

    async def watch(run: Run) -> None:
        while not run.parked:  # noqa: ASYNC110  # the run has no event for it
            await anyio.sleep(0.001)
        run.stopping.leave(Reason.INTERRUPTED)

    summary, _ = await do(job(tmp_path, 5, concurrency=1), provider, meanwhile=watch)
    assert summary.reason is Reason.INTERRUPTED
    assert summary.counts == {Status.IN_FLIGHT: 1, Status.PENDING: 4}
    provider.every_fetch = []
    summary, _ = await do(job(tmp_path, 5, concurrency=1), provider)
    assert summary.counts == {Status.SUCCEEDED: 5}


async def test_when_the_network_is_back_the_run_says_so_and_goes_on(
    tmp_path: Path, provider: Scripted
) -> None:
    provider.submit_answers = [NotSent("no route")] * 12
    summary, events = await do(job(tmp_path, 10), provider)
    assert summary.counts == {Status.SUCCEEDED: 10}
    assert "submits: answered again, going on" in notices(events)


@pytest.mark.parametrize("how", ["drain", "leave", "cancel"])
async def test_a_submit_in_the_air_is_answered_and_recorded_however_the_run_is_ended(
    tmp_path: Path, video_url: str, how: str
) -> None:
    class Slow(Scripted):
        posting = False

        async def submit(self, body: bytes, client_request_id: str) -> SubmitOutcome:
            self.posting = True
            await anyio.sleep(0.2)  # real time, as the grace for POSTs is
            return await super().submit(body, client_request_id)

    provider = Slow(video_url)
    provider.every_fetch = [] if how == "drain" else [Pending("queued")]

    async def end(run: Run) -> None:
        while not provider.posting:  # noqa: ASYNC110
            await anyio.sleep(0.001)
        if how == "cancel":
            raise ConnectionAbortedError
        (run.stopping.drain if how == "drain" else run.stopping.leave)(Reason.INTERRUPTED)

    with pytest.raises(ConnectionAbortedError) if how == "cancel" else nullcontext():
        await do(job(tmp_path, 5, concurrency=1), provider, meanwhile=end)
    with Ledger.open(tmp_path / "run") as ledger:
        counts = ledger.counts()
    taken = Status.SUCCEEDED if how == "drain" else Status.IN_FLIGHT
    assert counts == {taken: 1, Status.PENDING: 4}


async def test_a_wall_clock_that_jumps_between_two_runs_times_nothing_out(
    tmp_path: Path, provider: Scripted
) -> None:
    class ADayLater(FastClock):
        def now(self) -> float:
            return super().now() + 86_400

    async def leave(run: Run) -> None:
        await provider.has_taken(5)
        run.stopping.leave(Reason.INTERRUPTED)

    provider.every_fetch = [Pending("queued")]
    await do(job(tmp_path, 5), provider, meanwhile=leave)
    provider.every_fetch = []
    for generation_id in provider.taken.values():
        provider.fetch_answers[generation_id] = [Pending("generating")] * 3
    summary, _ = await do(job(tmp_path, 5), provider, clock=ADayLater())
    assert summary.counts == {Status.SUCCEEDED: 5}


@pytest.mark.parametrize(("offset", "warnings"), [(None, 0), (45.0, 0), (1_200.0, 1), (-90.0, 1)])
async def test_clocks_that_differ_by_more_than_a_minute_are_said_once(
    tmp_path: Path, provider: Scripted, offset: float | None, warnings: int
) -> None:
    provider.clock_offset = offset
    _, events = await do(job(tmp_path, 30, concurrency=2), provider)
    assert notices(events).count("the provider's clock is") == warnings


async def test_a_run_that_waits_for_room_to_note_its_intents_ends_when_it_is_told_to(
    tmp_path: Path, provider: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = Writer.record

    async def full(writer: Writer, step: Step[Any]) -> Any:
        if "intend" in step.__qualname__:
            error = LedgerError("the ledger could not be written: database or disk is full")
            error.full = True
            raise error
        return await record(writer, step)

    async def drain(run: Run) -> None:
        await anyio.sleep(0.1)
        run.stopping.drain(Reason.INTERRUPTED)

    monkeypatch.setattr(Writer, "record", full)
    summary, events = await do(job(tmp_path, 5), provider, meanwhile=drain)
    assert summary.reason is Reason.INTERRUPTED
    assert summary.counts == {Status.PENDING: 5}
    assert provider.taken == {}, "no intent, no submit"
    assert "waits until there is room" in notices(events)
