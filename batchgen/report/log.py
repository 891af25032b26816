"""run.log: what happened, a line an event, for whoever asks in the morning."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import IO, Self

from batchgen.events import Event, Notice, TaskMoved


class RunLog:
    """Appends events to a file; an observer."""

    def __init__(self, path: Path, now: Callable[[], float]) -> None:
        self._now = now
        self._file: IO[str] = path.open("a", encoding="utf-8", errors="backslashreplace")

    def __call__(self, event: Event) -> None:
        """Write an event; counts are left to status.json."""
        match event:
            case TaskMoved():
                name = f" {event.file_name}" if event.file_name else ""
                said = f": {event.message}" if event.message else ""
                self.line(f"{event.task_id} {event.status}{name}{said}")
            case Notice():
                self.line(f"{event.level}: {event.message}")
            case _:
                return

    def line(self, text: str) -> None:
        """Write one line with the local time."""
        when = datetime.fromtimestamp(self._now()).astimezone().isoformat(timespec="seconds")
        try:
            self._file.write(f"{when} {text}\n")
            self._file.flush()
        except OSError:
            # A full disk: the night goes on without its log until there is room.
            return

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
