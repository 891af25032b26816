"""run.log: what happened, a line an event, for whoever asks in the morning."""

import os
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import IO, Self

from batchgen.events import Counted, Event, Notice, TaskMoved
from batchgen.terminal import visible


class RunLog:
    """Appends events to a file; an observer."""

    def __init__(self, path: Path, now: Callable[[], float]) -> None:
        """Open the file, which is made where there is none.

        Raises:
            OSError: It cannot be written, or is a symbolic link: that may lead anywhere.
        """
        self._now = now
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self._file: IO[str] = os.fdopen(os.open(path, flags, 0o666), "a", encoding="utf-8")

    def __call__(self, event: Event) -> None:
        """Write an event; counts are left to status.json.

        Moves of tasks, of which a busy second has hundreds, reach the file with the next counts.
        """
        try:
            match event:
                case TaskMoved():
                    name = f" {event.file_name}" if event.file_name else ""
                    said = f": {event.message}" if event.message else ""
                    self._line(f"{event.task_id} {event.status}{name}{said}")
                case Notice():
                    self._line(f"{event.level}: {event.message}")
                    self._file.flush()
                case Counted():
                    self._file.flush()
        except OSError:
            # A full disk: the night goes on without its log until there is room.
            return

    def _line(self, text: str) -> None:
        """Write one line with the local time."""
        self._file.write(f"{_local_time(int(self._now()))} {visible(text)}\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


@lru_cache(maxsize=1)
def _local_time(seconds: int) -> str:
    """Write a time down; most lines of a busy run are of the same second as the one before."""
    return datetime.fromtimestamp(seconds).astimezone().isoformat(timespec="seconds")
