"""Is this file a whole video? Walks the boxes of an MP4 and reads what its header says.

A cut transfer may raise no error at all, so the structure decides: `ftyp`, `moov` and `mdat` are
there, and the last box ends where the file ends (ISO/IEC 14496-12, section 4.2). Files of other
kinds are known by their first bytes, and `containers` finds where they end.
"""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, Final

from batchgen import containers

HEAD_BYTES: Final = 32 * 1024
"""Read in one go: where the header comes first, it holds all that is looked at."""
MAX_BOXES: Final = 100_000
MAX_HEADER_BYTES: Final = 64 << 20
"""A `moov` box larger than this is no header of a clip of seconds."""


class NotAVideo(Exception):
    """The file is no video, or not the whole of one. The text says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What a file's header says; None where it does not say.

    Attributes:
        width: Pixels.
        height: Pixels.
        fps: Frames a second, the mean.
        duration_s: Seconds.
    """

    width: int | None = None
    height: int | None = None
    fps: float | None = None
    duration_s: float | None = None


@dataclass(frozen=True, slots=True)
class _Box:
    kind: bytes
    start: int  # of the content
    end: int
    open: bool = False  # it says that it goes to the end of the file, wherever that is


def inspect(path: Path) -> VideoInfo:
    """Check a file and read its header. Blocks.

    Raises:
        NotAVideo: It is something else, or cut.
        OSError: It cannot be read.
    """
    with path.open("rb", buffering=0) as file:
        return inspect_open(file.fileno())


def inspect_open(descriptor: int) -> VideoInfo:
    """Check a file that is open for reading, at its beginning, and read its header. Blocks.

    Raises:
        NotAVideo: It is something else, or cut.
        OSError: It cannot be read.
    """
    with open(descriptor, "rb", buffering=HEAD_BYTES, closefd=False) as file:
        return _look(file, os.fstat(descriptor).st_size)


def inspect_bytes(content: bytes) -> VideoInfo:
    """Check a file's content and read its header.

    Raises:
        NotAVideo: It is something else, or cut.
    """
    return _look(BytesIO(content), len(content))


def ends_by_itself(path: Path) -> bool:
    """Tell whether a file's structure shows that it is all there. Blocks.

    A cut between two fragments of an MP4, or two parts of a live WebM, leaves a file that is sound
    and not whole: of such a file this is not known.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        try:
            _look(file, size)
            file.seek(0)
            kind = containers.kind_of(file.read(containers.HEAD_BYTES))
            if kind is not None:
                return containers.structural_end(kind, file, size) == size
            boxes = list(_boxes(file, 0, size))
        except NotAVideo:
            return False
    return not boxes[-1].open and all(box.kind not in (b"moof", b"styp") for box in boxes)


def _look(file: IO[bytes], size: int) -> VideoInfo:
    head = file.read(containers.HEAD_BYTES)
    if (kind := containers.kind_of(head)) is not None:
        end = containers.structural_end(kind, file, size)
        if end is not None and not 0 <= end <= size:
            raise NotAVideo(f"the file is cut: as a {kind} file it would go on")
        return VideoInfo()
    if len(head) < 8 or head[4:8] not in (b"ftyp", b"styp"):
        raise NotAVideo(_what_it_is(head, size))
    boxes = list(_boxes(file, 0, size))
    kinds = {box.kind for box in boxes}
    for needed in (b"moov", b"mdat"):
        if needed not in kinds:
            raise NotAVideo(f"the file is cut: its {needed.decode()} box is missing")
    if boxes[-1].kind == b"moof":
        raise NotAVideo("the file is cut: its last fragment has no content")
    moov = next(box for box in boxes if box.kind == b"moov")
    if moov.end - moov.start > MAX_HEADER_BYTES:
        raise NotAVideo("the file's header is larger than any clip's")
    if boxes[-1].open and _samples_end(file, moov) > size:
        raise NotAVideo("the file is cut: its header speaks of more than there is")
    return _info(file, moov)


def _what_it_is(head: bytes, size: int) -> str:
    if size == 0:
        return "the file is empty"
    if head.lstrip()[:1] in (b"<", b"{"):
        return "the file is a text (HTML, XML or JSON), not a video"
    return "the file is no video"


def _boxes(file: IO[bytes], start: int, end: int) -> Iterator[_Box]:
    """Walk the boxes between two offsets, which they must fill exactly."""
    at = start
    for _ in range(MAX_BOXES):
        if at == end:
            return
        file.seek(at)
        head = file.read(16)
        if end - at < 8 or len(head) < 8:
            raise NotAVideo("the file is cut in the middle of a box")
        size, kind = struct.unpack(">I4s", head[:8])
        header, is_open = 8, size == 0
        if size == 1:
            if len(head) < 16:
                raise NotAVideo("the file is cut in the middle of a box")
            size, header = struct.unpack(">Q", head[8:16])[0], 16
        elif size == 0:
            size = end - at
        if size < header or at + size > end:
            raise NotAVideo(
                f"the file is cut: a box of {size} bytes has {end - at} left"
                if size >= header
                else "the file's boxes are broken"
            )
        yield _Box(kind, at + header, at + size, is_open)
        at += size
    raise NotAVideo("the file has more boxes than any clip")


def _info(file: IO[bytes], moov: _Box) -> VideoInfo:
    """Read the first video track. A header that says nothing is no reason to refuse the file."""
    try:
        for trak in _children(file, moov, b"trak"):
            media = _path(file, trak, b"mdia")
            handler = _content(file, _path(file, media, b"hdlr"))
            if handler[8:12] == b"vide":
                return _track(file, trak, media)
    except (LookupError, struct.error, NotAVideo):
        return VideoInfo()
    return VideoInfo()


def _samples_end(file: IO[bytes], moov: _Box) -> int:
    """Return the offset behind the last sample of any track; 0 where no table says (8.7)."""
    end = 0
    try:
        for trak in _children(file, moov, b"trak"):
            table = _path(file, trak, b"mdia", b"minf", b"stbl")
            end = max([end, *_chunk_ends(file, table)])
    except (LookupError, struct.error, NotAVideo):
        return 0
    return end


def _chunk_ends(file: IO[bytes], table: _Box) -> Iterator[int]:
    """Yield the offset behind each chunk of a track."""
    wide = next(_children(file, table, b"co64"), None)
    chunks = _content(file, wide or _path(file, table, b"stco"))
    offsets = [each for (each,) in struct.iter_unpack(">Q" if wide else ">I", chunks[8:])]
    samples = _content(file, _path(file, table, b"stsz"))
    same_size, count = struct.unpack(">II", samples[4:12])
    sizes = [each for (each,) in struct.iter_unpack(">I", samples[12 : 12 + 4 * count])]
    runs = _content(file, _path(file, table, b"stsc"))
    first_of = {first - 1: each for first, each, _ in struct.iter_unpack(">III", runs[8:])}
    taken = in_chunk = 0
    for number, offset in enumerate(offsets):
        in_chunk = first_of.get(number, in_chunk)
        here = same_size * in_chunk if same_size else sum(sizes[taken : taken + in_chunk])
        taken += in_chunk
        yield offset + here


def _track(file: IO[bytes], trak: _Box, media: _Box) -> VideoInfo:
    width, height = struct.unpack(">II", _content(file, _path(file, trak, b"tkhd"))[-8:])
    header = _content(file, _path(file, media, b"mdhd"))
    if header[0] == 1:
        scale, length = struct.unpack(">IQ", header[20:32])
    else:
        scale, length = struct.unpack(">II", header[12:20])
    table = _content(file, _path(file, media, b"minf", b"stbl", b"stts"))
    entries = struct.unpack(">I", table[4:8])[0]
    pairs = struct.iter_unpack(">II", table[8 : 8 + 8 * entries])
    samples, ticks = 0, 0
    for count, delta in pairs:
        samples += count
        ticks += count * delta
    return VideoInfo(
        # 16.16 fixed point.
        width=width >> 16 or None,
        height=height >> 16 or None,
        fps=round(samples * scale / ticks, 3) if ticks and scale else None,
        # A fragmented file's header says 0: it does not say.
        duration_s=round(length / scale, 3) if length and scale else None,
    )


def _children(file: IO[bytes], box: _Box, kind: bytes) -> Iterator[_Box]:
    return (child for child in _boxes(file, box.start, box.end) if child.kind == kind)


def _path(file: IO[bytes], box: _Box, *kinds: bytes) -> _Box:
    for kind in kinds:
        found = next(_children(file, box, kind), None)
        if found is None:
            raise LookupError(kind)
        box = found
    return box


def _content(file: IO[bytes], box: _Box) -> bytes:
    file.seek(box.start)
    return file.read(box.end - box.start)
