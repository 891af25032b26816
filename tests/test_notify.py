"""Somebody is told how a run ended, once, and the address stays a secret."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from batchgen import notify
from batchgen.errors import JobFileError, LedgerError
from batchgen.events import Reason, Summary
from batchgen.job import Job, NotifySettings, Occasion, Output, Prompt
from batchgen.jobfile import Overrides
from batchgen.jobfile.load import parse_job
from batchgen.jobfile.source import Source
from batchgen.task import Status

pytestmark = pytest.mark.anyio

SECRET = "T0P/S3CRET"
DONE = Summary(
    Reason.DONE,
    {Status.SUCCEEDED: 12, Status.FAILED: 1},
    submitted=13,
    cost_usd=0.78,
    cost_is_estimate=False,
    seconds=754.04,
)
STOPPED = Summary(
    Reason.BUDGET,
    {Status.SUCCEEDED: 2, Status.PENDING: 3},
    submitted=2,
    cost_usd=0.12,
    cost_is_estimate=True,
    seconds=61,
    detail="the budget of $0.12 is used up <!channel> & more",
)
JOB = Job("fox-grid", (Prompt("A fox"),), Output(Path("output/fox-grid")))


@dataclass
class Channel:
    """A chat's server that answers as it is told, the last answer again and again."""

    answers: list[int]
    taken: list[dict[str, Any]] = field(default_factory=list)
    url: str = ""

    async def post(self, request: web.Request) -> web.Response:
        self.taken.append(await request.json())
        status = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        headers = {"Location": str(request.url.with_path("/elsewhere"))} if status == 307 else {}
        return web.Response(status=status, headers=headers, text=str(request.url))


@dataclass
class Watch:
    """A clock that notes how long was slept, and sleeps not at all."""

    slept: list[float] = field(default_factory=list)

    def monotonic(self) -> float:
        return 0.0

    def now(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


@asynccontextmanager
async def channel(*answers: int) -> AsyncIterator[Channel]:
    made = Channel(list(answers) or [200])
    app = web.Application()
    app.router.add_post("/{path:.*}", made.post)
    async with TestServer(app, host="127.0.0.1") as server:
        made.url = str(server.make_url(f"/hook/{SECRET}"))
        yield made


def environment(url: str) -> Mapping[str, str]:
    return {"BATCHGEN_NOTIFY_URL": url}


async def test_the_end_of_a_run_is_told_in_figures_and_in_words() -> None:
    async with channel() as chat:
        assert await notify.tell(JOB, DONE, environment(chat.url)) is None
    (told,) = chat.taken
    assert told.pop("batchgen_version")
    assert told == {
        "text": "fox-grid finished: 12 of 13 videos in 12 min 34 s, 1 failed, $0.78",
        "event": "finish",
        "job": "fox-grid",
        "directory": "fox-grid",
        "provider": "sandbox",
        "reason": "done",
        "detail": "",
        "total": 13,
        "succeeded": 12,
        "counts": {"succeeded": 12, "failed": 1},
        "submitted": 13,
        "seconds": 754.0,
        "cost_usd": 0.78,
        "cost_is_estimate": False,
    }


def test_a_run_that_stopped_says_why_and_wakes_no_channel() -> None:
    text = notify.message(JOB, STOPPED)["text"]
    assert text == (
        "fox-grid stopped at its budget: 2 of 5 videos in 1 min 01 s, about $0.12. "
        "the budget of $0.12 is used up &lt;!channel&gt; &amp; more"
    )


@pytest.mark.parametrize("reason", list(Reason))
def test_every_way_to_end_has_its_words(reason: Reason) -> None:
    told = notify.message(JOB, replace(STOPPED, reason=reason))
    assert told["event"] == ("finish" if reason is Reason.DONE else "stop")
    assert told["reason"] == reason.value


def test_a_run_interrupted_in_its_last_task_has_finished() -> None:
    told = notify.message(JOB, replace(DONE, reason=Reason.INTERRUPTED))
    assert told["event"] == "finish"
    assert "fox-grid finished" in str(told["text"])


def test_what_broke_a_run_off_is_told_too() -> None:
    told = notify.message(JOB, LedgerError("the disk failed"))
    assert (told["event"], told["reason"]) == ("stop", "error")
    assert told["text"] == "fox-grid broke off: the disk failed"


@pytest.mark.parametrize(
    ("on", "end", "times"),
    [
        ((Occasion.STOP,), DONE, 0),
        ((Occasion.STOP,), STOPPED, 1),
        ((Occasion.FINISH,), STOPPED, 0),
        ((Occasion.FINISH, Occasion.STOP), STOPPED, 1),
    ],
)
async def test_only_what_was_asked_for_is_told(
    on: tuple[Occasion, ...], end: Summary, times: int
) -> None:
    job = replace(JOB, notify=NotifySettings(on=on))
    async with channel() as chat:
        assert await notify.tell(job, end, environment(chat.url)) is None
    assert len(chat.taken) == times


async def test_without_an_address_nobody_is_told_and_nothing_is_said() -> None:
    assert notify.objection(JOB.notify, {}) is None
    assert await notify.tell(JOB, DONE, {}) is None


@pytest.mark.parametrize(
    ("answers", "tries", "said"),
    [
        ((503, 429, 204), 3, None),
        ((500,), 3, "answered 500"),
        ((404,), 1, "answered 404"),
        ((307,), 1, "answered 307"),
    ],
)
async def test_a_busy_channel_is_tried_again_and_one_that_refuses_is_not(
    answers: tuple[int, ...], tries: int, said: str | None
) -> None:
    watch = Watch()
    async with channel(*answers) as chat:
        untold = await notify.tell(JOB, DONE, environment(chat.url), watch)
    assert len(chat.taken) == tries, "no redirect is followed either"
    assert watch.slept == list(notify.WAITS)[: tries - 1]
    expected = f"nobody was notified of the end: the address in BATCHGEN_NOTIFY_URL {said}"
    assert untold == (None if said is None else expected)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1/{}",
        "https://127.0.0.1:1/{}",
        "https://x.invalid:{}/",
        "http://[::1]:1/{}",
    ],
)
async def test_no_word_about_a_failure_holds_the_address(url: str) -> None:
    watch = Watch()
    untold = await notify.tell(JOB, DONE, environment(url.format(SECRET)), watch)
    said = f"{untold} {notify.objection(JOB.notify, environment(url.format(SECRET)))}"
    assert "BATCHGEN_NOTIFY_URL" in said
    assert not any(part in said for part in ("T0P", "S3CRET", "127.0.0.1", "invalid"))


@pytest.mark.parametrize(
    "url",
    [
        f"http://hooks.example/{SECRET}",
        f"ftp://127.0.0.1/{SECRET}",
        f"hooks.example/{SECRET}",
        f"https:///{SECRET}",
        f"http://127.0.0.1.example/{SECRET}",
    ],
)
async def test_an_address_that_would_travel_in_the_clear_is_objected_to_and_not_used(
    url: str,
) -> None:
    objection = notify.objection(JOB.notify, environment(url))
    assert objection is not None
    assert "BATCHGEN_NOTIFY_URL holds no address" in objection
    assert SECRET not in objection
    assert await notify.tell(JOB, DONE, environment(url)) is None


def test_a_variable_that_a_job_names_and_nobody_set_is_said_at_the_start() -> None:
    asked = NotifySettings(url_env="NIGHT_CHANNEL", asked=True)
    objection = notify.objection(asked, {})
    assert objection == (
        "nobody is notified of the end: NIGHT_CHANNEL is not set (notify: url_env)"
    )
    assert notify.objection(asked, {"NIGHT_CHANNEL": "https://hooks.example/x"}) is None


@pytest.mark.parametrize(
    "written",
    [
        "https://hooks.example/{}",
        "[https://hooks.example/{}]",
        "{{url: https://hooks.example/{}, on: [finish]}}",
        "{{url_env: https://hooks.example/{}}}",
        "{{on: [https://hooks.example/{}]}}",
        "{{url_env: {}, on: [never]}}",
        "{{webhook: {}, url_env: A}}",
    ],
)
def test_an_address_in_a_job_file_is_refused_and_not_repeated(written: str) -> None:
    text = f"prompts: [A fox]\nnotify: {written.format(SECRET)}\n"
    with pytest.raises(JobFileError) as caught:
        parse_job(Source("job.yaml", text), Path("job.yaml"), Overrides())
    assert "S3CRET" not in str(caught.value)
    assert "notify" in str(caught.value)


def test_a_job_says_whom_to_tell_and_one_that_says_nothing_is_quiet() -> None:
    def asked(more: str) -> NotifySettings:
        source = Source("job.yaml", f"prompts: [A fox]\n{more}")
        return parse_job(source, Path("job.yaml"), Overrides()).notify

    assert asked("") == NotifySettings()
    assert asked("notify: {}") == NotifySettings(asked=True)
    assert asked("notify: {url_env: NIGHT_CHANNEL, on: [stop, stop]}") == NotifySettings(
        "NIGHT_CHANNEL", (Occasion.STOP,), asked=True
    )
