"""A file cut at 500 places in each of four framings: never taken for whole, always mended."""

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path

import anyio
import pytest

from batchgen.outcomes import Interrupted, Unusable
from batchgen.part import Part
from batchgen.sandbox.clips import ClipRequest, render
from batchgen.transfer import Saved, open_transfer

pytestmark = pytest.mark.anyio

FRAMINGS = ("content_length", "chunked", "close", "early_terminator")
CUTS = 500
BATCHES = 5


@cache
def clip() -> bytes:
    return render(ClipRequest("a cut ribbon", width=160, height=96))


@cache
def cuts() -> tuple[int, ...]:
    """Choose where to cut: about every border of a box, at the ends, and anywhere between."""
    video = clip()
    borders = {0, 1, len(video) - 1}
    at = 0
    while at < len(video):
        borders |= {at + near for near in (-1, 0, 1, 7, 8, 9) if 0 <= at + near < len(video)}
        at += int.from_bytes(video[at : at + 4])
    assert at == len(video)
    others = [cut for cut in range(len(video)) if cut not in borders]
    chosen = borders | set(random.Random(1).sample(others, CUTS - len(borders)))
    return tuple(sorted(chosen))


def cut_answer(framing: str, cut: int) -> bytes:
    video, part = clip(), clip()[:cut]
    chunk = f"{cut:x}\r\n".encode() + part + b"\r\n" if part else b""
    head, body = {
        "content_length": (f"Content-Length: {len(video)}", part),
        "close": ("X-Framing: none", part),
        "chunked": ("Transfer-Encoding: chunked", chunk + f"{len(video) - cut:x}\r\n".encode()),
        "early_terminator": ("Transfer-Encoding: chunked", chunk + b"0\r\n\r\n"),
    }[framing]
    return f'HTTP/1.1 200 OK\r\nETag: "v1"\r\nConnection: close\r\n{head}\r\n\r\n'.encode() + body


def whole_answer(asked_from: int) -> bytes:
    rest = clip()[asked_from:]
    status, more = "200 OK", ""
    if asked_from:
        status = "206 Partial Content"
        more = f"Content-Range: bytes {asked_from}-{len(clip()) - 1}/{len(clip())}\r\n"
    head = f'HTTP/1.1 {status}\r\nETag: "v1"\r\nConnection: close\r\n{more}'
    return f"{head}Content-Length: {len(rest)}\r\n\r\n".encode() + rest


@asynccontextmanager
async def host(framing: str) -> AsyncIterator[str]:
    """Serve the clip; the first time an address is asked for, cut where its path says."""
    seen: set[str] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = (await reader.readuntil(b"\r\n\r\n")).decode()
        path = request.split()[1]
        if path not in seen:
            seen.add(path)
            answer = cut_answer(framing, int(path.removeprefix("/")))
        else:
            asked = [line for line in request.splitlines() if line.startswith("Range: bytes=")]
            answer = whole_answer(int(asked[0][13:-1]) if asked else 0)
        writer.write(answer)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize("batch", range(BATCHES))
@pytest.mark.parametrize("framing", FRAMINGS)
async def test_a_cut_file_is_never_whole_and_the_next_try_mends_it(
    framing: str, batch: int, tmp_path: Path
) -> None:
    wrong: list[tuple[int, object]] = []
    tried: list[int] = []

    async def fetch(base: str, cut: int) -> None:
        async with places:
            part = Part(tmp_path / f"{cut}.part")
            first = await transfer.fetch(f"{base}/{cut}", part)
            second = await transfer.fetch(f"{base}/{cut}", part)
            whole = isinstance(second, Saved) and second.sha256 == digest
            if not isinstance(first, Interrupted | Unusable) or not whole:
                wrong.append((cut, (first, second)))
            elif part.path.read_bytes() != clip():
                wrong.append((cut, "other bytes than were hashed"))
            tried.append(cut)
            part.path.unlink()

    digest = hashlib.sha256(clip()).hexdigest()
    places = anyio.CapacityLimiter(10)
    async with (
        host(framing) as base,
        open_transfer(base_url=base, seconds=30) as transfer,
        anyio.create_task_group() as group,
    ):
        for cut in cuts()[batch::BATCHES]:
            group.start_soon(fetch, base, cut)
    assert not wrong
    assert len(tried) == CUTS // BATCHES


def test_two_thousand_cuts_are_tried() -> None:
    assert len(set(cuts())) * len(FRAMINGS) == 2_000
