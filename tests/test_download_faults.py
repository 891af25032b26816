"""Downloads at hosts that are slow, busy or hostile: through whole runs, over real HTTP."""

import asyncio
import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from batchgen import transfer as rooms
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
from batchgen.outcomes import Interrupted
from batchgen.sandbox import FaultPlan, Sandbox, SandboxSettings, running
from batchgen.sandbox.clips import ClipRequest, render
from batchgen.session import run_job
from batchgen.task import Status
from batchgen.transfer import Part, finish, open_transfer
from tests.test_long_nights import HOUR, spend
from tests.virtual_time import NightClock

pytestmark = pytest.mark.anyio
CLIP = render(ClipRequest("a slow river", width=160, height=96))


async def test_a_host_that_trickles_is_left_and_what_came_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rooms, "STALL_SECONDS", 0.3)

    async def trickle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"ETag": '"v1"', "Content-Length": str(len(CLIP))})
        await response.prepare(request)
        for byte in CLIP:
            await response.write(bytes([byte]))
            await asyncio.sleep(0.05)
        return response

    app = web.Application()
    app.router.add_get("/clip.mp4", trickle)
    part = Part(tmp_path / "a.part")
    async with (
        TestServer(app, host="127.0.0.1") as server,
        open_transfer(base_url="http://127.0.0.1", seconds=60) as transfer,
    ):
        with anyio.fail_after(10):
            result = await transfer.fetch(str(server.make_url("/clip.mp4")), part)
    assert result == Interrupted("the file comes too slowly to ever be here")
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


def test_a_link_in_place_of_the_videos_is_never_written_through(tmp_path: Path) -> None:
    elsewhere, videos = tmp_path / "elsewhere", tmp_path / "videos"
    elsewhere.mkdir()
    videos.symlink_to(elsewhere)
    part = tmp_path / "a.part"
    part.write_bytes(CLIP)
    with pytest.raises(OSError, match="leads out of the run directory"):
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


async def test_files_that_never_end_are_left_at_the_cap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rooms, "MAX_VIDEO_BYTES", 3_000_000)
    plan = FaultPlan.model_validate({"faults": [{"on": "download", "do": "endless", "each": 1}]})
    settings = SandboxSettings(queue_s=0, generate_s=0)
    async with running(settings, faults=plan, render=lambda _: CLIP) as sandbox:
        with anyio.fail_after(30):
            summary = await run_job(job(tmp_path, sandbox))
    assert summary.counts == {Status.SUCCEEDED: 2}
