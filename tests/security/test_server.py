"""The sandbox is reached from this machine only, and gives nobody more than the API would."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from batchgen.sandbox import FaultPlan, Sandbox, SandboxSettings, running
from tests.security.hostile import clip

pytestmark = pytest.mark.anyio

KEY = "0fCANARY5e8a11d0"
PATH = "/v2/video/generations"
BODY = json.dumps({"model": "m", "prompt": "a fox"}).encode()


@asynccontextmanager
async def sandbox(faults: FaultPlan | None = None) -> AsyncIterator[Sandbox]:
    settings = SandboxSettings(key=KEY, queue_s=0.0, generate_s=0.0)
    async with running(settings, faults=faults, render=lambda _: clip()) as opened:
        yield opened


async def said(port: int, request: bytes, *, limit: int = 100_000) -> tuple[bytes, bytes]:
    """Send bytes as they are; return the head and the body of the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        answer = await asyncio.wait_for(reader.read(limit), 10.0)
        while chunk := await asyncio.wait_for(reader.read(limit), 10.0):
            answer += chunk
    finally:
        writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return head, body


def request(
    method: str,
    path: str,
    *headers: str,
    key: str = KEY,
    body: bytes = b"",
    length: int | None = None,
) -> bytes:
    lines = [
        f"{method} {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Connection: close",
        f"Authorization: Bearer {key}",
        "Content-Type: application/json",
        f"Content-Length: {len(body) if length is None else length}",
        *headers,
    ]
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n" + body


async def test_it_listens_on_this_machine_only_unless_told_otherwise() -> None:
    assert SandboxSettings().host == "127.0.0.1"
    async with sandbox() as opened:
        assert opened.url == f"http://127.0.0.1:{opened.port}"
        with socket.socket() as other:
            # Whoever listened on all addresses would have this one, too.
            other.bind(("127.0.0.2", opened.port))


@pytest.mark.parametrize(
    "path",
    [
        "/files/../../../etc/passwd",
        "/files/..%2f..%2f..%2fetc%2fpasswd",
        "/files/%2e%2e/%2e%2e/etc/passwd",
        "/files/....//....//etc/passwd",
        "/files/..\\..\\etc\\passwd",
        "/files//etc/passwd",
        "/files/%2fetc%2fpasswd",
        "/files/%00",
        "/files/x.mp4%00.txt?expires=9999999999&signature=",
        "/files/.",
        "/files/",
        "/files/journal.jsonl?expires=9999999999&signature=00",
        "/../etc/passwd",
        "//etc/passwd",
        "http://127.0.0.1/files/../../etc/passwd",
    ],
)
async def test_no_path_leads_to_a_file_of_this_machine(path: str) -> None:
    async with sandbox() as opened:
        head, body = await said(opened.port, request("GET", path))
    assert head.split()[1] in (b"400", b"403", b"404")
    assert b"root:" not in body
    assert b"application/json" in head or b"text/plain" in head


async def made(opened: Sandbox) -> str:
    """Make a video; return its signed address."""
    headers = {"Authorization": f"Bearer {KEY}"}
    async with aiohttp.ClientSession(opened.url, headers=headers) as client:
        answer = await (await client.post(PATH, json={"model": "m", "prompt": "a fox"})).json()
        for _ in range(200):
            query = {"generation_id": answer["id"]}
            found = await (await client.get(PATH, params=query)).json()
            if found["video"]:
                return str(found["video"]["url"]).removeprefix(opened.url)
            await asyncio.sleep(0.01)
    raise AssertionError("no video was made")


@pytest.mark.parametrize(
    "forged",
    [
        ("expires=", "expires=9"),
        ("expires=", "expires=-"),
        ("expires=", "expires=nan&x="),
        ("signature=", "signature="),
        ("signature=", "signature=0"),
        ("signature=", "signature=%C3%BC"),
        ("signature=", "signature=%ED%A0%80"),
        ("signature=", "x="),
        ("/files/", "/files/x"),
        ("/files/", "/files/%2e/"),
        (".mp4", ".mp4%0a"),
    ],
    ids=" ".join,
)
async def test_a_signed_address_that_was_changed_opens_nothing(forged: tuple[str, str]) -> None:
    async with sandbox() as opened:
        path = await made(opened)
        head, body = await said(opened.port, request("GET", path, key="none"))
        assert (head.split()[1], body) == (b"200", clip())
        old, new = forged
        changed = (
            path.split("signature=")[0] + new if new == "signature=" else path.replace(old, new)
        )
        assert changed != path
        head, body = await said(opened.port, request("GET", changed, key="none"))
    assert head.split()[1] in (b"400", b"403", b"404")
    assert clip() not in body


@pytest.mark.parametrize(
    "key",
    [
        "",
        KEY[:-1],
        f"{KEY}x",
        KEY.upper(),
        KEY.swapcase(),
        f"{KEY} {KEY}",
        "*",
        "null",
        "\u00fc",
        KEY[::-1],
    ],
)
async def test_no_other_key_is_taken(key: str) -> None:
    asked = ["/v2/logs", "/sandbox/ledger", "/v1/billing/balance", f"{PATH}?generation_id=x"]
    async with sandbox() as opened:
        for method, path in (("POST", PATH), *(("GET", path) for path in asked)):
            head, body = await said(opened.port, request(method, path, key=key, body=BODY))
            assert head.split()[1] == b"401"
            assert KEY.encode() not in head + body
        assert opened.account.submits == 0


@pytest.mark.parametrize(
    "sent",
    [
        "a%0d%0aSet-Cookie: owned=1",
        "a\x0bSet-Cookie: owned=1",
        "a\tSet-Cookie: owned=1",
        "\u00e9\u2028Set-Cookie",
        "<script>alert(1)</script>",
        "x" * 4_000,
        "../../etc/passwd",
    ],
)
async def test_no_request_id_comes_back_as_a_header_or_is_kept(sent: str) -> None:
    async with sandbox() as opened:
        head, body = await said(
            opened.port, request("POST", PATH, f"X-Client-Request-Id: {sent}", body=BODY)
        )
        kept = [each.order.client_request_id for each in opened.account.generations.values()]
    assert b"Set-Cookie" not in head
    assert b"script" not in head + body
    assert kept in ([], [None])


@pytest.mark.parametrize("style", ["slash", "percent", "query", "long", "control"])
async def test_an_odd_id_adds_no_header(style: str) -> None:
    rule = {"on": "submit", "do": "odd_id", "style": style}
    async with sandbox(FaultPlan.model_validate({"faults": [rule]})) as opened:
        head, body = await said(opened.port, request("POST", PATH, body=BODY))
    names = {line.split(b":")[0].lower() for line in head.split(b"\r\n")[1:]}
    assert names <= {
        b"x-inference-id", b"x-aimlapi-credits-used", b"x-aimlapi-usd-spent", b"content-type",
        b"content-length", b"date", b"server", b"connection",
    }  # fmt: skip
    assert json.loads(body)["id"]


async def test_a_body_without_an_end_is_cut_off_at_its_bound() -> None:
    chunk = b"10000\r\n" + bytes(0x10000) + b"\r\n"
    whole = request("POST", PATH, "Transfer-Encoding: chunked").replace(
        b"Content-Length: 0\r\n", b""
    )
    async with sandbox() as opened:
        reader, writer = await asyncio.open_connection("127.0.0.1", opened.port)
        writer.write(whole + 40 * chunk)
        status = await asyncio.wait_for(reader.readline(), 10.0)
        writer.close()
        assert opened.account.submits == 0
    assert status.split()[1] == b"413"


@pytest.mark.parametrize("path", ["/<script>alert(1)</script>", "/%3Cscript%3E", f"{PATH}/<b>"])
async def test_an_address_that_is_repeated_is_no_page(path: str) -> None:
    async with sandbox() as opened:
        head, _ = await said(opened.port, request("GET", path))
    assert head.split()[1] in (b"400", b"404")
    assert b"text/html" not in head


async def test_a_page_of_another_site_can_submit_nothing() -> None:
    async with sandbox() as opened:
        form = request("POST", PATH, "Origin: https://evil.example", body=BODY).replace(
            b"application/json", b"text/plain"
        )
        head, _ = await said(opened.port, form)
        assert head.split()[1] in (b"400", b"415")
        ask = request("OPTIONS", PATH, "Origin: https://evil.example",
                      "Access-Control-Request-Method: POST", key="")  # fmt: skip
        head, _ = await said(opened.port, ask)
        assert b"Access-Control-Allow" not in head
        assert opened.account.submits == 0
