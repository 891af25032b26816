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
        content = os.pread(self._descriptor, ROOM, 0).replace(b"\0", b" ").rstrip()
        self._end = len(content) + 1 if content else 0
        self.found = list(_entries(content))
        if os.fstat(self._descriptor).st_size < ROOM:
            os.pwrite(self._descriptor, b" " * (ROOM - self._end), self._end)
            os.fsync(self._descriptor)

    def keep(self, task_id: str, generation_id: str) -> None:
        """Write an id down, durably.

        Raises:
            OSError: Even this failed.
        """
        line = json.dumps([task_id, generation_id]).encode() + b"\n"
        os.pwrite(self._descriptor, line, self._end)
        os.fsync(self._descriptor)
        self._end += len(line)

    def clear(self) -> None:
        """Blank the file once the ledger knows what was in it."""
        os.pwrite(self._descriptor, b" " * ROOM, 0)
        os.fsync(self._descriptor)
        self._end, self.found = 0, []

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


def _entries(content: bytes) -> Iterator[tuple[str, str]]:
    for line in content.splitlines():
        try:
            task_id, generation_id = json.loads(line)
        except ValueError:
            continue  # torn by the crash it was written in
        yield str(task_id), str(generation_id)
