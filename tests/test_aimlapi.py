"""The AI/ML API over real sockets: one POST a submit, and the key goes nowhere else."""

import asyncio
import gzip
import json
import logging
import socket
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from batchgen.errors import ProviderRefused
from batchgen.job import Job, Output, Prompt, ProviderSettings, TimeoutSettings
from batchgen.models import WAN_1_3B
from batchgen.outcomes import (
    Accepted,
    Answered,
    Completed,
    Interrupted,
    LookUp,
    NotSent,
    Pending,
    Unusable,
)
from batchgen.providers.aimlapi import MAX_BODY_BYTES, AimlApi, Secret, connect
from batchgen.providers.opening import find_key, open_provider
from batchgen.rundir import RunDirectory
from batchgen.sandbox import FaultPlan, SandboxSettings, running

pytestmark = pytest.mark.anyio

CANARY = "sk-canary/5f3a+91c7=e2"
ID = "961fc4df:wan/v2.1/1.3b/text-to-video"
BODY = b'{"model":"m","prompt":"a fox"}'
TURBO = "alibaba/wan2.1-t2v-turbo"
SOON = TimeoutSettings(request=0.3, submit=0.2)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def api(
    answer: Callable[[web.Request], Awaitable[web.StreamResponse]],
    *,
    model: str = WAN_1_3B,
    key: str = CANARY,
    timeouts: TimeoutSettings | None = None,
) -> AsyncIterator[AimlApi]:
    """Serve every path with one handler and connect to it."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(app, host="127.0.0.1") as server:
        base = str(server.make_url("")).rstrip("/")
        async with connect(base, Secret(key), model, timeouts or TimeoutSettings()) as provider:
            yield provider


@asynccontextmanager
async def raw_api(
    answer: bytes, *, hang: float = 0.0, reset: bool = False, timeouts: TimeoutSettings = SOON
) -> AsyncIterator[tuple[AimlApi, list[bytes]]]:
    """Serve these bytes to every request, then close, reset or wait."""
    requests: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            requests.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(answer)
            await writer.drain()
            await asyncio.sleep(hang)
            if reset:
                # An abortive close: the peer reads ECONNRESET.
                linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
                writer.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, linger
                )
                writer.transport.abort()
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        base = f"http://127.0.0.1:{port}"
        async with connect(base, Secret(CANARY), WAN_1_3B, timeouts) as provider:
            yield provider, requests


def http(head: str, body: bytes = b"", length: int | None = None) -> bytes:
    """Spell an answer; `length` may lie."""
    size = len(body) if length is None else length
    return f"HTTP/1.1 {head}\r\nContent-Length: {size}\r\n\r\n".encode() + body


@pytest.mark.parametrize(
    ("model", "path"),
    [(WAN_1_3B, "/v2/generate/video/alibaba/generation"), (TURBO, "/v2/video/generations")],
)
async def test_a_submit_posts_the_body_with_the_key_and_its_request_id_to_the_model_s_path(
    model: str, path: str
) -> None:
    seen: list[tuple[str, str, dict[str, str], bytes]] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append((request.method, request.path, dict(request.headers), await request.read()))
        return web.json_response({"id": ID, "status": "queued"})

    async with api(answer, model=model) as provider:
        assert await provider.submit(BODY, "task.1f") == Accepted(ID)
    [(method, seen_path, headers, body)] = seen
    assert (method, seen_path, body) == ("POST", path, BODY)
    assert headers["Authorization"] == f"Bearer {CANARY}"
    assert headers["X-Client-Request-Id"] == "task.1f"
    assert headers["Content-Type"] == "application/json"
    assert "Cookie" not in headers


@pytest.mark.parametrize("status", [200, 201])
@pytest.mark.parametrize("name", ["id", "generation_id"])
async def test_a_submit_is_taken_with_either_status_and_either_name_of_the_id(
    status: int, name: str
) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.json_response({name: ID}, status=status)

    async with api(answer) as provider:
        assert await provider.submit(BODY, "a") == Accepted(ID)


@pytest.mark.parametrize("body", [b"", b'{"id": "96', b"<html>ok</html>"])
async def test_the_id_in_the_head_serves_where_the_body_is_cut(body: bytes) -> None:
    async with raw_api(http(f"200 OK\r\nX-Inference-Id: {ID}", body)) as (provider, _):
        assert await provider.submit(BODY, "a") == Accepted(ID)


async def test_a_submit_whose_answer_breaks_off_behind_a_head_with_the_id_is_not_in_doubt() -> None:
    broken = http(f"200 OK\r\nX-Inference-Id: {ID}", b'{"id"', length=500)
    async with raw_api(broken, reset=True) as (provider, requests):
        assert await provider.submit(BODY, "a") == Accepted(ID)
        assert isinstance(await provider.fetch(ID), Interrupted)
    assert len(requests) == 2


@pytest.mark.parametrize(
    "generation_id", [ID, "a/b:c?d&e=%2f#g+h", "a\r\nX: y", "id" * 500, "../.."]
)
async def test_an_id_of_any_signs_reaches_the_server_as_it_is(generation_id: str) -> None:
    seen: list[tuple[str, str, dict[str, str]]] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append((request.method, request.path, dict(request.query)))
        return web.json_response({"status": "completed", "video": {"url": "https://h/x.mp4"}})

    async with api(answer) as provider:
        assert await provider.fetch(generation_id) == Completed("https://h/x.mp4")
    query = {"generation_id": generation_id}
    assert seen == [("GET", "/v2/generate/video/alibaba/generation", query)]


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "no-such-host.invalid"])
async def test_a_submit_to_a_host_that_is_not_there_was_not_sent(host: str) -> None:
    base = "http://" + host.format(port=closed_port())
    async with connect(base, Secret(CANARY), WAN_1_3B, TimeoutSettings()) as provider:
        assert isinstance(await provider.submit(BODY, "a"), NotSent)
        assert isinstance(await provider.fetch(ID), NotSent)
        assert await provider.find(["a"], 0.0) == LookUp({}, whole=False)
        assert isinstance(await provider.price(), NotSent)


async def test_a_submit_to_a_host_that_speaks_no_tls_was_not_sent() -> None:
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(5_000))
        writer.write(http("400 This is plain HTTP"))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        base = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with connect(base, Secret(CANARY), WAN_1_3B, TimeoutSettings()) as provider:
            assert isinstance(await provider.submit(BODY, "a"), NotSent)
    assert len(heard) == 1
    assert b"canary" not in heard[0]


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\nContent-", http("200 OK", b"{", 90)])
async def test_a_submit_that_is_reset_after_it_left_is_interrupted(said: bytes) -> None:
    async with raw_api(said, reset=True) as (provider, requests):
        assert isinstance(await provider.submit(BODY, "a"), Interrupted)
    assert len(requests) == 1


async def test_a_submit_that_is_closed_without_an_answer_is_interrupted_and_not_repeated() -> None:
    async with raw_api(b"") as (provider, requests):
        assert isinstance(await provider.submit(BODY, "a"), Interrupted)
    assert len(requests) == 1


@pytest.mark.parametrize("said", [b"", http("200 OK", b'{"id"', length=100)])
async def test_a_submit_that_is_not_answered_in_time_is_interrupted(said: bytes) -> None:
    async with raw_api(said, hang=1.0) as (provider, requests):
        assert await provider.submit(BODY, "a") == Interrupted("no answer in time")
        assert await provider.fetch(ID) == Interrupted("no answer in time")
    assert len(requests) == 2


@pytest.mark.parametrize("body", [b'{"id": "961fc4df-c6', b"", b"<h1>hi</h1>", b'{"status": "x"}'])
async def test_a_2xx_without_an_id_is_unusable(body: bytes) -> None:
    async with raw_api(http("200 OK", body)) as (provider, requests):
        assert isinstance(await provider.submit(BODY, "a"), Unusable)
    assert len(requests) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_of_a_submit_is_not_followed(status: int) -> None:
    seen: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(f"{request.method} {request.path}")
        return web.Response(status=status, headers={"Location": "/elsewhere"})

    async with api(answer) as provider:
        assert await provider.submit(BODY, "a") == Answered(status)
        assert await provider.fetch(ID) == Answered(status)
    assert [line.split()[0] for line in seen] == ["POST", "GET"]
    assert not any("elsewhere" in line for line in seen)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 502, 503, 504])
async def test_an_error_is_an_answer_with_the_server_s_words_and_the_post_is_made_once(
    status: int,
) -> None:
    posts = 0

    async def answer(_: web.Request) -> web.Response:
        nonlocal posts
        posts += 1
        return web.json_response(
            {"message": "no", "statusCode": str(status)},
            status=status,
            headers={"Retry-After": "3"},
        )

    async with api(answer) as provider:
        assert await provider.submit(BODY, "a") == Answered(status, "no", 3.0)
    assert posts == 1


async def test_every_post_has_a_connection_of_its_own_and_queries_share_one() -> None:
    peers: dict[str, list[Any]] = {"POST": [], "GET": []}

    async def answer(request: web.Request) -> web.Response:
        assert request.transport is not None
        peers[request.method].append(request.transport.get_extra_info("peername"))
        return web.json_response({"id": ID, "status": "queued"})

    async with api(answer) as provider:
        for _ in range(3):
            assert isinstance(await provider.submit(BODY, "a"), Accepted)
            assert await provider.fetch(ID) == Pending("queued", queued=True)
    assert len(set(peers["POST"])) == 3
    assert len(set(peers["GET"])) == 1
    assert not set(peers["POST"]) & set(peers["GET"])


async def test_a_server_that_closes_idle_connections_leaves_no_submit_in_doubt() -> None:
    said = http("200 OK\r\nConnection: keep-alive", json.dumps({"id": ID}).encode())
    async with raw_api(said) as (provider, _):
        for _ in range(5):
            assert await provider.submit(BODY, "a") == Accepted(ID)
            await asyncio.sleep(0.01)


async def test_a_body_over_the_cap_is_not_read_to_its_end() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            for _ in range(1_000):
                await response.write(b'{"id": "x"}' + b" " * (1 << 20))
        except ConnectionError:
            pass
        else:
            pytest.fail("it was read to its end")
        return response

    async with api(answer) as provider:
        assert isinstance(await provider.submit(BODY, "a"), Unusable)
        assert isinstance(await provider.fetch(ID), Unusable)


async def test_a_small_body_that_unpacks_to_a_huge_one_is_not_taken() -> None:
    bomb = gzip.compress(b'{"id": "x"}' + b" " * (MAX_BODY_BYTES * 32))

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=bomb, headers={"Content-Encoding": "gzip"})

    async with api(answer) as provider:
        assert not isinstance(await provider.submit(BODY, "a"), Accepted)


async def test_cookies_are_neither_kept_nor_sent() -> None:
    async def answer(request: web.Request) -> web.Response:
        assert "Cookie" not in request.headers
        response = web.json_response({"id": ID, "status": "queued"})
        response.set_cookie("session", "1")
        return response

    async with api(answer) as provider:
        await provider.submit(BODY, "a")
        await provider.fetch(ID)
        assert await provider.fetch(ID) == Pending("queued", queued=True)


def spelled_with_escapes(key: str) -> str:
    return key.replace("/", "\\/").replace("k", "\\u006b")


ECHOES = {
    "a message": http("400 X", json.dumps({"message": f"bad key {CANARY}!"}).encode()),
    "a plain text": http("400 X", f"bad key {CANARY}".encode()),
    "escapes": http("400 X", f'{{"message": "{spelled_with_escapes(CANARY)}"}}'.encode()),
    "far back in a text": http("400 X", b"x" * 185 + CANARY.encode()),
    "far back in a message": http("400 X", json.dumps({"message": "x" * 490 + CANARY}).encode()),
    "an error's name": http(
        "200 X", json.dumps({"status": "error", "error": {"message": CANARY}}).encode()
    ),
    "a status": http("200 X", json.dumps({"status": CANARY}).encode()),
    "an address": http(
        "200 X",
        json.dumps({"status": "completed", "video": {"url": f"https://h/{CANARY}"}}).encode(),
    ),
    "an id": http("200 X", json.dumps({"id": CANARY}).encode()),
    "the id in the head": http(f"200 X\r\nX-Inference-Id: {CANARY}"),
    "a broken head": f"HTTP/1.1 200 OK\r\nBearer {CANARY}\r\n\r\n".encode(),
    "a broken status": f"HTTP/1.1 {CANARY}\r\n\r\n".encode(),
    "a broken chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    + CANARY.encode()
    + b"\r\n\r\n",
}


@pytest.mark.parametrize("where", ECHOES)
async def test_a_server_that_repeats_the_key_gets_it_into_no_outcome(
    where: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with raw_api(ECHOES[where]) as (provider, _):
        for outcome in (await provider.submit(BODY, "a"), await provider.fetch(ID)):
            assert CANARY[:9] not in repr(outcome)
    assert CANARY not in caplog.text


async def test_no_representation_and_no_traceback_shows_the_key() -> None:
    key = Secret(CANARY)
    async with connect("http://127.0.0.1:1", key, WAN_1_3B, SOON) as provider:
        for shown in (repr(key), str(key), f"{key}", repr(provider), f"{[key]}"):
            assert "canary" not in shown
        task = asyncio.ensure_future(provider.submit(BODY, "a"))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as cancelled:
            await task
        assert "canary" not in "".join(traceback.format_exception(cancelled.value))
        assert "canary" not in repr(await provider.submit(BODY, "a"))


async def test_a_sandbox_key_of_a_few_signs_spoils_no_honest_answer() -> None:
    url = "http://127.0.0.1/sandbox/x.mp4"

    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"status": "completed", "video": {"url": url}})

    async with api(answer, key="sandbox") as provider:
        assert await provider.fetch(ID) == Completed(url)


async def test_the_price_is_asked_for_without_the_key() -> None:
    seen: list[web.BaseRequest] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request)
        units = [{"price": 0.06, "per": "video"}]
        pricing = {"kind": "fixed", "currency": "USD", "units": units}
        return web.json_response({"data": [{"id": WAN_1_3B, "pricing": pricing}]})

    async with api(answer) as provider:
        assert await provider.price() == 0.06
    [request] = seen
    assert request.path == "/v1/models"
    assert dict(request.query) == {"id": WAN_1_3B, "include": "pricing"}
    assert "Authorization" not in request.headers


@pytest.mark.parametrize("status", [404, 403, 302, 429, 500, 503])
async def test_a_price_that_is_not_told_is_none_and_one_that_may_come_is_waited_for(
    status: int,
) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, headers={"Location": "/"})

    async with api(answer) as provider:
        assert await provider.price() == (Answered(status) if status >= 429 else None)


def log_of(
    rows: list[tuple[str, str]], seen: list[dict[str, str]], **headers: str
) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(request: web.Request) -> web.Response:
        assert request.path == "/v2/logs"
        assert request.headers["Authorization"] == f"Bearer {CANARY}"
        seen.append(dict(request.query))
        offset, limit = int(request.query["offset"]), int(request.query["limit"])
        assert limit <= 100
        page = [
            {"client_request_id": sent, "inference_id": f"id-{sent}", "created": created}
            for sent, created in rows[offset : offset + limit]
        ]
        more = offset + limit < len(rows)
        body = {"data": page, "pagination": {"has_more": more}}
        return web.json_response(body, headers=headers)

    return answer


def http_date(seconds: float) -> str:
    return format_datetime(datetime.fromtimestamp(seconds, UTC), usegmt=True)


NOON = float(int(time.time()) - 3600)
"""An hour ago: the log is asked about 92 days at most."""
EARLIER = datetime.fromtimestamp(NOON - 300, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
LONG_AGO = datetime.fromtimestamp(NOON - 9e5, UTC).isoformat()
LATER = datetime.fromtimestamp(NOON + 600, UTC).isoformat()


async def test_submits_are_found_on_any_page_of_the_log() -> None:
    seen: list[dict[str, str]] = []
    rows = [(f"r{number}", LATER) for number in range(350)]
    async with api(log_of(rows, seen)) as provider:
        found = await provider.find(["r5", "r349", "never sent"], NOON)
    assert found == LookUp({"r5": "id-r5", "r349": "id-r349"}, whole=True)
    assert [page["offset"] for page in seen] == ["0", "100", "200", "300"]
    assert {page["start"] for page in seen} == {EARLIER}


async def test_the_log_is_asked_about_by_the_time_given_and_a_little_past_it() -> None:
    """The provider's clock may be ahead of ours, also just after a crash."""
    seen: list[dict[str, str]] = []
    clock_on_the_wall = NOON + 1e6
    app = web.Application()
    app.router.add_get("/v2/logs", log_of([], seen, Date=http_date(clock_on_the_wall)))
    async with TestServer(app, host="127.0.0.1") as server:
        base = str(server.make_url("")).rstrip("/")
        async with connect(
            base, Secret(CANARY), WAN_1_3B, SOON, lambda: clock_on_the_wall
        ) as provider:
            await provider.find(["a"], clock_on_the_wall)
    (page,) = seen
    assert datetime.fromisoformat(page["start"]).timestamp() == clock_on_the_wall - 300
    assert datetime.fromisoformat(page["end"]).timestamp() == clock_on_the_wall + 300


@pytest.mark.parametrize("ahead", [1_200.0, -1_200.0, -7_000.0])
async def test_the_log_is_asked_about_by_the_provider_s_own_clock(ahead: float) -> None:
    seen: list[dict[str, str]] = []

    async def poll(_: web.Request) -> web.Response:
        date = http_date(time.time() + ahead)
        return web.json_response({"status": "queued"}, headers={"Date": date})

    app = web.Application()
    app.router.add_get("/v2/generate/video/alibaba/generation", poll)
    app.router.add_get("/v2/logs", log_of([], seen, Date=http_date(time.time() + ahead)))
    async with TestServer(app, host="127.0.0.1") as server:
        base = str(server.make_url("")).rstrip("/")
        async with connect(base, Secret(CANARY), WAN_1_3B, TimeoutSettings()) as provider:
            assert provider.clock_offset is None
            for _ in range(3):
                await provider.fetch(ID)
            assert provider.clock_offset == pytest.approx(ahead, abs=5)
            assert await provider.find(["a"], NOON) == LookUp({}, whole=True)
    (page,) = seen
    start, end = (datetime.fromisoformat(page[key]).timestamp() for key in ("start", "end"))
    assert start == pytest.approx(NOON + ahead - 300, abs=5)
    assert end == pytest.approx(time.time() + ahead + 300, abs=30)


async def test_a_log_whose_first_answer_shows_another_time_is_read_again_by_that_time() -> None:
    seen: list[dict[str, str]] = []
    ahead = 1_200.0
    rows = log_of([("a", LATER)], seen, Date=http_date(time.time() + ahead))

    async def answer(request: web.Request) -> web.Response:
        if datetime.fromisoformat(request.query["end"]).timestamp() < time.time() + ahead:
            seen.append(dict(request.query))
            empty = {"data": [], "pagination": {"has_more": False}}
            return web.json_response(empty, headers={"Date": http_date(time.time() + ahead)})
        return await rows(request)

    async with api(answer) as provider:
        assert await provider.find(["a"], time.time()) == LookUp({"a": "id-a"}, whole=True)
    assert len(seen) == 2


async def test_a_log_whose_clock_is_anybody_s_guess_proves_nothing_of_what_it_does_not_list() -> (
    None
):
    clocks = iter(range(3_600, 86_400, 3_600))

    async def answer(_: web.Request) -> web.Response:
        date = http_date(time.time() + next(clocks))
        empty = {"data": [], "pagination": {"has_more": False}}
        return web.json_response(empty, headers={"Date": date})

    async with api(answer) as provider:
        assert await provider.find(["a"], NOON) == LookUp({}, whole=False)


async def test_every_page_of_a_look_up_waits_for_the_pace() -> None:
    seen: list[dict[str, str]] = []
    paced: list[int] = []

    async def pace() -> None:
        paced.append(len(seen))

    async with api(log_of([(f"r{number}", LATER) for number in range(250)], seen)) as provider:
        await provider.find(["r249"], NOON, pace)
    assert paced == [0, 1, 2]


@pytest.mark.parametrize("status", [429, 503])
async def test_a_date_to_wait_for_is_by_the_provider_s_clock(status: int) -> None:
    there = time.time() + 1_200

    async def answer(_: web.Request) -> web.Response:
        head = {"Date": http_date(there), "Retry-After": http_date(there + 3)}
        return web.Response(status=status, headers=head)

    async with api(answer) as provider:
        assert await provider.fetch(ID) == Answered(status, retry_after=3.0)
        assert await provider.submit(BODY, "a") == Answered(status, retry_after=3.0)


@pytest.mark.parametrize("head", ["", "Date: never\r\n"])
async def test_a_date_to_wait_for_in_an_answer_without_its_own_is_by_our_clock(head: str) -> None:
    until = http_date(time.time() + 60)
    async with raw_api(http(f"429 Busy\r\n{head}Retry-After: {until}")) as (provider, _):
        outcome = await provider.fetch(ID)
    assert isinstance(outcome, Answered)
    assert outcome.retry_after == pytest.approx(59, abs=5)


@pytest.mark.parametrize("ahead", ["20m", "-20m", "0s"])
@pytest.mark.parametrize("polls", [0, 5])
async def test_a_lost_submit_is_found_whatever_the_time_is_at_the_provider(
    ahead: str, polls: int
) -> None:
    lost: dict[str, object] = {"on": "submit", "do": "lose_answer"}
    plan = FaultPlan.model_validate({"clock_ahead": ahead, "faults": [lost]})
    body = b'{"model":"%s","prompt":"a fox"}' % WAN_1_3B.encode()
    async with running(SandboxSettings(), faults=plan, render=lambda _: b"") as sandbox:
        at = time.time()
        async with connect(sandbox.url, Secret("k"), WAN_1_3B, TimeoutSettings()) as provider:
            assert isinstance(await provider.submit(body, "lost"), Interrupted)
            for _ in range(polls):
                await provider.fetch("unknown")
            assert (await provider.find(["lost"], at)).found.keys() == {"lost"}
            assert await provider.find(["never sent"], at) == LookUp({}, whole=True)


async def test_the_look_up_ends_once_all_are_found() -> None:
    seen: list[dict[str, str]] = []
    rows = [(f"r{number}", LATER) for number in range(350)]
    async with api(log_of(rows, seen)) as provider:
        assert await provider.find({"r120"}, NOON) == LookUp({"r120": "id-r120"}, whole=True)
    assert len(seen) == 2


async def test_the_look_up_ends_at_rows_that_are_too_old_although_the_server_has_more() -> None:
    seen: list[dict[str, str]] = []
    rows = [(f"r{number}", LONG_AGO) for number in range(350)]
    async with api(log_of(rows, seen)) as provider:
        assert await provider.find(["r300"], NOON) == LookUp({}, whole=True)
    assert len(seen) == 1


@pytest.mark.parametrize(
    "page", ["<html>sign in</html>", '{"data": [', "[]", '{"error": "try later"}', " " * 2_000_000]
)
async def test_a_page_that_is_no_page_of_the_log_proves_nothing_of_a_submit(page: str) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=page)

    async with api(answer) as provider:
        assert await provider.find(["a"], NOON) == LookUp({}, whole=False)


async def test_what_was_found_before_the_log_fails_is_kept() -> None:
    calls = 0
    page = log_of([(f"r{number}", LATER) for number in range(350)], [])

    async def answer(request: web.Request) -> web.Response:
        nonlocal calls
        calls += 1
        if calls == 2:
            return web.Response(status=429)
        response = await page(request)
        assert isinstance(response, web.Response)
        return response

    async with api(answer) as provider:
        assert await provider.find(["r1", "r300"], NOON) == LookUp({"r1": "id-r1"}, whole=False)


async def test_a_row_without_a_usable_id_is_neither_found_nor_absent() -> None:
    async def answer(_: web.Request) -> web.Response:
        ids = {"a": "id-a", "b": None, "c": "x\ny", "not asked for": None}
        rows = [{"client_request_id": sent, "inference_id": given} for sent, given in ids.items()]
        return web.json_response({"data": rows, "pagination": {"has_more": False}})

    async with api(answer) as provider:
        log = await provider.find(["a", "b", "c", "d"], NOON)
    assert log == LookUp({"a": "id-a"}, whole=True, without_id=frozenset({"b", "c"}))


async def test_a_submit_older_than_the_log_can_be_asked_about_is_not_absent_from_it() -> None:
    old, now = NOON - 93 * 86_400.0, NOON + 3600.0
    async with api(log_of([("x", LATER)], [])) as provider:
        log = await provider.find(["a", "b", "x"], old)
        assert log.whole
        assert not log.lacks("a", old)
        assert log.lacks("b", now)
        assert not log.lacks("x", now), "it is there"
        assert (await provider.find(["b"], NOON)).lacks("b", NOON)


async def test_a_log_without_an_end_is_left_after_a_bounded_number_of_pages() -> None:
    calls = 0

    async def answer(_: web.Request) -> web.Response:
        nonlocal calls
        calls += 1
        return web.json_response({"data": [{}], "pagination": {"has_more": True}})

    async with api(answer) as provider:
        assert await provider.find(["a"], NOON) == LookUp({}, whole=False)
    assert calls == 100


def job(kind: str, **more: Any) -> Job:
    settings = ProviderSettings(kind=kind, **more)
    return Job("j", (Prompt("a fox"),), Output(Path("unused")), provider=settings)


def test_the_key_is_taken_from_the_documentation_s_name_first_and_stripped() -> None:
    both = {"AIMLAPI_KEY": f" {CANARY}\n", "AIML_API_KEY": "other"}
    assert find_key(job("aimlapi").provider, both).value == CANARY
    assert find_key(job("aimlapi").provider, {"AIML_API_KEY": "other"}).value == "other"
    assert find_key(job("aimlapi").provider, {**both, "AIMLAPI_KEY": " "}).value == "other"


def test_a_job_that_names_a_place_takes_the_key_from_there_only() -> None:
    settings = job("aimlapi", api_key_env="MINE").provider
    assert find_key(settings, {"MINE": "mine-key", "AIMLAPI_KEY": "x"}).value == "mine-key"
    with pytest.raises(ProviderRefused, match="MINE"):
        find_key(settings, {"AIMLAPI_KEY": "x"})


@pytest.mark.parametrize("bad", [f"{CANARY} x", f"{CANARY}\x7f", f"{CANARY}é", f"{CANARY}\nX: y"])
def test_a_key_with_a_sign_no_key_has_is_refused_without_showing_it(bad: str) -> None:
    with pytest.raises(ProviderRefused, match="AIMLAPI_KEY") as refused:
        find_key(job("aimlapi").provider, {"AIMLAPI_KEY": bad})
    assert "canary" not in str(refused.value)


async def test_a_sandbox_elsewhere_is_opened_at_its_address_without_a_key_of_one_s_own(
    tmp_path: Path,
) -> None:
    settings = job("sandbox", base_url="http://127.0.0.1:9")
    async with open_provider(settings, RunDirectory(tmp_path), {}) as provider:
        assert provider.base_url == "http://127.0.0.1:9"


async def test_a_rehearsal_of_a_large_job_does_not_run_out_of_credits(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path / "run")
    directory.create()
    async with open_provider(job("sandbox"), directory, {}) as provider:
        assert isinstance(provider, AimlApi)
        async with (
            aiohttp.ClientSession(headers=provider._authorization()) as session,
            session.get(f"{provider.base_url}/v1/billing/balance") as answer,
        ):
            balance = (await answer.json())["balance"]
    videos = balance / 120_000
    assert videos > 1_000_000
