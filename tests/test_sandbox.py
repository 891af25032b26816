"""The sandbox over real HTTP on loopback, its time in the test's hand."""

import builtins
import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import pytest
from yarl import URL

from batchgen.errors import UsageError
from batchgen.models import WAN_1_3B
from batchgen.sandbox import FAIL_WORD, JournalError, Sandbox, SandboxSettings, running
from batchgen.sandbox.clips import ClipRequest
from batchgen.sandbox.generations import Account, Generation, Order
from batchgen.sandbox.server import Shelf, clip_request

pytestmark = pytest.mark.anyio

FIRST = "/v2/generate/video/alibaba/generation"
UNIVERSAL = "/v2/video/generations"
KEY = {"Authorization": "Bearer any-key"}
BODY = {"model": WAN_1_3B, "prompt": "a fox"}
LONG = 10_000.0  # seconds by which every generation of these tests has ended


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass
class Clock:
    time: float = 1_790_000_000.0

    def now(self) -> float:
        return self.time


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes
    json: Any


@dataclass
class Client:
    sandbox: Sandbox
    clock: Clock
    session: aiohttp.ClientSession
    rendered: list[ClipRequest] = field(default_factory=list)

    async def ask(
        self, method: str, path: str, headers: Mapping[str, str] = KEY, **options: Any
    ) -> Answer:
        url = URL(path if path.startswith("http") else self.sandbox.url + path, encoded=True)
        async with self.session.request(method, url, headers=headers, **options) as response:
            body = await response.read()
            is_json = response.content_type == "application/json"
            return Answer(
                response.status, response.headers, body, await response.json() if is_json else None
            )

    async def submit(self, path: str = FIRST, **parameters: Any) -> str:
        answer = await self.ask("POST", path, json=BODY | parameters)
        assert answer.status in {200, 201}, answer.body
        return str(answer.json["id"])

    async def fetch(self, generation_id: str, path: str = FIRST) -> Answer:
        url = URL(path).with_query(generation_id=generation_id)
        return await self.ask("GET", str(url))

    async def video_url(self, **parameters: Any) -> str:
        generation_id = await self.submit(**parameters)
        self.clock.time += LONG
        return str((await self.fetch(generation_id)).json["video"]["url"])


def tiny(request: ClipRequest) -> bytes:
    return repr(request).encode() * 10


@asynccontextmanager
async def sandbox(clock: Clock | None = None, **settings: Any) -> AsyncIterator[Client]:
    clock = clock or Clock()
    rendered: list[ClipRequest] = []

    def render(request: ClipRequest) -> bytes:
        rendered.append(request)
        return tiny(request)

    async with (
        running(SandboxSettings(**settings), clock=clock, render=render) as server,
        aiohttp.ClientSession(auto_decompress=False) as session,
    ):
        yield Client(server, clock, session, rendered)


def assert_refused(answer: Answer, status: int, path: str, saying: str = "") -> None:
    assert answer.status == status
    assert set(answer.json) == {"message", "path", "requestId", "statusCode", "timestamp"}
    assert answer.json["statusCode"] == status
    assert answer.json["path"] == path
    assert saying in answer.json["message"]
    datetime.fromisoformat(answer.json["timestamp"])


@pytest.mark.parametrize(("path", "success"), [(FIRST, 201), (UNIVERSAL, 200)])
async def test_a_generation_goes_from_queued_to_a_video_that_can_be_downloaded(
    path: str, success: int
) -> None:
    async with sandbox(queue_s=10, generate_s=60) as client:
        taken = await client.ask("POST", path, json=BODY | {"seed": 7, "aspect_ratio": "9:16"})
        assert taken.status == success
        assert taken.json["status"] == "queued"
        generation_id = taken.json["id"]
        name, _, model = generation_id.partition(":")
        assert model == WAN_1_3B
        assert taken.headers["x-inference-id"] == generation_id

        generation = client.sandbox.account.generations[generation_id]
        answers = []
        for client.clock.time in (generation.created, generation.started, generation.finished):
            answer = await client.fetch(generation_id, path)
            assert answer.status == 200
            assert answer.json["id"] == answer.headers["x-inference-id"] == generation_id
            answers.append(answer)
        seen = [answer.json for answer in answers]
        assert [state["status"] for state in seen] == ["queued", "generating", "completed"]
        assert [state["video"] for state in seen[:2]] == [None, None]
        assert seen[0]["meta"]["usage"] == {"credits_used": 0, "usd_spent": 0}
        assert seen[2]["meta"]["usage"] == {"credits_used": 120_000, "usd_spent": 0.06}
        assert answers[2].headers["x-aimlapi-credits-used"] == "120000"
        assert answers[2].headers["x-aimlapi-usd-spent"] == "0.06"

        asked = ClipRequest(prompt="a fox", seed=7, width=480, height=832)
        video = seen[2]["video"]
        url = video.pop("url")
        assert video == {
            "content_type": "video/mp4",
            "file_name": f"{name}.mp4",
            "file_size": len(tiny(asked)),
        }
        file = await client.ask("GET", url, headers={})
        assert (file.status, file.body) == (200, tiny(asked))
        assert file.headers["Content-Type"] == "video/mp4"
        assert client.rendered == [asked]


async def test_every_parameter_reaches_the_renderer() -> None:
    asked = ClipRequest("线 🦊", 3, 7.5, 2.5, "dpm+", 12, "blur")
    parameters = {
        "prompt": asked.prompt,
        "seed": asked.seed,
        "guidance_scale": asked.guidance_scale,
        "shift": asked.shift,
        "sampler": asked.sampler,
        "inference_steps": asked.inference_steps,
        "negative_prompt": asked.negative_prompt,
    }
    async with sandbox() as client:
        await client.video_url(**parameters)
        assert client.rendered == [asked]


async def test_a_model_without_a_table_takes_any_parameters_and_still_makes_a_video() -> None:
    async with sandbox() as client:
        generation_id = await client.submit(
            UNIVERSAL, model="somebody/new-model", prompt=[1], seed="x", inference_steps=10**300
        )
        client.clock.time += LONG
        assert (await client.fetch(generation_id, UNIVERSAL)).json["video"]["file_size"] > 0
        assert client.rendered[0].inference_steps == 30


async def test_a_prompt_can_ask_for_a_failure_which_is_not_charged() -> None:
    async with sandbox() as client:
        generation_id = await client.submit(prompt=f"a fox, {FAIL_WORD}")
        client.clock.time += LONG
        state = (await client.fetch(generation_id)).json
        assert state["status"] == "error"
        assert set(state["error"]) == {"name", "message"}
        assert state["video"] is None
        assert state["meta"]["usage"]["credits_used"] == 0
        assert (await client.ask("GET", "/v1/billing/balance")).json["balance"] == 200_000_000


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": ""}, {"Authorization": "Bearer "}, {"Authorization": "Basic x"}],
)
async def test_without_a_key_every_keyed_endpoint_answers_401(headers: dict[str, str]) -> None:
    async with sandbox() as client:
        for path in (FIRST, UNIVERSAL, "/v2/logs", "/v1/billing/balance", "/sandbox/ledger"):
            assert_refused(await client.ask("GET", path, headers), 401, path)
        assert_refused(await client.ask("POST", FIRST, headers, json=BODY), 401, FIRST)
        assert client.sandbox.account.submits == 0


async def test_a_sandbox_with_a_key_takes_no_other() -> None:
    async with sandbox(key="right") as client:
        right, wrong = {"Authorization": "bearer right"}, {"Authorization": "Bearer wröng"}
        assert (await client.ask("GET", "/v1/billing/balance", right)).status == 200
        path = "/v1/billing/balance"
        assert_refused(await client.ask("GET", path, wrong), 401, path)


@pytest.mark.parametrize(
    ("sent", "saying"),
    [
        (b'{"model": ', "no JSON"),
        (b"\xff\xfe", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b'{"prompt": NaN}', "no JSON"),
        (b'{"prompt": 1e999}', "no JSON"),
        (b"[]", "a JSON object"),
        (b"{}", "model"),
        (b'{"model": "wan/v2.1/1.3b/text-to-video"}', "prompt is missing"),
        (b'{"model": "wan/v2.1/1.3b/text-to-video", "prompt": "a", "fps": 1}', "'fps'"),
        (b'{"model": "alibaba/wan2.1-t2v-plus", "prompt": "a"}', "takes wan/v2.1/1.3b"),
    ],
)
async def test_a_body_that_is_not_valid_is_refused_and_the_fault_named(
    sent: bytes, saying: str
) -> None:
    async with sandbox() as client:
        headers = KEY | {"Content-Type": "application/json"}
        answer = await client.ask("POST", FIRST, headers, data=sent)
        assert_refused(answer, 400, FIRST, saying)
        assert answer.json["message"].startswith("Body validation error!")
        assert client.sandbox.account.submits == 0


async def test_a_body_that_is_not_declared_as_json_is_refused() -> None:
    async with sandbox() as client:
        answer = await client.ask("POST", FIRST, data={"model": WAN_1_3B, "prompt": "a"})
        assert_refused(answer, 400, FIRST, "application/json")


async def test_a_body_over_one_mebibyte_is_refused_and_one_of_just_that_is_taken() -> None:
    async with sandbox() as client:
        headers = KEY | {"Content-Type": "application/json"}
        start = b'{"model": "wan/v2.1/1.3b/text-to-video", "prompt": "'
        fitting = start + b"a" * ((1 << 20) - len(start) - 2) + b'"}'
        assert (await client.ask("POST", FIRST, headers, data=fitting)).status == 201
        assert_refused(
            await client.ask("POST", FIRST, headers, data=io.BytesIO(fitting + b" ")), 413, FIRST
        )


async def test_unknown_ids_paths_and_methods_are_refused_in_the_same_form() -> None:
    async with sandbox() as client:
        assert_refused(await client.fetch("nobody:knows/this"), 404, FIRST)
        assert_refused(await client.ask("GET", FIRST), 400, FIRST, "generation_id")
        assert_refused(await client.ask("GET", "/v3/nothing"), 404, "/v3/nothing")
        refused = await client.ask("DELETE", FIRST)
        assert_refused(refused, 405, FIRST)
        assert set(refused.headers["Allow"].split(",")) == {"GET", "POST"}


async def test_without_credits_a_submit_answers_403() -> None:
    async with sandbox(balance_usd=0.1) as client:
        await client.submit()
        assert_refused(await client.ask("POST", FIRST, json=BODY), 403, FIRST, "credits")


async def test_above_the_limit_in_flight_a_submit_answers_429_until_one_finishes() -> None:
    async with sandbox(max_in_flight=2) as client:
        await client.submit()
        await client.submit()
        assert_refused(await client.ask("POST", FIRST, json=BODY), 429, FIRST, "2 generations")
        client.clock.time += LONG
        await client.submit()


async def test_above_the_rate_a_request_answers_429_and_says_when_to_come_again() -> None:
    async with sandbox(requests_per_s=0.1) as client:
        path = "/v1/billing/balance"
        assert (await client.ask("GET", path)).status == 200
        client.clock.time += 2.5
        refused = await client.ask("GET", path)
        assert_refused(refused, 429, path)
        assert refused.headers["Retry-After"] == "8"
        assert (await client.ask("GET", "/sandbox/ledger")).status == 200
        client.clock.time += 8
        assert (await client.ask("GET", path)).status == 200


async def test_a_fault_of_the_sandbox_itself_answers_500_in_the_same_form(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(request: ClipRequest) -> bytes:
        raise RuntimeError(f"cannot draw {request.prompt}")

    clock = Clock()
    async with (
        running(SandboxSettings(), clock=clock, render=broken) as server,
        aiohttp.ClientSession() as session,
    ):
        client = Client(server, clock, session)
        generation_id = await client.submit()
        clock.time += LONG
        assert_refused(await client.fetch(generation_id), 500, FIRST)
    assert "cannot draw a fox" in caplog.text


async def test_a_client_request_id_is_kept_when_it_has_the_documented_form() -> None:
    async with sandbox() as client:
        for given in ("run.1:task-2_a", "a" * 128, "a" * 129, "no spaces", ""):
            headers = KEY | {"X-Client-Request-Id": given}
            assert (await client.ask("POST", FIRST, headers, json=BODY)).status == 201
        ledger = (await client.ask("GET", "/sandbox/ledger")).json
        kept = [generation["client_request_id"] for generation in ledger["generations"]]
        assert kept == ["run.1:task-2_a", "a" * 128, None, None, None]


async def test_the_log_lists_submits_newest_first_in_pages() -> None:
    async with sandbox() as client:
        ids = []
        for number in range(5):
            client.clock.time += 60
            ids.append(await client.submit(prompt=FAIL_WORD if number == 2 else "a fox"))
        start = datetime.fromtimestamp(client.clock.time - 3 * 60, UTC)
        query = URL("/v2/logs").with_query(start=start.isoformat(), limit=3)
        page = (await client.ask("GET", str(query))).json
        assert [row["inference_id"] for row in page["data"]] == ids[:0:-1][:3]
        assert page["pagination"] == {"limit": 3, "offset": 0, "total": 4, "has_more": True}

        client.clock.time += LONG
        page = (await client.ask("GET", str(query.update_query(offset=2)))).json
        assert [row["status"] for row in page["data"]] == ["failed", "succeeded"]
        assert [row["cost"]["credits"] for row in page["data"]] == [0, 120_000]
        assert page["data"][1]["cost"]["usd"] == 0.06
        assert page["pagination"]["has_more"] is False
        assert set(page["data"][0]) == {
            "created",
            "status",
            "model",
            "cost",
            "request_id",
            "inference_id",
            "client_request_id",
        }


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=101", "limit=x", "offset=-1", "start=yesterday", "start=2020-01-01"],
)
async def test_the_log_refuses_what_the_api_does_not_allow(query: str) -> None:
    async with sandbox() as client:
        assert_refused(await client.ask("GET", f"/v2/logs?{query}"), 400, "/v2/logs")


async def test_the_log_answers_200_requests_a_minute() -> None:
    async with sandbox() as client:
        for _ in range(200):
            assert (await client.ask("GET", "/v2/logs")).status == 200
        refused = await client.ask("GET", "/v2/logs")
        assert_refused(refused, 429, "/v2/logs")
        assert refused.headers["Retry-After"] == "1"


async def test_the_balance_falls_when_a_generation_completes() -> None:
    async with sandbox(balance_usd=1.03) as client:
        await client.submit()
        path = "/v1/billing/balance"
        before = (await client.ask("GET", path)).json
        assert (before["balance"], before["lowBalance"]) == (2_060_000, False)
        client.clock.time += LONG
        after = (await client.ask("GET", path)).json
        assert (after["balance"], after["lowBalance"]) == (1_940_000, True)


async def test_prices_are_quoted_without_a_key() -> None:
    async with sandbox(usd_per_video=0.25) as client:
        query = URL("/v1/models").with_query(id=WAN_1_3B, include="pricing")
        (model,) = (await client.ask("GET", str(query), headers={})).json["data"]
        assert model["id"] == WAN_1_3B
        assert model["pricing"]["kind"] == "fixed"
        assert model["pricing"]["units"] == [{"price": 0.25, "per": "video"}]
        listed = (await client.ask("GET", "/v1/models", headers={})).json["data"]
        assert WAN_1_3B in [model["id"] for model in listed]
        assert "pricing" not in listed[0]


async def test_the_ledger_counts_what_was_asked_and_shows_what_was_taken() -> None:
    async with sandbox() as client:
        generation_id = await client.submit(seed=7)
        await client.ask("POST", FIRST, json={})
        await client.fetch(generation_id)
        await client.ask("GET", "/nothing")
        ledger = (await client.ask("GET", "/sandbox/ledger")).json
        assert ledger["submits"] == 1
        assert ledger["requests"] == {"submit": 2, "fetch": 1, "other": 1, "ledger": 1}
        assert ledger["generations"] == [
            {
                "generation_id": generation_id,
                "client_request_id": None,
                "model": WAN_1_3B,
                "body": BODY | {"seed": 7},
                "created": client.clock.time,
                "status": "queued",
            }
        ]


async def test_a_signed_url_needs_no_key_and_opens_nothing_else() -> None:
    async with sandbox() as client:
        one, other = URL(await client.video_url()), URL(await client.video_url())
        assert (await client.ask("GET", str(one), headers={})).status == 200
        for forged in (
            one.with_path(other.path).with_query(one.query),
            one.update_query(signature="0" * 64),
            one.update_query(signature="ü"),
            one.update_query(expires="99999999999"),
            one.with_query(None),
        ):
            assert_refused(await client.ask("GET", str(forged), headers={}), 403, forged.path)


async def test_a_url_expires_and_fetching_again_gives_a_fresh_one() -> None:
    async with sandbox(url_life_s=3600) as client:
        generation_id = await client.submit()
        client.clock.time += LONG
        first = (await client.fetch(generation_id)).json["video"]["url"]
        client.clock.time += 3601
        answer = await client.ask("GET", first, headers={})
        assert_refused(answer, 403, URL(first).path, "expired")
        fresh = (await client.fetch(generation_id)).json["video"]["url"]
        assert (await client.ask("GET", fresh, headers={})).status == 200


@pytest.mark.parametrize(
    ("range_", "part"),
    [
        ("bytes=0-9", slice(0, 10)),
        ("bytes=100-", slice(100, None)),
        ("bytes=-7", slice(-7, None)),
        ("bytes=5-999999", slice(5, None)),
        ("bytes=-999999", slice(0, None)),
    ],
)
async def test_a_range_answers_its_part_and_where_it_lies(range_: str, part: slice) -> None:
    async with sandbox() as client:
        url = await client.video_url(seed=7)
        whole = await client.ask("GET", url, headers={})
        assert whole.headers["Accept-Ranges"] == "bytes"
        assert whole.headers["Content-Length"] == str(len(whole.body))
        got = await client.ask("GET", url, headers={"Range": range_})
        start, stop, _ = part.indices(len(whole.body))
        assert (got.status, got.body) == (206, whole.body[part])
        assert got.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{len(whole.body)}"
        assert got.headers["ETag"] == whole.headers["ETag"]


@pytest.mark.parametrize("range_", ["bytes=999999-", "bytes=9-5", "bytes=0-1,3-4", "bytes=-"])
async def test_a_range_that_cannot_be_met_answers_416_with_the_length(range_: str) -> None:
    async with sandbox() as client:
        url = await client.video_url()
        size = len((await client.ask("GET", url, headers={})).body)
        answer = await client.ask("GET", url, headers={"Range": range_})
        assert (answer.status, answer.body) == (416, b"")
        assert answer.headers["Content-Range"] == f"bytes */{size}"


async def test_a_range_of_other_bytes_or_other_units_answers_the_whole() -> None:
    async with sandbox() as client:
        url = await client.video_url()
        whole = await client.ask("GET", url, headers={})
        etag = whole.headers["ETag"]
        assert etag.startswith('"')
        part = {"Range": "bytes=10-"}
        for headers in (
            part | {"If-Range": '"other"'},
            part | {"If-Range": f"W/{etag}"},
            part | {"If-Range": "Mon, 01 Jan 2029 00:00:00 GMT"},
            {"Range": "frames=1-2"},
        ):
            answer = await client.ask("GET", url, headers=headers)
            assert (answer.status, answer.body) == (200, whole.body)
        answer = await client.ask("GET", url, headers=part | {"If-Range": etag})
        assert (answer.status, answer.body) == (206, whole.body[10:])


async def test_a_clip_the_client_has_already_answers_304() -> None:
    async with sandbox() as client:
        url = await client.video_url()
        etag = (await client.ask("GET", url, headers={})).headers["ETag"]
        for known in (etag, f'"other", W/{etag}', "*"):
            answer = await client.ask("GET", url, headers={"If-None-Match": known})
            assert (answer.status, answer.body) == (304, b"")
            assert answer.headers["ETag"] == etag
        answer = await client.ask("GET", url, headers={"If-None-Match": '"other"'})
        assert answer.status == 200


async def test_head_tells_the_length_and_gives_no_bytes() -> None:
    async with sandbox() as client:
        url = await client.video_url()
        whole = await client.ask("GET", url, headers={})
        head = await client.ask("HEAD", url, headers={"Range": "bytes=0-1"})
        assert (head.status, head.body) == (200, b"")
        for name in ("Content-Length", "ETag", "Content-Type", "Accept-Ranges"):
            assert head.headers[name] == whole.headers[name]
        assert client.sandbox.account.requests["download"] == 2


async def test_a_clip_asked_for_many_times_at_once_is_drawn_once() -> None:
    drawn: list[str] = []

    def slow(request: ClipRequest) -> bytes:
        time.sleep(0.05)
        drawn.append(threading.current_thread().name)
        return tiny(request)

    shelf = Shelf(slow)
    (generation,) = generations(1)
    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(shelf.clip, generation)
    assert len(drawn) == 1
    assert drawn[0] != threading.current_thread().name


async def test_clips_that_fall_off_the_shelf_are_drawn_again_to_the_same_bytes() -> None:
    drawn: list[ClipRequest] = []

    def render(request: ClipRequest) -> bytes:
        drawn.append(request)
        return b"%100d" % request.seed

    shelf = Shelf(render, limit=250)
    first, second, third = generations(3)
    clip = await shelf.clip(first)
    await shelf.clip(second)
    await shelf.clip(first)  # now the second is the one used longest ago
    await shelf.clip(third)
    await shelf.clip(first)
    assert len(drawn) == 3
    assert await shelf.size(second) == 100
    assert len(drawn) == 3
    await shelf.clip(second)
    assert len(drawn) == 4
    assert (await shelf.clip(first)).etag == clip.etag


def generations(count: int) -> list[Generation]:
    account = Account(SandboxSettings(), "secret")
    for _ in range(count):
        generation = account.draft(Order(WAN_1_3B, dict(BODY)), 0)
        assert isinstance(generation, Generation)
        account.add(generation)
    return list(account.generations.values())


async def test_a_sandbox_on_the_same_journal_knows_every_id_and_url_it_gave(
    tmp_path: Path,
) -> None:
    path = tmp_path / "journal"
    async with sandbox(journal=path) as client:
        url = URL(await client.video_url(seed=7))
        running_still = await client.submit()
        before = (await client.ask("GET", "/sandbox/ledger")).json["generations"]
        data = (await client.ask("GET", str(url), headers={})).body
    async with sandbox(client.clock, journal=path, queue_s=99) as client:
        ledger = (await client.ask("GET", "/sandbox/ledger")).json
        assert ledger["generations"] == before
        assert ledger["submits"] == 2
        moved = url.with_port(client.sandbox.port)
        assert (await client.ask("GET", str(moved), headers={})).body == data
        assert await client.submit() != running_still
        client.clock.time += LONG
        assert (await client.fetch(running_still)).json["status"] == "completed"


def sandbox_of_its_own(journal: Path) -> subprocess.Popen[str]:
    """Start a sandbox in another process; its first line of output is its URL."""
    program = """
import sys, anyio
from pathlib import Path
from batchgen.sandbox import SandboxSettings, running
async def main():
    async with running(SandboxSettings(journal=Path(sys.argv[1])), render=lambda _: b"") as sandbox:
        print(sandbox.url, flush=True)
        await anyio.sleep_forever()
anyio.run(main)
"""
    command = [sys.executable, "-c", program, str(journal)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


async def test_every_id_that_was_answered_survives_sigkill(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    given: list[str] = []
    with sandbox_of_its_own(path) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()

        async def submit_until_the_end(session: aiohttp.ClientSession) -> None:
            while True:
                try:
                    async with session.post(url + FIRST, json=BODY, headers=KEY) as response:
                        given.append((await response.json())["id"])
                except aiohttp.ClientError:
                    return
                if len(given) == 40:
                    os.kill(process.pid, signal.SIGKILL)

        async with aiohttp.ClientSession() as session, anyio.create_task_group() as group:
            for _ in range(8):
                group.start_soon(submit_until_the_end, session)
    assert len(given) >= 40
    async with sandbox(journal=path) as client:
        assert set(given) <= set(client.sandbox.account.generations)


async def test_a_submit_that_cannot_be_written_down_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with sandbox(journal=tmp_path / "journal") as client:
        with monkeypatch.context() as patch:
            patch.setattr(os, "pwrite", lambda *_: 0)
            answer = await client.ask("POST", FIRST, json=BODY)
        assert_refused(answer, 500, FIRST)
        assert client.sandbox.account.submits == 0
        await client.submit()


async def test_a_journal_in_use_keeps_a_second_sandbox_from_starting(tmp_path: Path) -> None:
    async with sandbox(journal=tmp_path / "journal"):
        with pytest.raises(JournalError, match="another sandbox"):
            async with sandbox(journal=tmp_path / "journal"):
                pass


async def test_stopping_leaves_no_task_and_no_listener() -> None:
    before = len(anyio.get_running_tasks())
    async with sandbox() as client:
        await client.submit()
        url = client.sandbox.url
    assert len(anyio.get_running_tasks()) == before
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(url)


async def test_a_cancelled_sandbox_still_closes() -> None:
    url = ""
    with anyio.CancelScope() as scope:
        async with running(SandboxSettings(), render=tiny) as server:
            url = server.url
            scope.cancel()
            await anyio.sleep_forever()
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(url)


async def test_a_port_that_is_taken_is_said_and_nothing_is_left_open() -> None:
    async with sandbox() as client:
        with pytest.raises(OSError, match="address already in use"):
            async with sandbox(port=client.sandbox.port):
                pass


async def test_without_the_media_extra_one_sentence_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real_import = builtins.__import__

    def without_clips(name: str, *rest: Any, **named: Any) -> Any:
        if name == "batchgen.sandbox.clips":
            raise ModuleNotFoundError("No module named 'av'", name="av")
        return real_import(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without_clips)
    with pytest.raises(UsageError, match=r'pip install "batchgen\[media\]"'):
        async with running(SandboxSettings()):
            pass


async def test_the_real_renderer_makes_an_mp4() -> None:
    clock = Clock()
    async with (
        running(SandboxSettings(), clock=clock) as server,
        aiohttp.ClientSession() as session,
    ):
        client = Client(server, clock, session)
        answer = await client.ask("GET", await client.video_url(), headers={})
        assert answer.body[4:8] == b"ftyp"


def test_a_clip_is_drawn_from_the_defaults_of_the_api() -> None:
    (generation,) = generations(1)
    request = clip_request(generation)
    assert request == replace(ClipRequest("a fox"), seed=request.seed)
