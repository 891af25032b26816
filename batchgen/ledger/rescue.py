"""The last resort for an id that was paid for when the ledger cannot be written.

Room for it is set aside on disk beforehand, so that a disk that has run full still takes it.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOM: Final = 64 * 1024
"""Bytes set aside: some 400 ids, and at most `run.submits` can be in the air."""


class Rescue:
    """A file of fixed size, blank but for the ids that were rescued."""

    def __init__(self, path: Path) -> None:
        """Set the room aside, and read what an earlier run put there.

        Raises:
            OSError: There is no room now.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self._descriptor = os.open(path, flags, 0o644)
        content = _written(os.pread(self._descriptor, ROOM, 0))
        self._end = len(content)
        self.found = list(_entries(content))
        if os.fstat(self._descriptor).st_size < ROOM:
            self._write(b" " * (ROOM - self._end))

    def keep(self, task_id: str, generation_id: str) -> None:
        """Write an id down, durably.

        Raises:
            OSError: Even this failed.
        """
        # On a line of its own, also behind one that a crash tore.
        line = b"\n" + json.dumps([task_id, generation_id]).encode() + b"\n"
        self._write(line)
        self._end += len(line)

    def clear(self) -> None:
        """Blank the file once the ledger knows what was in it.

        Raises:
            OSError: It could not be written.
        """
        self._end, self.found = 0, []
        self._write(b" " * ROOM)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def _write(self, data: bytes) -> None:
        """Write all of it, durably: a disk may take less at once than it is given."""
        at, rest = self._end, memoryview(data)
        while rest:
            written = os.pwrite(self._descriptor, rest, at)
            at, rest = at + written, rest[written:]
        os.fsync(self._descriptor)


def rescued(path: Path) -> list[tuple[str, str]]:
    """Read the task ids and generation ids that were rescued, and leave the file as it is.

    Raises:
        OSError: It is there and cannot be read.
    """
    try:
        with path.open("rb") as file:
            return list(_entries(_written(file.read(ROOM))))
    except FileNotFoundError:
        return []


def _written(content: bytes) -> bytes:
    """Take off the room that is still blank."""
    return content.replace(b"\0", b" ").rstrip()


def _entries(content: bytes) -> Iterator[tuple[str, str]]:
    for line in content.splitlines():
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            continue  # torn by the crash it was written in
        match entry:
            # Half a surrogate pair is no text that the ledger could take.
            case [str(task_id), str(generation_id)] if _is_text(task_id + generation_id):
                yield task_id, generation_id


def _is_text(value: str) -> bool:
    return value.encode("utf-8", "replace").decode("utf-8") == value
