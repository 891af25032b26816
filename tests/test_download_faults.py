"""Downloads at hosts that are slow, busy or hostile: through whole runs, over real HTTP."""

import asyncio
import hashlib
import json
import re
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from batchgen import transfer as rooms
from batchgen.errors import RunDirectoryError
from batchgen.events import Event, Notice, TaskMoved
from batchgen.job import (
    Budget,
    Job,
    Output,
    PollSettings,
    Prompt,
    ProviderSettings,
    RetrySettings,
    RunSettings,
    TimeoutSettings,
)
from batchgen.ledger.ledger import Ledger
from batchgen.ledger.tables import Record
from batchgen.outcomes import Completed, FetchOutcome, Interrupted
from batchgen.part import Part
from batchgen.policy import Phase
from batchgen.run.download import FRESH_URLS
from batchgen.sandbox import FaultPlan, Sandbox, SandboxSettings, running
from batchgen.sandbox.clips import ClipRequest, render
from batchgen.session import run_job
from batchgen.task import Status
from batchgen.transfer import hash_file, open_transfer
from tests import virtual_time
from tests.test_long_nights import HOUR, Provider, one_run, spend
from tests.virtual_time import NightClock

pytestmark = pytest.mark.anyio
CLIP = render(ClipRequest("a slow river", width=160, height=96))
"""Signs itself for 127.0.0.1, from 2020 until 2119."""


async def test_a_host_that_trickles_is_left_and_what_came_is_kept(tmp_path: Path) -> None:
    async def trickle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"ETag": '"v1"', "Content-Length": str(len(CLIP))})
        await response.prepare(request)
        for byte in CLIP:
            await response.write(bytes([byte]))
            await asyncio.sleep(0.05)
        return response

    # A byte each 50 ms: never quiet for the 300 ms after which a connection is taken for dead.

    app = web.Application()
    app.router.add_get("/clip.mp4", trickle)
    part = Part(tmp_path / "a.part")
    async with (
        TestServer(app, host="127.0.0.1") as server,
        open_transfer(base_url="http://127.0.0.1", seconds=60, stall=0.3) as transfer,
    ):
        with anyio.fail_after(10):
            result = await transfer.fetch(str(server.make_url("/clip.mp4")), part)
    assert result == Interrupted("the file comes too slowly to ever be here", begun=True)
    assert 0 < part.received < len(CLIP)
    assert part.path.read_bytes() == CLIP[: part.received]


def test_a_busy_file_host_is_waited_for_as_it_asks_and_burns_no_attempt(tmp_path: Path) -> None:
    clock = NightClock()

    def busy() -> int:
        return 503 if clock.outside() < HOUR else 200

    morning = spend(tmp_path, clock=clock, file_status=busy, retry=RetrySettings(attempts=1))
    morning.all_is_well()
    asked = [when for when in morning.downloads if when < HOUR]
    assert len(asked) < HOUR / 10, "the host is probed, not stormed"


async def finish(part: Path, final: Path) -> None:
    async with open_transfer(base_url="http://127.0.0.1", seconds=60) as transfer:
        await transfer.finish(part, final, hash_file(part) or "")


def test_a_file_that_has_the_name_of_a_video_is_never_overwritten(tmp_path: Path) -> None:
    part, final = tmp_path / "a.part", tmp_path / "a.mp4"
    part.write_bytes(CLIP)
    final.write_bytes(b"another video")
    with pytest.raises(FileExistsError):
        anyio.run(finish, part, final)
    assert final.read_bytes() == b"another video"
    assert part.read_bytes() == CLIP
    final.write_bytes(CLIP)
    anyio.run(finish, part, final)  # its own bytes, which a broken sync left under the name
    assert final.read_bytes() == CLIP
    assert not part.exists()


def test_a_link_in_place_of_the_videos_is_never_written_through(tmp_path: Path) -> None:
    elsewhere, videos = tmp_path / "elsewhere", tmp_path / "videos"
    elsewhere.mkdir()
    videos.symlink_to(elsewhere)
    part = tmp_path / "a.part"
    part.write_bytes(CLIP)
    with pytest.raises(RunDirectoryError, match="leads out of the run directory"):
        anyio.run(finish, part, videos / "a.mp4")
    assert list(elsewhere.iterdir()) == []
    assert part.read_bytes() == CLIP


def test_a_link_in_place_of_a_video_is_replaced_and_what_it_leads_to_is_left(
    tmp_path: Path,
) -> None:
    target, final, part = tmp_path / "precious", tmp_path / "a.mp4", tmp_path / "a.part"
    target.write_text("precious")
    final.symlink_to(target)
    part.write_bytes(CLIP)
    anyio.run(finish, part, final)
    assert not final.is_symlink()
    assert final.read_bytes() == CLIP
    assert target.read_text() == "precious"


def test_a_directory_in_place_of_a_video_is_the_disk_s_trouble(tmp_path: Path) -> None:
    part, final = tmp_path / "a.part", tmp_path / "a.mp4"
    part.write_bytes(CLIP)
    final.mkdir()
    with pytest.raises(IsADirectoryError):
        anyio.run(finish, part, final)
    assert part.read_bytes() == CLIP


# Whole nights with several hosts, in virtual time.


@dataclass
class Host:
    """A host of files.

    Attributes:
        url: Where its video is.
        asked: When a request came, in seconds of the loop.
        connected: When a connection was made, likewise.
    """

    url: str = ""
    asked: list[float] = field(default_factory=list)
    connected: list[float] = field(default_factory=list)


@asynccontextmanager
async def host(
    statuses: Callable[[], int], *, asks: str | None = None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Host]:
    """Serve the clip, or another status, with a wait that the host asks for."""
    made = Host()

    async def answer(_: web.Request) -> web.Response:
        made.asked.append(anyio.current_time())
        headers = {"Retry-After": asks} if asks is not None else {}
        status = statuses()
        return web.Response(status=status, body=CLIP if status == 200 else b"", headers=headers)

    application = web.Application()
    application.router.add_get("/clip.mp4", answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    scheme = "http" if tls is None else "https"
    made.url = f"{scheme}://127.0.0.1:{runner.addresses[0][1]}/clip.mp4"
    if tls is not None:
        tls.sni_callback = lambda *_: made.connected.append(anyio.current_time())
    yield made
    await runner.cleanup()


class Spread(Provider):
    """A provider whose videos lie at several hosts in turn."""

    def __init__(self, clock: NightClock, *hosts: Host) -> None:
        super().__init__(clock, "", ())
        self.makes = 10.0
        self._hosts = hosts

    async def fetch(self, generation_id: str, model: str | None = None) -> FetchOutcome:
        outcome = await super().fetch(generation_id, model)
        if isinstance(outcome, Completed):
            number = int(generation_id.removeprefix("id:"))
            return replace(outcome, url=self._hosts[number % len(self._hosts)].url)
        return outcome


async def go(
    folder: Path, provider: Spread, clock: NightClock, *, tasks: int
) -> dict[str, list[Record]]:
    """Run a job through a night in which a task has one attempt; return its rows by status."""
    prompts = tuple(Prompt(f"prompt {number}") for number in range(tasks))
    settings = RunSettings(retry=RetrySettings(attempts=1), concurrency=tasks)
    made = Job("night", prompts, Output(folder / "run"), run=settings)
    _, records = await one_run(made, provider, clock, None)
    assert max(provider.bodies.values()) == 1, "each was paid for once"
    found: dict[str, list[Record]] = {}
    for record in records:
        found.setdefault(record.status, []).append(record)
    return found


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_host_holds_up_its_own_files_and_no_others(tmp_path: Path, status: int) -> None:
    clock = NightClock()

    async def night() -> None:
        def statuses() -> int:
            return status if clock.outside() < HOUR else 200

        async with host(statuses, asks="600") as busy, host(lambda: 200) as well:
            found = await go(tmp_path, Spread(clock, busy, well), clock, tasks=80)
        assert {each: len(rows) for each, rows in found.items()} == {"succeeded": 80}
        assert len(well.asked) == 40
        assert max(well.asked) < 120, "nobody waited for the other host"
        # As many as there are places may be on their way when the first one is told to wait.
        waited = [when for when in busy.asked if when < HOUR]
        storm = [when for when in waited if when < waited[0] + 600]
        assert len(storm) <= RunSettings().downloads
        assert len(waited) - len(storm) <= HOUR / 600, "then one asks for all, when it may"
        assert len(busy.asked) - len(waited) == 40

    virtual_time.run(night)


@pytest.mark.parametrize("status", [403, 404, 410])
def test_addresses_that_expire_while_their_host_is_busy_fail_nothing(
    tmp_path: Path, status: int
) -> None:
    clock = NightClock()
    answers = iter([429, status] * 8)

    async def night() -> None:
        async with host(lambda: next(answers, 200), asks="600") as busy:
            provider = Spread(clock, busy)
            found = await go(tmp_path, provider, clock, tasks=1)
        assert found.keys() == {"succeeded"}
        assert len(busy.asked) == 17
        again = [when for when in provider.asked[Phase.FETCH] if when > busy.asked[0]]
        assert len(again) == 8, "each time a new address was asked for"

    virtual_time.run(night)


def test_addresses_that_are_refused_at_once_fail_the_download_and_not_the_night(
    tmp_path: Path,
) -> None:
    clock = NightClock()

    async def night() -> None:
        async with host(lambda: 403) as gone:
            found = await go(tmp_path, Spread(clock, gone), clock, tasks=1)
        (record,) = found["failed"]
        assert (record.cause, record.error_code) == ("download", "download_failed")
        assert record.generation_id == "id:0", "it was paid for, and is kept"
        assert len(gone.asked) == 1 + FRESH_URLS
        assert clock.outside() < 120

    virtual_time.run(night)


@pytest.mark.parametrize("status", [408, 425, 500, 502, 504, 522, 429, 503])
def test_an_hour_without_a_host_of_files_burns_no_attempt(tmp_path: Path, status: int) -> None:
    clock = NightClock()

    async def night() -> None:
        async with host(lambda: status if clock.outside() < HOUR else 200) as out:
            found = await go(tmp_path, Spread(clock, out), clock, tasks=20)
        assert {each: len(rows) for each, rows in found.items()} == {"succeeded": 20}
        assert len([when for when in out.asked if when < HOUR]) < HOUR / 10

    virtual_time.run(night)


@pytest.mark.parametrize("status", [413, 414, 431, 300, 418])
def test_what_a_host_will_never_give_fails_its_download_at_the_last_attempt(
    tmp_path: Path, status: int
) -> None:
    clock = NightClock()

    async def night() -> None:
        async with host(lambda: status) as firm:
            found = await go(tmp_path, Spread(clock, firm), clock, tasks=1)
        assert found["failed"][0].generation_id == "id:0"
        assert len(firm.asked) == 1

    virtual_time.run(night)


# Whole runs against a plan: what the server says it took is what there is in the end.

ONCE: list[dict[str, Any]] = [
    *[
        {"do": "cut", "framing": framing, "at": at}
        for framing in ("content_length", "chunked", "close", "early_terminator")
        for at in (0.0, 0.5, 1.0)
    ],
    *[{"do": "wrong_body", "style": style} for style in ("html", "xml", "empty", "one_byte")],
    {"do": "gzip"},
    {"do": "bomb", "bytes": 10_000_000},
    *[{"do": "expired", "status": status} for status in (403, 404, 410)],
    *[{"do": "status", "status": status} for status in (408, 500, 502, 504, 522)],
    {"do": "status", "status": 429, "retry_after": 0.1},
    {"do": "status", "status": 503, "retry_after": "soon"},
    {"do": "claims"},
    {"do": "reset", "when": "before"},
    {"do": "reset", "when": "after"},
    *[
        {"do": "redirect", "to": to}
        for to in (
            "http://169.254.169.254/latest/meta-data",
            "http://[::ffff:169.254.169.254]/",
            "http://10.0.0.1/",
            "file:///etc/passwd",
            "data:video/mp4;base64,AAAA",
            "//",
        )
    ],
]


def job(folder: Path, sandbox: Sandbox) -> Job:
    return Job(
        name="night",
        prompts=(Prompt("a slow river"), Prompt("a quick one")),
        output=Output(folder / "run"),
        provider=ProviderSettings(kind="sandbox", base_url=sandbox.url),
        budget=Budget(),
        run=RunSettings(
            poll=PollSettings(first=0.02, every=0.02),
            retry=RetrySettings(attempts=3, backoff_base=0.01, backoff_cap=0.05),
            timeout=TimeoutSettings(request=5, submit=5, generation=60, download=5),
        ),
    )


@pytest.mark.parametrize("rule", ONCE, ids=str)
async def test_a_download_that_goes_wrong_once_still_arrives_and_is_never_made_again(
    rule: dict[str, Any], tmp_path: Path
) -> None:
    plan = FaultPlan.model_validate({"faults": [{"on": "download", "each": 1, **rule}]})
    settings = SandboxSettings(queue_s=0, generate_s=0)
    async with running(settings, faults=plan, render=lambda _: CLIP) as sandbox:
        with anyio.fail_after(30):
            summary = await run_job(job(tmp_path, sandbox))
        assert summary.counts == {Status.SUCCEEDED: 2}
        assert sandbox.account.submits == 2
        assert sandbox.account.requests["download"] >= 3, "the fault was met"
        assert not {"authorization", "cookie"} & set(sandbox.account.download_headers)
        assert sandbox.account.trapped == []
    videos = list((tmp_path / "run" / "videos").iterdir())
    assert [hashlib.sha256(path.read_bytes()).digest() for path in videos] == [
        hashlib.sha256(CLIP).digest()
    ] * 2


RANGED = [
    {"do": "ignore_range"},
    {"do": "wrong_range"},
    {"do": "range_416"},
    {"do": "changed_etag"},
]


@pytest.mark.parametrize("rule", RANGED, ids=str)
async def test_a_rest_that_is_not_what_was_asked_for_starts_the_file_anew(
    rule: dict[str, Any], tmp_path: Path
) -> None:
    # The body must come in pieces, so that there is a rest to ask for.
    big = CLIP + (8).to_bytes(4) + b"free" + (4_000_008).to_bytes(4) + b"free" + bytes(4_000_000)
    cut = {"on": "download", "do": "cut", "at": 0.9, "first": 1}
    plan = FaultPlan.model_validate(
        {"faults": [cut, {"on": "download", "skip": 0, "first": 1, **rule}]}
    )
    settings = SandboxSettings(queue_s=0, generate_s=0)
    async with running(settings, faults=plan, render=lambda _: big) as sandbox:
        made = replace(job(tmp_path, sandbox), prompts=(Prompt("a slow river"),))
        with anyio.fail_after(30):
            summary = await run_job(made)
        assert summary.counts == {Status.SUCCEEDED: 1}
    (video,) = (tmp_path / "run" / "videos").iterdir()
    assert video.read_bytes() == big


async def test_an_address_that_stays_expired_fails_its_task_and_keeps_the_id_for_the_next_run(
    tmp_path: Path,
) -> None:
    plan = FaultPlan.model_validate({"faults": [{"on": "download", "do": "expired", "first": 10}]})
    settings = SandboxSettings(queue_s=0, generate_s=0)
    async with running(settings, faults=plan, render=lambda _: CLIP) as sandbox:
        with anyio.fail_after(30):
            summary = await run_job(job(tmp_path, sandbox))
        assert summary.counts == {Status.FAILED: 2}
        while (summary := await run_job(job(tmp_path, sandbox))).counts != {Status.SUCCEEDED: 2}:
            assert sandbox.account.submits == 2
        assert sandbox.account.submits == 2, "the videos exist: they are fetched, not made"


@pytest.mark.parametrize(
    "rule", [{"do": "wrong_body"}, {"do": "gzip"}, {"do": "claims"}, {"do": "endless"}], ids=str
)
async def test_files_that_are_no_videos_use_up_the_attempts_and_leave_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rule: dict[str, Any]
) -> None:
    monkeypatch.setattr(rooms, "MAX_VIDEO_BYTES", 3_000_000)
    # What is endless is begun to be written.
    monkeypatch.setattr(rooms, "BLOCK_BYTES", 1_000_000)
    plan = FaultPlan.model_validate({"faults": [{"on": "download", **rule}]})
    settings = SandboxSettings(queue_s=0, generate_s=0)
    async with running(settings, faults=plan, render=lambda _: CLIP) as sandbox:
        with anyio.fail_after(30):
            summary = await run_job(job(tmp_path, sandbox))
        assert summary.counts == {Status.FAILED: 2}
        assert sandbox.account.requests["download"] == 2 * 3
        assert sandbox.account.submits == 2
    for folder in ("videos", ".batchgen/parts"):
        assert list((tmp_path / "run" / folder).iterdir()) == []


TWO = {"on": "fetch", "do": "second_video"}


def rows(folder: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "run" / name).read_text().splitlines()]


async def test_a_second_video_of_a_generation_is_fetched_named_and_in_the_manifest(
    tmp_path: Path,
) -> None:
    plan = FaultPlan.model_validate({"faults": [TWO]})
    settings = SandboxSettings(queue_s=0, generate_s=0)
    async with running(settings, faults=plan, render=lambda _: CLIP) as sandbox:
        with anyio.fail_after(30):
            summary = await run_job(job(tmp_path, sandbox))
        assert summary.counts == {Status.SUCCEEDED: 2}
        assert sandbox.account.submits == 2
    manifest = rows(tmp_path, "manifest.jsonl")
    assert len(manifest) == 2
    names = set()
    for row in manifest:
        second = row["file_name"].replace(".mp4", "_2.mp4")
        assert row["more_files"] == second
        names |= {row["file_name"], second}
    assert {f"videos/{path.name}" for path in (tmp_path / "run/videos").iterdir()} == names
    metadata = rows(tmp_path, "metadata.jsonl")
    assert {row["file_name"] for row in metadata} == names
    for row in metadata:
        content = (tmp_path / "run" / row["file_name"]).read_bytes()
        assert row["bytes"] == len(content)
        assert row["sha256"] == hashlib.sha256(content).hexdigest()
    assert list((tmp_path / "run/.batchgen/parts").iterdir()) == []


async def test_a_second_video_that_cannot_be_had_is_said_and_fails_no_task(tmp_path: Path) -> None:
    events: list[Event] = []
    gone = {"on": "download", "do": "expired", "skip": 1, "first": 1}
    plan = FaultPlan.model_validate({"faults": [TWO, gone]})
    settings = SandboxSettings(queue_s=0, generate_s=0)
    async with running(settings, faults=plan, render=lambda _: CLIP) as sandbox:
        made = replace(job(tmp_path, sandbox), prompts=(Prompt("a slow river"),))
        with anyio.fail_after(30):
            summary = await run_job(made, observer=events.append)
    assert summary.counts == {Status.SUCCEEDED: 1}
    (row,) = rows(tmp_path, "manifest.jsonl")
    assert row["more_files"] is None
    assert len(list((tmp_path / "run/videos").iterdir())) == 1
    said = [event.message for event in events if isinstance(event, Notice)]
    assert [each for each in said if "video 2 of task" in each and "HTTP 403" in each]
    assert list((tmp_path / "run/.batchgen/parts").iterdir()) == []


@pytest.mark.parametrize("kind", ["file", "folder"])
async def test_a_second_video_takes_another_name_where_something_else_has_its_own(
    tmp_path: Path, kind: str
) -> None:
    taken = tmp_path / "run/videos/clip_2.mp4"
    plan = FaultPlan.model_validate({"faults": [TWO]})
    settings = SandboxSettings(queue_s=0, generate_s=0)
    async with running(settings, faults=plan, render=lambda _: CLIP) as sandbox:
        output = Output(tmp_path / "run", name="clip")
        one = (Prompt("a slow river"),)
        made = replace(job(tmp_path, sandbox), prompts=one, output=output)
        Ledger.open(made.output.dir).close()
        if kind == "file":
            taken.write_bytes(b"mine")
        else:
            taken.mkdir()
        with anyio.fail_after(30):
            assert (await run_job(made)).counts == {Status.SUCCEEDED: 1}
    (row,) = rows(tmp_path, "manifest.jsonl")
    assert row["more_files"] == f"videos/clip_2_{row['task_id']}.mp4"
    assert (tmp_path / "run" / row["more_files"]).read_bytes() == CLIP
    assert taken.is_dir() or taken.read_bytes() == b"mine"


async def test_a_second_video_that_is_there_already_keeps_its_name_when_the_first_is_fetched_again(
    tmp_path: Path,
) -> None:
    plan = FaultPlan.model_validate({"faults": [TWO]})
    settings = SandboxSettings(queue_s=0, generate_s=0)
    async with running(settings, faults=plan, render=lambda _: CLIP) as sandbox:
        made = replace(job(tmp_path, sandbox), prompts=(Prompt("a slow river"),))
        with anyio.fail_after(30):
            assert (await run_job(made)).counts == {Status.SUCCEEDED: 1}
            (before,) = rows(tmp_path, "manifest.jsonl")
            (tmp_path / "run" / before["file_name"]).unlink()
            assert (await run_job(made)).counts == {Status.SUCCEEDED: 1}
        assert sandbox.account.submits == 1
    (row,) = rows(tmp_path, "manifest.jsonl")
    assert (row["file_name"], row["more_files"]) == (before["file_name"], before["more_files"])
    assert len(list((tmp_path / "run/videos").iterdir())) == 2


SIZES = [
    ({"on": "fetch", "do": "wrong_size"}, "the provider announced {more}"),
    ({"on": "fetch", "do": "wrong_size", "by": -1_000}, "the provider announced {less}"),
    ({"on": "download", "do": "claims", "bytes": len(CLIP) + 1_000}, "its host announced {more}"),
]


@pytest.mark.parametrize(("rule", "said"), SIZES, ids=str)
async def test_a_whole_video_of_another_size_than_was_announced_is_kept_with_a_warning(
    tmp_path: Path, rule: dict[str, Any], said: str
) -> None:
    events: list[Event] = []
    plan = FaultPlan.model_validate({"faults": [rule]})
    settings = SandboxSettings(queue_s=0, generate_s=0)
    async with running(settings, faults=plan, render=lambda _: CLIP) as sandbox:
        with anyio.fail_after(30):
            summary = await run_job(job(tmp_path, sandbox), observer=events.append)
    assert summary.counts == {Status.SUCCEEDED: 2}
    for video in (tmp_path / "run" / "videos").iterdir():
        assert video.read_bytes() == CLIP
    sizes = {"more": len(CLIP) + 1_000, "less": len(CLIP) - 1_000}
    notices = [event.message for event in events if isinstance(event, Notice)]
    assert len([each for each in notices if said.format(**sizes) in each]) == 1


@pytest.mark.parametrize("folder", ["videos", ".batchgen/parts"])
async def test_a_folder_that_becomes_a_link_ends_the_run_and_is_never_written_through(
    tmp_path: Path, folder: str
) -> None:
    place, elsewhere = tmp_path / "run" / folder, tmp_path / "elsewhere"
    elsewhere.mkdir()

    def swap(event: Event) -> None:
        if isinstance(event, TaskMoved) and event.status is Status.COMPLETED:
            place.rename(tmp_path / "aside")
            place.symlink_to(elsewhere)

    settings = SandboxSettings(queue_s=0, generate_s=0)
    async with running(settings, render=lambda _: CLIP) as sandbox:
        made = replace(job(tmp_path, sandbox), prompts=(Prompt("a slow river"),))
        with anyio.fail_after(30):
            with pytest.raises(RunDirectoryError, match=re.escape(f"{place} was replaced")):
                await run_job(made, observer=swap)
            assert list(elsewhere.iterdir()) == []
            with pytest.raises(RunDirectoryError, match="symbolic link"):
                await run_job(made)
            place.unlink()
            (tmp_path / "aside").rename(place)
            assert (await run_job(made)).counts == {Status.SUCCEEDED: 1}
        assert sandbox.account.submits == 1


async def test_what_a_killed_run_left_of_its_parts_is_cleared_away_and_no_link_is_followed(
    tmp_path: Path,
) -> None:
    parts, treasure = tmp_path / "run/.batchgen/parts", tmp_path / "treasure"
    treasure.write_text("mine")
    settings = SandboxSettings(queue_s=0, generate_s=0)
    async with running(settings, render=lambda _: CLIP) as sandbox:
        made = job(tmp_path, sandbox)
        Ledger.open(made.output.dir).close()
        (parts / "left.part").write_bytes(CLIP[:5_000])
        (parts / "link.part").symlink_to(treasure)
        assert (await run_job(made)).counts == {Status.SUCCEEDED: 2}
    assert list(parts.iterdir()) == []
    assert treasure.read_text() == "mine"


async def test_files_that_never_end_are_left_at_the_cap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rooms, "MAX_VIDEO_BYTES", 3_000_000)
    # What is endless is begun to be written.
    monkeypatch.setattr(rooms, "BLOCK_BYTES", 1_000_000)
    plan = FaultPlan.model_validate({"faults": [{"on": "download", "do": "endless", "each": 1}]})
    settings = SandboxSettings(queue_s=0, generate_s=0)
    async with running(settings, faults=plan, render=lambda _: CLIP) as sandbox:
        with anyio.fail_after(30):
            summary = await run_job(job(tmp_path, sandbox))
    assert summary.counts == {Status.SUCCEEDED: 2}
