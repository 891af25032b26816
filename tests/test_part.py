"""The part file: whatever pieces come, however the disk takes them, their bytes are in it."""

import errno
import hashlib
import io
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from unittest import mock

import anyio
from hypothesis import given
from hypothesis import strategies as st

from batchgen.disk import Disk
from batchgen.mp4 import NotAVideo
from batchgen.part import MOST_PIECES, Incoming, Part

PIECES = st.lists(st.binary(max_size=200), max_size=20)
BLOCKS = st.integers(1, 400)


class DiskFullError(OSError):
    """Raised by these tests' own disk."""


@contextmanager
def disk_that_takes(most: int, *, room: int) -> Iterator[None]:
    """Have every write take no more than so many bytes, and none behind the room's end."""
    pwritev = os.pwritev

    def take(descriptor: int, pieces: Sequence[bytes], at: int) -> int:
        if at >= room:
            raise DiskFullError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return pwritev(descriptor, [b"".join(pieces)[: min(most, room - at)]], at)

    with mock.patch.object(os, "pwritev", take):
        yield


async def receive(part: Part, pieces: Sequence[bytes], block_bytes: int) -> bool:
    """Take pieces to their end; tell whether all of them are durable, or the disk was full."""
    with Disk() as disk:
        try:
            async with Incoming(part, disk, block_bytes) as incoming:
                for piece in pieces:
                    await incoming.take(piece)
                assert incoming.size - part.received < block_bytes
                # Whether it is a video does not matter here.
                with suppress(NotAVideo):
                    await incoming.seal()
        except DiskFullError:
            return False
    return True


@given(pieces=PIECES, block_bytes=BLOCKS, most=st.integers(1, 300))
def test_all_pieces_are_written_in_their_order_and_hashed(
    pieces: list[bytes], block_bytes: int, most: int
) -> None:
    content = b"".join(pieces)
    with tempfile.TemporaryDirectory() as folder:
        part = Part(Path(folder) / "a.part")
        with disk_that_takes(most, room=1_000_000):
            assert anyio.run(receive, part, pieces, block_bytes)
        assert part.path.read_bytes() == content
    assert (part.received, part.durable) == (len(content), True)
    assert part.digest.hexdigest() == hashlib.sha256(content).hexdigest()


@given(
    pieces=st.lists(st.binary(min_size=1, max_size=200), min_size=1, max_size=20),
    block_bytes=BLOCKS,
    most=st.integers(1, 300),
    percent=st.integers(0, 99),
    rest=st.binary(max_size=400),
)
def test_what_is_counted_when_the_disk_is_full_is_gone_on_from(
    pieces: list[bytes], block_bytes: int, most: int, percent: int, rest: bytes
) -> None:
    content = b"".join(pieces)
    with tempfile.TemporaryDirectory() as folder:
        part = Part(Path(folder) / "a.part")
        room = len(content) * percent // 100
        with disk_that_takes(most, room=room):
            assert not anyio.run(receive, part, pieces, block_bytes)
        assert not part.durable
        assert part.received <= room
        kept = content[: part.received]
        # Less may come than was written before: what is not counted must not stay behind it.
        assert anyio.run(receive, part, [rest], block_bytes)
        assert part.path.read_bytes() == kept + rest
    assert part.digest.hexdigest() == hashlib.sha256(kept + rest).hexdigest()


def test_a_part_that_cannot_be_cut_back_is_gone_on_from_later(tmp_path: Path) -> None:
    part = Part(tmp_path / "a.part")
    with disk_that_takes(10, room=15):
        assert not anyio.run(receive, part, [b"0123456789", b"abcdefghij"], 10)
    assert part.received == 10

    class Stubborn(io.FileIO):
        def truncate(self, size: int | None = None) -> int:
            assert size == 10
            raise DiskFullError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def stubborn(path: Path, *, mode: Any, opener: Any, **_: Any) -> Stubborn:
        return Stubborn(path, mode, opener=opener)

    with mock.patch("aiofiles.threadpool.sync_open", stubborn):
        assert not anyio.run(receive, part, [b"xyz"], 10)
    assert (part.received, part.durable) == (10, False)
    assert anyio.run(receive, part, [b"xyz"], 10)
    assert part.path.read_bytes() == b"0123456789xyz"


def test_more_pieces_than_one_write_can_take_are_written_before(tmp_path: Path) -> None:
    part = Part(tmp_path / "a.part")
    content = bytes(range(256)) * (3 * MOST_PIECES // 256)
    pieces = [content[at : at + 1] for at in range(len(content))]
    assert anyio.run(receive, part, pieces, 1 << 20)
    assert part.path.read_bytes() == content
