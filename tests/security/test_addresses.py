"""A video's address is a stranger's word: it leads to public hosts over TLS, or nowhere."""

import asyncio
from pathlib import Path

import pytest
from aiohttp import web

from batchgen.outcomes import NotSent, Trouble, Unusable
from batchgen.part import Part
from batchgen.sandbox.clips import ClipRequest, render
from batchgen.transfer import Saved, open_transfer
from batchgen.urls import literal_address
from tests.security.internet import CDN, PUBLIC, Internet, internet

pytestmark = pytest.mark.anyio

API = "https://api.example"
SIGNED = "?Signature=s3cr3t"
SPELLINGS = [
    "127.0.0.1",
    "127.0.0.1.",
    "127.0.0.01",
    "0177.0.0.1",
    "0x7f.0.0.1",
    "0x7F.0x1",
    "017700000001",
    "2130706433",
    "127.1",
    "127.0.1",
    "0",
    "0x0",
    "0.0.0.0",
    "127.255.255.254",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "127\N{IDEOGRAPHIC FULL STOP}0\N{IDEOGRAPHIC FULL STOP}0\N{IDEOGRAPHIC FULL STOP}1",
    "127\N{FULLWIDTH FULL STOP}0\N{HALFWIDTH IDEOGRAPHIC FULL STOP}0.1",
    "\N{FULLWIDTH DIGIT ONE}\N{FULLWIDTH DIGIT TWO}\N{FULLWIDTH DIGIT SEVEN}.0.0.1",
    "\N{CIRCLED DIGIT ONE}\N{CIRCLED DIGIT TWO}\N{CIRCLED DIGIT SEVEN}.0.0.1",
    "\N{FULLWIDTH LATIN SMALL LETTER L}ocalhost",
    "127%2e0%2e0%2e1",
    "127.0.0.1%00",
    "127.0.0.1%20",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[::1%25lo]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1%25lo]",
    "[::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]",
    "user@127.0.0.1",
    "user:secret@127.0.0.1",
    f"{CDN}@127.0.0.1",
    f"{CDN}:443@127.0.0.1",
    f"{CDN}%40@127.0.0.1",
    f"{CDN}\\@127.0.0.1",
    f"127.0.0.1\\@{CDN}",
    f"{CDN} @127.0.0.1",
]
"""This machine, as strangers may write it; `https://` goes before and a port behind each."""
NO_WEB = [
    "file:///etc/passwd",
    "file://127.0.0.1/etc/passwd",
    "FILE:///etc/passwd",
    "data:video/mp4;base64,AAAA",
    "ftp://127.0.0.1:{port}/x.mp4",
    "javascript:alert(1)",
    "gopher://127.0.0.1:{port}/_GET",
    "ws://127.0.0.1:{port}/",
    "wss://127.0.0.1:{port}/",
    "unix:///run/docker.sock",
    "http+unix://%2Frun%2Fdocker.sock/",
    "blob:https://127.0.0.1:{port}/",
    "https:127.0.0.1:{port}/x.mp4",
    "https:/\\127.0.0.1:{port}/x.mp4",
    "https:///127.0.0.1:{port}/x.mp4",
    "http://cdn.example/x.mp4",
    "http://127.0.0.1:{port}/x.mp4",
    "https://",
    "https://:{port}/",
    "https://[::1/",
    "https://cdn.example:99999/",
]
"""What is no public https address at all; `{port}` is where this machine listens."""
PRIVATE = [
    "127.0.0.1",
    "0.0.0.0",
    "10.1.2.3",
    "172.31.255.255",
    "192.168.0.1",
    "169.254.169.254",
    "100.100.100.200",
    "192.0.0.170",
    "198.19.0.1",
    "203.0.113.7",
    "240.0.0.1",
    "255.255.255.255",
    "224.0.0.251",
    "::1",
    "::",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:a00:1::1",
    "2001:0:7f00:1::",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1%1",
    "ff02::fb",
    "2001:db8::1",
]
"""Where a name of the public may lead, although nothing of the public is there."""


@pytest.fixture
def part(tmp_path: Path) -> Part:
    return Part(tmp_path / "a.part")


async def fetched(url: str, part: Part, base_url: str = API) -> Saved | Trouble:
    async with open_transfer(base_url=base_url, seconds=5.0) as transfer:
        return await transfer.fetch(url, part)


async def page(_: web.Request) -> web.Response:
    return web.Response(body=b"no video")


def stayed_outside(box: Internet, result: Saved | Trouble, part: Part) -> None:
    """Hold a fetch to this: nobody but the public host was spoken to, and no query is told."""
    assert set(box.connected) <= {PUBLIC}
    assert box.trapped == []
    assert not isinstance(result, Saved)
    assert "s3cr3t" not in repr(result)
    assert not part.path.exists() or part.path.read_bytes() == b"no video"


async def test_the_box_gives_a_public_video_to_who_asks_for_it(
    part: Part, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = render(ClipRequest("a fox", width=160, height=96))

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=video)

    async with internet(monkeypatch, answer) as box:
        assert isinstance(await fetched(f"https://{CDN}/x.mp4{SIGNED}", part), Saved)
    assert (box.connected, len(box.requests)) == ([PUBLIC], 1)


async def test_the_box_s_trap_snaps_where_the_api_is_on_this_machine(
    part: Part, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with internet(monkeypatch, page) as box:
        await fetched(f"http://127.0.0.1:{box.trap}/x.mp4", part, "http://127.0.0.1:1")
        assert box.trapped


@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_no_spelling_of_this_machine_leads_to_it(
    part: Part, monkeypatch: pytest.MonkeyPatch, spelling: str
) -> None:
    async with internet(monkeypatch, page) as box:
        result = await fetched(f"https://{spelling}:{box.trap}/x.mp4{SIGNED}", part)
        stayed_outside(box, result, part)


@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_no_redirect_of_a_public_host_leads_to_this_machine(
    part: Part, monkeypatch: pytest.MonkeyPatch, spelling: str
) -> None:
    async def answer(_: web.Request) -> web.Response:
        target = f"https://{spelling}:{box.trap}/x.mp4{SIGNED}"
        return web.Response(status=302, headers={"Location": target})

    async with internet(monkeypatch, answer) as box:
        result = await fetched(f"https://{CDN}/x.mp4", part)
        stayed_outside(box, result, part)
        assert box.requests
    if literal_address(spelling.strip("[]")):
        assert isinstance(result, Unusable), "no pause of the host would change what it says"


@pytest.mark.parametrize("address", NO_WEB)
async def test_only_https_is_spoken(
    part: Part, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    async with internet(monkeypatch, page) as box:
        result = await fetched(address.format(port=box.trap), part)
        stayed_outside(box, result, part)
        assert box.connected == []


@pytest.mark.parametrize("status", [301, 307, 308])
@pytest.mark.parametrize("address", NO_WEB)
async def test_no_redirect_leaves_https(
    part: Part, monkeypatch: pytest.MonkeyPatch, address: str, status: int
) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, headers={"Location": address.format(port=box.trap)})

    async with internet(monkeypatch, answer) as box:
        stayed_outside(box, await fetched(f"https://{CDN}/x.mp4", part), part)
        assert box.connected == [PUBLIC]


@pytest.mark.parametrize("address", PRIVATE)
async def test_a_name_that_leads_to_a_private_address_is_not_followed(
    part: Part, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    names = {"video.example": [address]}
    async with internet(monkeypatch, page, names) as box:
        result = await fetched(f"https://video.example:{box.trap}/x.mp4{SIGNED}", part)
        stayed_outside(box, result, part)
        assert box.connected == []
    assert isinstance(result, NotSent)
    assert result.private, "the host is paused: where its name leads may change"


@pytest.mark.parametrize("address", PRIVATE)
async def test_a_redirect_to_a_name_that_leads_to_a_private_address_is_not_followed(
    part: Part, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    async def answer(_: web.Request) -> web.Response:
        target = f"https://video.example:{box.trap}/x.mp4{SIGNED}"
        return web.Response(status=302, headers={"Location": target})

    async with internet(monkeypatch, answer, {"video.example": [address]}) as box:
        result = await fetched(f"https://{CDN}/x.mp4", part)
        stayed_outside(box, result, part)
        assert box.connected == [PUBLIC]
    assert isinstance(result, NotSent)
    assert "video.example leads to" in result.reason


async def test_of_a_name_s_addresses_only_the_public_ones_are_tried(
    part: Part, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {"video.example": ["127.0.0.1", "10.0.0.1", PUBLIC]}
    async with internet(monkeypatch, page, names) as box:
        stayed_outside(box, await fetched("https://video.example/x.mp4", part), part)
    assert box.connected == [PUBLIC] * len(box.connected)


async def test_a_name_that_moves_to_this_machine_between_two_tries_is_not_followed(
    part: Part, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {"cdn.example": [PUBLIC]}
    async with internet(monkeypatch, page, names) as box:
        await fetched(f"https://{CDN}/x.mp4", part)
        box.names[CDN] = ["127.0.0.1"]
        stayed_outside(box, await fetched(f"https://{CDN}:{box.trap}/x.mp4", part), part)
    assert box.connected == [PUBLIC]


@pytest.mark.parametrize("count", [1, 2, 3])
async def test_the_last_of_several_redirects_is_checked_like_the_first(
    part: Part, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    async def answer(_: web.Request) -> web.Response:
        last = len(box.requests) == count
        target = f"https://127.0.0.1:{box.trap}/" if last else f"https://{CDN}/next"
        return web.Response(status=302, headers={"Location": target})

    async with internet(monkeypatch, answer) as box:
        stayed_outside(box, await fetched(f"https://{CDN}/x.mp4", part), part)
    assert len(box.requests) == count


async def test_a_password_in_an_address_goes_to_its_host_and_to_no_other(
    part: Part, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def answer(request: web.Request) -> web.Response:
        if request.host == CDN:
            target = "https://other.cdn.example/y.mp4"
            response = web.Response(status=302, headers={"Location": target})
            response.set_cookie("session", "s3cr3t", domain="cdn.example")
            return response
        return await page(request)

    names = {"other.cdn.example": [PUBLIC]}
    async with internet(monkeypatch, answer, names) as box:
        await fetched(f"https://user:s3cr3t@{CDN}/x.mp4", part)
    assert [request.host for request in box.requests] == [CDN, "other.cdn.example"]
    assert not {"Authorization", "Cookie", "Referer"} & box.requests[1].headers.keys()


async def test_a_host_that_proves_nothing_is_sent_nothing(
    part: Part, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {"bank.example": [PUBLIC]}
    async with internet(monkeypatch, page, names) as box:
        result = await asyncio.wait_for(fetched("https://bank.example/x.mp4", part), 5.0)
    assert not isinstance(result, Saved)
    assert box.requests == []
