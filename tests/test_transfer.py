"""A video's file over real sockets: whole and checked or not at all, from allowed hosts only."""

import asyncio
import errno
import hashlib
import os
import resource
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import cache
from pathlib import Path

import aiohttp
import aiohttp.connector
import anyio
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from batchgen import transfer as rooms
from batchgen.errors import RunDirectoryError
from batchgen.outcomes import Answered, Interrupted, NotSent, Trouble, Unusable, describe
from batchgen.part import BLOCK_BYTES, Part
from batchgen.sandbox.clips import ClipRequest, render
from batchgen.transfer import Saved, Transfer, hash_file, open_transfer
from tests.conftest import REPO

pytestmark = pytest.mark.anyio

HERE = "http://127.0.0.1:1"
PUBLIC = "https://api.aimlapi.com"
SIGNED = "?Signature=s3cr3t&Expires=1"
ETAG = '"v1"'


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@cache
def clip() -> bytes:
    return render(ClipRequest("a paper boat", width=160, height=96))


@cache
def other_clip() -> bytes:
    return render(ClipRequest("a tram at dusk", seed=7, width=160, height=96))


@pytest.fixture
def part(tmp_path: Path) -> Part:
    return Part(tmp_path / "a.part")


@asynccontextmanager
async def host(
    answer: Callable[[web.Request], Awaitable[web.StreamResponse]],
) -> AsyncIterator[str]:
    """Serve every path with one handler; yield a signed address of a video."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(app, host="127.0.0.1") as server:
        yield str(server.make_url("/x.mp4")) + SIGNED


@asynccontextmanager
async def raw_host(*answers: bytes, hang: float = 0.25) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Serve these bytes, one answer a connection, the last one again and again."""
    requests: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await reader.readuntil(b"\r\n\r\n")
            requests.append(request)
            writer.write(answers[min(len(requests), len(answers)) - 1])
            await writer.drain()
            await asyncio.sleep(hang)
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/x.mp4{SIGNED}", requests


def http(head: str, body: bytes = b"") -> bytes:
    return f"HTTP/1.1 {head}\r\nConnection: close\r\n\r\n".encode() + body


@asynccontextmanager
async def opened(base_url: str = HERE, seconds: float = 10.0) -> AsyncIterator[Transfer]:
    async with open_transfer(base_url=base_url, seconds=seconds) as transfer:
        yield transfer


def is_whole(result: Saved | Trouble, part: Part, video: bytes) -> bool:
    return (
        isinstance(result, Saved)
        and result.size == len(video)
        and result.sha256 == hashlib.sha256(video).hexdigest()
        and part.path.read_bytes() == video
    )


async def test_a_whole_file_is_saved_with_its_hash_and_what_its_header_says(part: Part) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=clip(), headers={"ETag": ETAG})

    async with host(answer) as url, opened() as transfer:
        result = await transfer.fetch(url, part)
    assert is_whole(result, part, clip())
    assert isinstance(result, Saved)
    assert (result.info.width, result.info.height) == (160, 96)


@pytest.mark.parametrize("content_type", ["application/octet-stream", "text/html", "video/mp4"])
async def test_the_bytes_decide_and_not_the_content_type(part: Part, content_type: str) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=clip(), content_type=content_type)

    async with host(answer) as url, opened() as transfer:
        assert is_whole(await transfer.fetch(url, part), part, clip())


async def test_a_file_that_ends_at_the_same_byte_again_is_whole_if_its_structure_says_so(
    part: Part,
) -> None:
    more = len(clip()) + 1_000
    answer = http(f"200 OK\r\nContent-Length: {more}", clip())
    async with raw_host(answer, hang=0.0) as (url, _), opened() as transfer:
        assert isinstance(await transfer.fetch(url, part), Interrupted)
        result = await transfer.fetch(url, part)
    assert is_whole(result, part, clip())
    assert isinstance(result, Saved)
    assert result.announced == more
    assert part.durable


def box(kind: bytes, content: bytes = b"") -> bytes:
    return (8 + len(content)).to_bytes(4) + kind + content


FRAGMENTS = (box(b"ftyp", b"isom") + box(b"moov"), box(b"moof") + box(b"mdat", b"1234"))


@pytest.mark.parametrize(
    "rest", [clip()[:-1], b"".join(FRAGMENTS), b"<html>"], ids=["cut", "fragment", "page"]
)
async def test_a_file_that_may_be_cut_where_it_ends_is_not_taken_for_whole(
    part: Part, rest: bytes
) -> None:
    answer = http(f"200 OK\r\nContent-Length: {len(rest) + 20}", rest)
    async with raw_host(answer, hang=0.0) as (url, _), opened() as transfer:
        for _ in range(4):
            assert isinstance(await transfer.fetch(url, part), Interrupted)


async def test_a_whole_file_without_a_length_is_saved(part: Part) -> None:
    async with raw_host(http("200 OK", clip())) as (url, _), opened() as transfer:
        assert is_whole(await transfer.fetch(url, part), part, clip())


async def test_a_file_of_many_writes_is_saved_byte_for_byte(part: Part) -> None:
    # A box of free space makes a clip of any size.
    free = 2 * BLOCK_BYTES + 12_345
    video = clip() + free.to_bytes(4, "big") + b"free" + bytes(free - 8)

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=video)

    async with host(answer) as url, opened() as transfer:
        assert is_whole(await transfer.fetch(url, part), part, video)


async def test_the_file_host_is_sent_no_key_no_cookie_and_asks_for_plain_bytes(
    part: Part, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, str]] = []
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password s3cr3t\n")
    monkeypatch.setenv("NETRC", str(netrc))

    async def answer(request: web.Request) -> web.Response:
        seen.append(dict(request.headers))
        if len(seen) == 1:
            response = web.Response(status=302, headers={"Location": "/y.mp4"})
        else:
            response = web.Response(body=b"not yet")
        response.set_cookie("session", "1")
        return response

    async with host(answer) as url, opened() as transfer:
        await transfer.fetch(url, part)
        await transfer.fetch(url, part)
    assert len(seen) == 3
    for headers in seen:
        assert headers.keys() == {"Host", "User-Agent", "Accept", "Accept-Encoding"}
        assert headers["Accept-Encoding"] == "identity"
        assert headers["User-Agent"].startswith("batchgen/")


@pytest.mark.parametrize(
    "address",
    [
        "/a%2Fb.mp4?Signature=a%2Fb%2Bc%3D&Expires=1",
        "/x.mp4?hdnts=exp=1~acl=%2f*~hmac=00ff",
        "/%7Euser/x.mp4?Policy=eyJ-_~&Key-Pair-Id=K'(1)*!",
        "/a//b.mp4?q=a+b%20c&&=&x",
    ],
)
async def test_a_signed_address_is_sent_to_the_letter_and_so_is_one_that_is_redirected_to(
    part: Part, address: str
) -> None:
    moved = http(f"302 Found\r\nLocation: {address}\r\nContent-Length: 0")
    async with raw_host(moved, http("200 OK", clip())) as (url, requests), opened() as transfer:
        base = url.removesuffix(f"/x.mp4{SIGNED}")
        assert is_whole(await transfer.fetch(base + address, part), part, clip())
    assert [request.split()[1].decode() for request in requests] == [address, address]


@pytest.mark.parametrize(
    ("address", "sent"),
    [
        ("/a b.mp4?q=a b", "/a%20b.mp4?q=a+b"),
        ("/\xe9.mp4?q=\xe9", "/%C3%A9.mp4?q=%C3%A9"),
        ("/a.mp4#part", "/a.mp4"),
        ("/a.mp4?q=1%", "/a.mp4?q=1%25"),
        ("/a.mp4\r\nX-Forged: 1", "/a.mp4X-Forged:%201"),
    ],
)
async def test_an_address_with_what_no_request_may_hold_is_escaped(
    part: Part, address: str, sent: str
) -> None:
    async with raw_host(http("200 OK", clip())) as (url, requests), opened() as transfer:
        base = url.removesuffix(f"/x.mp4{SIGNED}")
        assert is_whole(await transfer.fetch(base + address, part), part, clip())
    (request,) = requests
    assert request.split()[1].decode() == sent
    assert b"\nX-Forged" not in request


async def cut_off(request: web.Request) -> None:
    """Close the connection once what was written has arrived."""
    await asyncio.sleep(0.25)
    assert request.transport is not None
    request.transport.close()


def ranged(
    video: bytes, seen: list[tuple[str | None, str | None]], *, cut: int, etag: str = ETAG
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Serve a video with ranges; the first answer breaks off after `cut` bytes."""

    async def answer(request: web.Request) -> web.StreamResponse:
        wanted, condition = request.headers.get("Range"), request.headers.get("If-Range")
        seen.append((wanted, condition))
        if wanted is None or condition != etag:
            response = web.StreamResponse(headers={"ETag": etag})
            response.content_length = len(video)
            await response.prepare(request)
            await response.write(video[:cut] if len(seen) == 1 else video)
            if len(seen) == 1:
                await cut_off(request)
            return response
        first = int(wanted.removeprefix("bytes=").removesuffix("-"))
        span = f"bytes {first}-{len(video) - 1}/{len(video)}"
        return web.Response(
            status=206, body=video[first:], headers={"ETag": etag, "Content-Range": span}
        )

    return answer


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
async def test_a_cut_file_goes_on_where_it_was_cut(part: Part, share: float) -> None:
    seen: list[tuple[str | None, str | None]] = []
    cut = int(len(clip()) * share)
    async with host(ranged(clip(), seen, cut=cut)) as url, opened() as transfer:
        assert isinstance(await transfer.fetch(url, part), Interrupted)
        assert part.received == cut
        assert part.path.read_bytes() == clip()[:cut]
        assert is_whole(await transfer.fetch(url, part), part, clip())
    assert seen == [(None, None), (f"bytes={cut}-", ETAG)]


@pytest.mark.parametrize(
    ("tag", "sends"), [(None, False), ('W/"v1"', False), ("v1", False), (ETAG, True)]
)
async def test_only_a_version_with_a_strong_etag_is_gone_on_with(
    part: Part, tag: str | None, *, sends: bool
) -> None:
    head = f"200 OK\r\nContent-Length: {len(clip())}" + (f"\r\nETag: {tag}" if tag else "")
    cut, whole = http(head, clip()[:2_000]), http(head, clip())
    async with raw_host(cut, whole) as (url, requests), opened() as transfer:
        assert isinstance(await transfer.fetch(url, part), Interrupted)
        assert is_whole(await transfer.fetch(url, part), part, clip())
    assert (b"\r\nRange: bytes=2000-" in requests[1]) is sends


async def test_a_server_that_ignores_the_range_starts_the_file_anew(part: Part) -> None:
    head = f"200 OK\r\nContent-Length: {len(clip())}\r\nETag: {ETAG}"
    cut, whole = http(head, clip()[:5_000]), http(head, clip())
    async with raw_host(cut, whole) as (url, requests), opened() as transfer:
        assert isinstance(await transfer.fetch(url, part), Interrupted)
        assert is_whole(await transfer.fetch(url, part), part, clip())
    assert b"Range: bytes=5000-" in requests[1]


async def test_another_version_of_the_file_starts_anew_and_is_never_mixed(part: Part) -> None:
    seen: list[tuple[str | None, str | None]] = []
    async with opened() as transfer:
        async with host(ranged(clip(), seen, cut=5_000)) as url:
            assert isinstance(await transfer.fetch(url, part), Interrupted)
        async with host(ranged(other_clip(), seen, cut=0, etag='"v2"')) as url:
            assert is_whole(await transfer.fetch(url, part), part, other_clip())


@pytest.mark.parametrize(
    "head",
    [
        "206 Partial Content\r\nETag: {tag}\r\nContent-Range: bytes 0-{last}/{size}",
        "206 Partial Content\r\nETag: {tag}\r\nContent-Range: bytes 4999-{last}/{size}",
        "206 Partial Content\r\nETag: {tag}\r\nContent-Range: bytes 5001-{last}/{size}",
        "206 Partial Content\r\nETag: {tag}\r\nContent-Range: bytes 5000-10/{size}",
        "206 Partial Content\r\nETag: {tag}\r\nContent-Range: bytes 5000-{last}/{more}",
        "206 Partial Content\r\nETag: {tag}\r\nContent-Range: bytes */{size}",
        "206 Partial Content\r\nETag: {tag}\r\nContent-Range: nonsense",
        "206 Partial Content\r\nETag: {tag}",
        '206 Partial Content\r\nETag: "v2"\r\nContent-Range: bytes 5000-{last}/{size}',
        "206 Partial Content\r\nContent-Range: bytes 5000-{last}/{size}",
        "416 Range Not Satisfiable\r\nContent-Range: bytes */{size}",
    ],
)
async def test_a_wrong_part_is_thrown_away_and_the_file_starts_anew(part: Part, head: str) -> None:
    whole = f"200 OK\r\nContent-Length: {len(clip())}\r\nETag: {ETAG}"
    size = len(clip())
    wrong = head.format(tag=ETAG, last=size - 1, size=size, more=size + 1)
    answers = (http(whole, clip()[:5_000]), http(wrong, clip()[5_000:]), http(whole, clip()))
    async with raw_host(*answers) as (url, requests), opened() as transfer:
        assert isinstance(await transfer.fetch(url, part), Interrupted)
        assert isinstance(await transfer.fetch(url, part), Interrupted)
        assert part.received == 0
        assert is_whole(await transfer.fetch(url, part), part, clip())
    assert b"Range:" in requests[1]
    assert b"Range:" not in requests[2]


async def test_a_part_that_brings_more_than_the_whole_has_is_thrown_away(part: Part) -> None:
    whole = f"200 OK\r\nContent-Length: {len(clip())}\r\nETag: {ETAG}"
    size = len(clip())
    rest = f"206 Partial Content\r\nETag: {ETAG}\r\nContent-Range: bytes 5000-{size - 1}/{size}"
    more = clip()[5_000:] + b"\x00\x00\x00\x08free"
    answers = (http(whole, clip()[:5_000]), http(rest, more))
    async with raw_host(*answers) as (url, _), opened() as transfer:
        await transfer.fetch(url, part)
        assert isinstance(await transfer.fetch(url, part), Unusable)
    assert part.received == 0


async def test_a_file_that_is_cut_again_and_again_still_arrives(part: Part) -> None:
    video, step, tries = clip(), len(clip()) // 5, 0

    async def answer(request: web.Request) -> web.StreamResponse:
        first = int(request.headers.get("Range", "bytes=0-")[6:-1])
        response = web.StreamResponse(status=206 if first else 200, headers={"ETag": ETAG})
        response.content_length = len(video) - first
        if first:
            response.headers["Content-Range"] = f"bytes {first}-{len(video) - 1}/{len(video)}"
        await response.prepare(request)
        await response.write(video[first : first + step])
        if first + step < len(video):
            await cut_off(request)
        return response

    async with host(answer) as url, opened() as transfer:
        while not isinstance(result := await transfer.fetch(url, part), Saved):
            tries += 1
            assert tries < 20
    assert is_whole(result, part, video)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.999])
async def test_a_silent_cut_is_found_by_the_file_s_structure(part: Part, share: float) -> None:
    cut = clip()[: int(len(clip()) * share)]
    async with raw_host(http("200 OK", cut)) as (url, _), opened() as transfer:
        assert isinstance(await transfer.fetch(url, part), Unusable)
    assert part.received == 0


async def test_an_early_end_of_a_chunked_body_is_found_by_the_file_s_structure(part: Part) -> None:
    cut = clip()[:9_000]
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(cut), cut)
    said = http("200 OK\r\nTransfer-Encoding: chunked", body)
    async with raw_host(said) as (url, _), opened() as transfer:
        assert isinstance(await transfer.fetch(url, part), Unusable)


async def test_a_chunked_body_without_its_end_is_interrupted(part: Part) -> None:
    cut = clip()[:9_000]
    said = http("200 OK\r\nTransfer-Encoding: chunked", b"%x\r\n%b\r\n" % (len(cut), cut))
    async with raw_host(said) as (url, _), opened() as transfer:
        assert isinstance(await transfer.fetch(url, part), Interrupted)


@pytest.mark.parametrize(
    "body", [b"<html>expired</html>", b'{"message": "no"}', b"", b"\0", b"<?xml?><Error/>"]
)
async def test_a_page_in_place_of_a_video_is_refused_whatever_its_status_says(
    part: Part, body: bytes
) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=body, content_type="video/mp4", headers={"ETag": ETAG})

    async with host(answer) as url, opened() as transfer:
        assert isinstance(await transfer.fetch(url, part), Unusable)
    assert (part.received, part.version) == (0, None)


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "br", "deflate", "identity, gzip"])
async def test_a_compressed_file_is_refused_unopened(part: Part, encoding: str) -> None:
    async with (
        raw_host(http(f"200 OK\r\nContent-Encoding: {encoding}", clip())) as (url, _),
        opened() as transfer,
    ):
        assert isinstance(await transfer.fetch(url, part), Unusable)
    assert not part.path.exists()


async def endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    try:
        while True:
            await response.write(bytes(1 << 16))
    except ConnectionError:
        return response


async def test_a_try_ends_in_time_where_the_disk_is_slower_than_the_host(
    part: Part, monkeypatch: pytest.MonkeyPatch
) -> None:
    pwritev = os.pwritev

    def slow(descriptor: int, pieces: Sequence[bytes], at: int) -> int:
        # Meanwhile so much comes that nothing need be waited for afterwards.
        time.sleep(0.1)
        return pwritev(descriptor, pieces, at)

    monkeypatch.setattr(rooms, "BLOCK_BYTES", 1 << 16)
    monkeypatch.setattr(os, "pwritev", slow)

    async with host(endless) as url, opened(seconds=1.0) as transfer:
        with anyio.fail_after(8):
            result = await transfer.fetch(url, part)
    assert result == Interrupted("no answer in time", begun=True)
    assert 0 < part.received < 8 << 20
    assert part.path.stat().st_size == part.received


async def test_a_file_larger_than_any_clip_is_refused_by_its_length(part: Part) -> None:
    head = http("200 OK\r\nContent-Length: 50000000000")
    async with raw_host(head) as (url, _), opened() as transfer:
        assert isinstance(await transfer.fetch(url, part), Unusable)
    assert not part.path.exists()


async def test_an_endless_file_is_left_at_the_cap(
    part: Part, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rooms, "MAX_VIDEO_BYTES", 1 << 20)
    monkeypatch.setattr(rooms, "BLOCK_BYTES", 1 << 18)

    async with host(endless) as url, opened() as transfer:
        assert isinstance(await transfer.fetch(url, part), Unusable)
    assert part.received == 0


async def test_a_file_that_trickles_is_left_when_its_time_is_over(part: Part) -> None:
    head = http(f"200 OK\r\nContent-Length: {len(clip())}\r\nETag: {ETAG}", clip()[:3_000])
    async with raw_host(head, hang=2.0) as (url, _), opened(seconds=0.3) as transfer:
        assert await transfer.fetch(url, part) == Interrupted("no answer in time", begun=True)
    assert part.received == 3_000


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 429, 500, 503, 300, 304])
async def test_any_other_status_is_an_answer_with_its_wait(part: Part, status: int) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, headers={"Retry-After": "9"})

    async with host(answer) as url, opened() as transfer:
        assert await transfer.fetch(url, part) == Answered(status, retry_after=9.0)


async def test_an_error_between_two_parts_loses_nothing(part: Part) -> None:
    seen: list[tuple[str | None, str | None]] = []
    good = ranged(clip(), seen, cut=5_000)

    async def answer(request: web.Request) -> web.StreamResponse:
        if len(seen) == 1 and request.headers.get("X-Again") is None:
            seen.append((None, None))
            return web.Response(status=503)
        return await good(request)

    async with host(answer) as url, opened() as transfer:
        assert isinstance(await transfer.fetch(url, part), Interrupted)
        assert isinstance(await transfer.fetch(url, part), Answered)
        assert part.received == 5_000
        assert is_whole(await transfer.fetch(url, part), part, clip())


async def test_a_host_that_is_not_there_was_not_sent_anything(part: Part) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    async with opened() as transfer:
        assert isinstance(await transfer.fetch(f"http://127.0.0.1:{port}/x", part), NotSent)
        gone = await transfer.fetch(f"https://no-such-host.invalid/x.mp4{SIGNED}", part)
    assert isinstance(gone, NotSent)
    assert "s3cr3t" not in describe(gone)


def hops(count: int) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(request: web.Request) -> web.Response:
        hop = int(request.query.get("hop", "0"))
        if hop == count:
            return web.Response(body=clip())
        status = (301, 302, 303, 307, 308)[hop % 5]
        return web.Response(status=status, headers={"Location": f"/y.mp4?hop={hop + 1}"})

    return answer


@pytest.mark.parametrize("count", [1, 2, 3])
async def test_up_to_three_redirects_are_followed(part: Part, count: int) -> None:
    async with host(hops(count)) as url, opened() as transfer:
        assert is_whole(await transfer.fetch(url, part), part, clip())


@pytest.mark.parametrize("count", [4, 100])
async def test_more_than_three_redirects_are_not(part: Part, count: int) -> None:
    async with host(hops(count)) as url, opened() as transfer:
        assert isinstance(await transfer.fetch(url, part), Unusable)
    assert not part.path.exists()


@pytest.mark.parametrize(
    "target",
    [
        "file:///etc/passwd",
        "ftp://127.0.0.1/x",
        "data:video/mp4;base64,AAAA",
        "http://example.com/x.mp4?Signature=s3cr3t",
        "http://169.254.169.254/latest/meta-data",
        "https://169.254.169.254/latest/meta-data",
        "https://[::ffff:169.254.169.254]/",
        "https://10.0.0.1/x.mp4",
        "https://[64:ff9b::a00:1]/x.mp4",
        "https://[fe80::1]/x.mp4",
        "https://0.0.0.0/x.mp4",
        "http://[bad/x.mp4?Signature=s3cr3t",
        "https://:0/",
        "https://host:99999/x?Signature=s3cr3t",
    ],
)
async def test_a_redirect_to_where_no_video_lies_is_refused_and_told_without_its_query(
    part: Part, target: str
) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": target})

    async with host(answer) as url, opened() as transfer:
        result = await asyncio.wait_for(transfer.fetch(url, part), 2.0)
    assert isinstance(result, Unusable)
    assert "s3cr3t" not in result.reason
    assert not part.path.exists()


@asynccontextmanager
async def counting() -> AsyncIterator[tuple[int, list[str]]]:
    """Listen on this machine and count who connects."""
    hits: list[str] = []

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hits.append(str(writer.get_extra_info("sockname")))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], hits


@pytest.mark.parametrize("scheme", ["https", "http"])
@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "localhost",
        "[::1]",
        "127.1",
        "2130706433",
        "0x7f000001",
        "127.0.0.2",
        "0.0.0.0",
        "[::]",
        "[64:ff9b::127.0.0.1]",
        "[2002:7f00:1::]",
    ],
)
async def test_this_machine_is_never_reached_where_the_api_is_elsewhere(
    part: Part, address: str, scheme: str
) -> None:
    async with counting() as (port, hits), opened(PUBLIC) as transfer:
        result = await transfer.fetch(f"{scheme}://{address}:{port}/x.mp4{SIGNED}", part)
        # An address that is well written and leads to a private one is waited for.
        assert isinstance(result, Unusable) or (isinstance(result, NotSent) and result.private)
        assert "s3cr3t" not in result.reason
    assert hits == []


@pytest.mark.parametrize(
    "address",
    [
        "10.0.0.1",
        "10.255.255.254",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "[fd00::1]",
        "[fe80::1]",
        "[::ffff:10.0.0.1]",
        "[::ffff:169.254.169.254]",
        "224.0.0.1",
        "[ff02::1]",
        "255.255.255.255",
        "198.18.0.1",
        "192.0.2.1",
    ],
)
@pytest.mark.parametrize("base_url", [PUBLIC, HERE])
async def test_an_address_that_is_not_public_is_never_connected_to(
    part: Part, address: str, base_url: str
) -> None:
    async with opened(base_url) as transfer:
        result = await asyncio.wait_for(transfer.fetch(f"https://{address}/x.mp4", part), 2.0)
    assert isinstance(result, NotSent)
    assert result.private
    assert " is not a public address" in result.reason


async def test_plain_http_is_for_this_machine_only(part: Part) -> None:
    async with opened() as transfer:
        for url in ("http://example.com/x.mp4", "http://8.8.8.8/x.mp4"):
            assert isinstance(await transfer.fetch(url, part), Unusable)


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 200 OK\r\nGET /x.mp4?Signature=s3cr3t\r\n\r\n",
        b"HTTP/1.1 Signature=s3cr3t\r\n\r\n",
        b"Signature=s3cr3t\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nSignature=s3cr3t\r\n\r\n",
        b"HTTP/1.1 400 Signature=s3cr3t\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 F\r\nLocation: /y?Signature=s3cr3t\r\nContent-Length: 0\r\n\r\n",
        b"",
    ],
)
async def test_no_trouble_tells_the_query_of_an_address(part: Part, said: bytes) -> None:
    async with raw_host(said) as (url, requests), opened() as transfer:
        result = await transfer.fetch(url, part)
    assert requests
    assert not isinstance(result, Saved)
    assert "s3cr3t" not in repr(result)
    assert describe(result).isprintable()


async def test_a_directory_that_vanished_is_the_disk_s_trouble(tmp_path: Path) -> None:
    part = Part(tmp_path / "gone" / "a.part")

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=clip())

    async with host(answer) as url, opened() as transfer:
        with pytest.raises(FileNotFoundError):
            await transfer.fetch(url, part)
        part.path.parent.mkdir()
        assert is_whole(await transfer.fetch(url, part), part, clip())


async def test_a_disk_that_fills_up_in_the_middle_spoils_no_later_try(part: Part) -> None:
    seen: list[tuple[str | None, str | None]] = []
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    async with host(ranged(clip(), seen, cut=20_000)) as url, opened() as transfer:
        # A file over the limit fails as on a full disk: first a short write, then an error.
        resource.setrlimit(resource.RLIMIT_FSIZE, (3_000, hard))
        try:
            with pytest.raises(OSError, match="too large"):
                await transfer.fetch(url, part)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert part.received <= part.path.stat().st_size <= 3_000
        assert is_whole(await transfer.fetch(url, part), part, clip())


async def test_a_link_in_place_of_a_part_is_replaced_and_what_it_leads_to_is_left(
    part: Part, tmp_path: Path
) -> None:
    treasure = tmp_path / "treasure"
    treasure.write_text("mine")
    part.path.symlink_to(treasure)

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=clip())

    async with host(answer) as url, opened() as transfer:
        assert is_whole(await transfer.fetch(url, part), part, clip())
    assert treasure.read_text() == "mine"
    assert not part.path.is_symlink()


async def test_a_link_put_in_place_of_a_begun_part_is_refused(part: Part, tmp_path: Path) -> None:
    treasure = tmp_path / "treasure"
    treasure.write_text("mine" * 5_000)
    seen: list[tuple[str | None, str | None]] = []
    async with host(ranged(clip(), seen, cut=5_000)) as url, opened() as transfer:
        assert isinstance(await transfer.fetch(url, part), Interrupted)
        part.path.unlink()
        part.path.symlink_to(treasure)
        with pytest.raises(OSError, match="symbolic links"):
            await transfer.fetch(url, part)
        assert is_whole(await transfer.fetch(url, part), part, clip())
    assert treasure.read_text() == "mine" * 5_000
    assert not part.path.is_symlink()


@pytest.mark.parametrize("harm", [Path.unlink, lambda path: os.truncate(path, 100)])
async def test_a_begun_part_that_lost_its_bytes_is_made_anew(
    part: Part, harm: Callable[[Path], None]
) -> None:
    seen: list[tuple[str | None, str | None]] = []
    async with host(ranged(clip(), seen, cut=5_000)) as url, opened() as transfer:
        assert isinstance(await transfer.fetch(url, part), Interrupted)
        harm(part.path)
        with pytest.raises(OSError, match=r"no longer there|No such file"):
            await transfer.fetch(url, part)
        assert is_whole(await transfer.fetch(url, part), part, clip())
    assert [wanted for wanted, _ in seen] == [None, "bytes=5000-", None]


async def test_a_link_in_place_of_the_folder_of_parts_is_refused(tmp_path: Path) -> None:
    elsewhere, parts = tmp_path / "elsewhere", tmp_path / "parts"
    elsewhere.mkdir()
    parts.symlink_to(elsewhere)
    (elsewhere / "a.part").write_text("mine")

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=clip())

    async with host(answer) as url, opened() as transfer:
        with pytest.raises(RunDirectoryError, match="leads out of the run directory"):
            await transfer.fetch(url, Part(parts / "a.part"))
    assert [path.read_text() for path in elsewhere.iterdir()] == ["mine"]


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    """Let no file and no socket be opened any more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.open(os.devnull, os.O_RDONLY)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_too_many_open_files_are_this_machine_s_trouble_and_not_the_host_s(
    part: Part,
) -> None:
    seen: list[tuple[str | None, str | None]] = []
    async with host(ranged(clip(), seen, cut=5_000)) as url, opened() as transfer:
        assert isinstance(await transfer.fetch(url, part), Interrupted)
        with no_descriptor_left(), pytest.raises(OSError, match="open files") as caught:
            await transfer.fetch(url, part)
        assert caught.value.errno == errno.EMFILE
        assert not isinstance(caught.value, aiohttp.ClientError)
        assert is_whole(await transfer.fetch(url, part), part, clip())
    assert [wanted for wanted, _ in seen] == [None, "bytes=5000-"], "what was here is kept"


async def test_bytes_that_could_not_be_forced_to_disk_are_thrown_away(
    part: Part, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync, seen = os.fsync, list[tuple[str | None, str | None]]()

    def broken(_: int) -> None:
        monkeypatch.setattr(os, "fsync", fsync)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    # The second time the kernel would say that all is well: it has forgotten these bytes.
    monkeypatch.setattr(os, "fsync", broken)
    async with host(ranged(clip(), seen, cut=len(clip()))) as url, opened() as transfer:
        with pytest.raises(OSError, match="Input/output"):
            await transfer.fetch(url, part)
        assert (part.received, part.durable) == (0, False)
        seen.append((None, None))
        assert is_whole(await transfer.fetch(url, part), part, clip())


async def test_a_file_that_is_here_is_not_fetched_again(part: Part) -> None:
    async with raw_host(http("200 OK", clip())) as (url, requests), opened() as transfer:
        for _ in range(2):
            # As when it could not be given its name in between.
            assert is_whole(await transfer.fetch(url, part), part, clip())
        assert len(requests) == 1
        part.path.unlink()
        with pytest.raises(FileNotFoundError):
            await transfer.fetch(url, part)
        assert is_whole(await transfer.fetch(url, part), part, clip())
    assert len(requests) == 2


@asynccontextmanager
async def guarded(certificate: Path) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Serve the clip over TLS; yield its address and what came after the handshakes."""
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(http("200 OK", clip()))
        await writer.drain()
        writer.close()

    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    async with server:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/x.mp4{SIGNED}", heard


async def test_a_host_that_cannot_prove_who_it_is_is_told_apart_and_sent_nothing(
    part: Part, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, other = REPO / "tests/here.pem", REPO / "tests/security/cdn.pem"
    async with guarded(here) as (url, heard), opened() as transfer:
        stranger = await transfer.fetch(url, part)
    assert isinstance(stranger, NotSent)
    assert stranger.certificate, "nobody vouches for it"

    trusting = ssl.create_default_context(cafile=str(other))
    trusting.load_verify_locations(here)
    monkeypatch.setattr(aiohttp.connector, "_SSL_CONTEXT_VERIFIED", trusting)
    async with guarded(other) as (url, heard_by_other), opened() as transfer:
        impostor = await transfer.fetch(url, part)
    assert isinstance(impostor, NotSent)
    assert impostor.certificate, "it is somebody else's"
    assert "s3cr3t" not in describe(stranger) + describe(impostor)
    assert heard == heard_by_other == []

    async with guarded(here) as (url, heard), opened() as transfer:
        assert is_whole(await transfer.fetch(url, part), part, clip())
    assert len(heard) == 1


async def test_a_handshake_that_fails_otherwise_is_no_certificate_s_fault(part: Part) -> None:
    async def speak_no_tls(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(http("400 Bad Request"))
        writer.close()

    server = await asyncio.start_server(speak_no_tls, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, opened() as transfer:
        result = await transfer.fetch(f"https://127.0.0.1:{port}/x.mp4{SIGNED}", part)
    assert isinstance(result, NotSent)
    assert not result.certificate
    assert result.reason != "no answer in time"


async def test_a_cancelled_fetch_can_be_made_again(part: Part) -> None:
    head = http(f"200 OK\r\nContent-Length: {len(clip())}\r\nETag: {ETAG}", clip()[:3_000])
    async with raw_host(head, hang=5.0) as (url, _), opened() as transfer:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(transfer.fetch(url, part), 0.1)

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=clip())

    async with host(answer) as url, opened() as transfer:
        assert is_whole(await transfer.fetch(url, part), part, clip())


async def test_a_finished_part_has_its_final_name_and_its_hash_can_be_told(tmp_path: Path) -> None:
    part, final = tmp_path / "a.part", tmp_path / "a.mp4"
    part.write_bytes(clip())
    assert hash_file(final) is None
    async with opened() as transfer:
        await transfer.finish(part, final, hashlib.sha256(clip()).hexdigest())
    assert not part.exists()
    assert hash_file(final) == hashlib.sha256(clip()).hexdigest()
    (tmp_path / "link.mp4").symlink_to(final)
    assert hash_file(tmp_path / "link.mp4") is None
    assert hash_file(tmp_path) is None
