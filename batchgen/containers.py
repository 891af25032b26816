"""Where files other than MP4 end by their own structure, so that a cut one is found.

Pure: reads an open file and nothing else, and reads no picture. Sources: RFC 8794 (EBML), RFC 9559
(Matroska, of which WebM is a part), the GIF89a specification, RIFF (Multimedia Programming
Interface, 1991), RFC 3533 (Ogg).
"""

import struct
from typing import IO, Final, Literal, TypeAlias

Kind: TypeAlias = Literal["webm", "avi", "gif", "ogg"]

HEAD_BYTES: Final = 16
"""As many bytes at the beginning tell the kind."""
MAX_ELEMENTS: Final = 100_000
"""A file of more pieces is let through unread."""
CUT: Final = -1
"""In place of an end: the file stops in the middle of something."""

_MAGIC: Final[tuple[tuple[int, bytes, Kind], ...]] = (
    (0, b"\x1aE\xdf\xa3", "webm"),
    (8, b"AVI ", "avi"),
    (0, b"GIF8", "gif"),
    (0, b"OggS", "ogg"),
)
_SEGMENT: Final = 0x18538067


def kind_of(head: bytes) -> Kind | None:
    """Tell what a file is by its first bytes; None if it is none of these."""
    for offset, magic, kind in _MAGIC:
        if head[offset : offset + len(magic)] == magic:
            return kind
    return None


def structural_end(kind: Kind, file: IO[bytes], size: int) -> int | None:
    """Return the offset after the last byte that a file's structure asks for.

    Args:
        kind: What it is.
        file: Open for reading, with random access.
        size: Its length in bytes.

    Returns:
        More than `size`, or `CUT`, where the file is cut; None where its structure does not say.
    """
    match kind:
        case "webm":
            return _ebml_end(file, size)
        case "avi":
            return _riff_end(file)
        case "gif":
            return _gif_end(file, size)
        case "ogg":
            return _ogg_end(file, size)


def _ebml_end(file: IO[bytes], size: int) -> int | None:
    """Go from element to element; a segment of unknown length is entered, as a live one is."""
    at, inside = 0, False
    for _ in range(MAX_ELEMENTS):
        if at == size:
            return at if inside else CUT
        file.seek(at)
        head = file.read(12)
        try:
            name, name_bytes = _vint(head, marked=True)
            length, length_bytes = _vint(head[name_bytes:], marked=False)
        except IndexError:
            return CUT
        except ValueError:
            return None
        at += name_bytes + length_bytes
        if length == (1 << 7 * length_bytes) - 1:
            if name != _SEGMENT:
                # Nothing but its parts would tell where it ends.
                return None
            inside = True
            continue
        at += length
        if at > size or name == _SEGMENT:
            return at
    return None


def _vint(data: bytes, *, marked: bool) -> tuple[int, int]:
    """Read a number of variable size: its value, with its marker bit or without, and its bytes.

    Raises:
        IndexError: It is cut.
        ValueError: It is not one.
    """
    width = 9 - data[0].bit_length()
    if width > (4 if marked else 8):
        raise ValueError("no such number")
    if len(data) < width:
        raise IndexError
    value = int.from_bytes(data[:width])
    return value if marked else value & ((1 << 7 * width) - 1), width


def _riff_end(file: IO[bytes]) -> int | None:
    file.seek(4)
    (length,) = struct.unpack("<I", file.read(4))
    # What is written to a pipe has no length, or the greatest there is.
    return None if length in (0, 0xFFFF_FFFF) else 8 + length


def _gif_end(file: IO[bytes], size: int) -> int | None:
    """Go from block to block up to the trailer."""
    file.seek(10)
    flags = file.read(3)[:1]
    if not flags:
        return CUT
    file.seek(13 + _colour_table(flags[0]))
    while file.tell() < size:
        match file.read(1):
            case b"\x3b":
                return file.tell()
            case b"\x21":
                file.seek(1, 1)
            case b"\x2c":
                descriptor = file.read(9)
                if len(descriptor) < 9:
                    return CUT
                file.seek(_colour_table(descriptor[8]) + 1, 1)
            case _:
                return None
        while length := file.read(1):
            if length == b"\0":
                break
            file.seek(length[0], 1)
    return CUT


def _colour_table(flags: int) -> int:
    """Return the bytes of a table of colours, which the flags before it tell."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _ogg_end(file: IO[bytes], size: int) -> int | None:
    """Go from page to page. One that ends a stream need not be the last, so none is asked for."""
    at = 0
    for _ in range(MAX_ELEMENTS):
        if at >= size:
            return at
        file.seek(at)
        head = file.read(27)
        if head[:4] != b"OggS"[: len(head)]:
            return None
        if len(head) < 27:
            return CUT
        lengths = file.read(head[26])
        if len(lengths) < head[26]:
            return CUT
        at += 27 + head[26] + sum(lengths)
    return None
