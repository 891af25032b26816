"""Is a write-ahead log whole? SQLite drops all behind a damaged frame without a word.

That is right for a tail that a power cut tore: nobody was told that it is kept. It is wrong for
commits that later ones were built on, which may hold ids that were paid for. Reads the file and
changes nothing (its format: https://www.sqlite.org/fileformat2.html, section 4).
"""

import array
import os
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

_HEADER: Final = struct.Struct(">8I")
_FRAME: Final = struct.Struct(">6I")
_MAGIC: Final = 0x377F0682
"""The last bit tells in which byte order sums are taken: 1 for big-endian."""
_PAGE: Final = 4096
"""Bytes of a page where the header cannot be believed: what SQLite takes unless told otherwise."""


@dataclass(frozen=True, slots=True)
class _Frame:
    """One page of the log.

    Attributes:
        current: Whether it carries the log's salts: others are what an earlier log left behind.
        sound: Whether it and all before it are as they were written.
        commits: Whether a transaction ends with it.
    """

    current: bool
    sound: bool
    commits: bool


def is_damaged(path: Path) -> bool:
    """Tell whether a log has lost commits that had been made durable. Blocks.

    A transaction is written when the one before it is on disk. So whatever stands behind the end of
    the first transaction with a bad frame proves that this one had been durable.

    Raises:
        OSError: It cannot be read.
    """
    try:
        with open(path, "rb", opener=_open_no_link) as file:
            behind = [frame for frame in _frames(file) if frame.current and not frame.sound]
    except FileNotFoundError:
        return False
    end = next((place for place, frame in enumerate(behind) if frame.commits), len(behind))
    return end + 1 < len(behind)


def _open_no_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW)


def _frames(file: IO[bytes]) -> Iterator[_Frame]:
    head = file.read(_HEADER.size)
    if len(head) < _HEADER.size:
        return
    magic, _, page, _, *salts, one, two = _HEADER.unpack(head)
    big = bool(magic & 1)
    running = _sum(head[:24], (0, 0), big=big)
    sound = magic & ~1 == _MAGIC and running == (one, two)
    size = page if sound else _PAGE
    first = True
    while len(head := file.read(_FRAME.size)) == _FRAME.size:
        content = file.read(size)
        if len(content) < size:
            return
        _, pages, *its_salts, one, two = _FRAME.unpack(head)
        if first and not sound:
            salts = its_salts
        first = False
        current = its_salts == salts
        if sound := sound and current:
            running = _sum(content, _sum(head[:8], running, big=big), big=big)
            sound = running == (one, two)
        yield _Frame(current, sound, commits=pages > 0)


def _sum(data: bytes, before: tuple[int, int], *, big: bool) -> tuple[int, int]:
    """Go on with a log's sum over pairs of 32-bit words (section 4.2 of the format)."""
    words = array.array("I", data)
    if big != (sys.byteorder == "big"):
        words.byteswap()
    one, two = before
    for even, odd in zip(words[::2], words[1::2], strict=True):
        one = (one + even + two) & 0xFFFF_FFFF
        two = (two + odd + one) & 0xFFFF_FFFF
    return one, two
