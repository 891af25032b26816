"""What a person sees of a run while it goes on: observers on stderr. A run works without them."""

import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol, Self

from batchgen.events import Counted, Event, Level, Notice, TaskMoved
from batchgen.task import Status
from batchgen.terminal import duration, printable, shortened

if TYPE_CHECKING:
    from rich.console import Console

PLAIN_COUNT_SECONDS: Final = 30.0
"""How often plain output says how the run stands."""


class Kind(StrEnum):
    """How a run is shown."""

    AUTO = "auto"
    LIVE = "live"
    PLAIN = "plain"
    NONE = "none"


class Display(Protocol):
    """An observer that is entered before the run and left after it."""

    def __call__(self, event: Event) -> None:
        """Show an event."""

    def __enter__(self) -> Self:
        """Begin."""

    def __exit__(self, *_: object) -> None:
        """Leave the terminal as it was."""


def choose(
    kind: Kind, *, verbose: bool = False, environment: Mapping[str, str] = os.environ
) -> Display:
    """Return the display for this terminal: a pipe, CI, NO_COLOR and TERM=dumb get plain lines."""
    if kind is Kind.AUTO:
        plain = (
            not sys.stderr.isatty()
            or environment.get("TERM") == "dumb"
            or any(environment.get(name) for name in ("CI", "NO_COLOR"))
        )
        kind = Kind.PLAIN if plain else Kind.LIVE
    match kind:
        case Kind.LIVE:
            return LiveDisplay(verbose=verbose)
        case Kind.PLAIN:
            return PlainDisplay(verbose=verbose)
        case _:
            return NoDisplay()


class NoDisplay:
    """Shows nothing but warnings."""

    def __call__(self, event: Event) -> None:
        """Show warnings only."""
        if isinstance(event, Notice) and event.level is Level.WARNING:
            print(f"batchgen: {printable(event.message)}", file=sys.stderr)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to leave."""


class PlainDisplay(NoDisplay):
    """A line for each task that ended, and the counts now and then."""

    def __init__(self, *, verbose: bool = False) -> None:
        self._verbose = verbose
        self._told = 0.0

    def __call__(self, event: Event) -> None:
        """Print an event's line, if it has one."""
        match event:
            case TaskMoved() if line := task_line(event, verbose=self._verbose):
                self._print(line)
            case Notice(message=message):
                self._print(printable(message))
            case Counted(seconds=seconds) if seconds - self._told >= PLAIN_COUNT_SECONDS:
                self._told = seconds
                self._print(counts_line(event))
            case _:
                return

    def _print(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)


class LiveDisplay:
    """A progress bar, with a line above it for whatever did not go well."""

    def __init__(self, *, verbose: bool = False, console: "Console | None" = None) -> None:
        # rich takes some 30 ms to import: only who shows a bar pays for it.
        from rich.console import Console  # noqa: PLC0415
        from rich.progress import (  # noqa: PLC0415
            BarColumn,
            MofNCompleteColumn,
            Progress,
            SpinnerColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self._verbose = verbose
        self._progress = Progress(
            SpinnerColumn(),
            MofNCompleteColumn(),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[state]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(elapsed_when_finished=False),
            console=console or Console(stderr=True),
            refresh_per_second=4,
            transient=True,
        )
        self._bar = self._progress.add_task("", total=None, state="")

    def __call__(self, event: Event) -> None:
        """Move the bar, or print a line above it."""
        from rich.text import Text  # noqa: PLC0415

        match event:
            case Counted(counts=counts):
                self._progress.update(
                    self._bar,
                    total=sum(counts.values()),
                    completed=sum(counts.get(status, 0) for status in _OVER),
                    state=state_words(counts),
                )
            case Notice(message=message, level=level):
                style = "yellow" if level is Level.WARNING else ""
                self._progress.print(Text(printable(message), style=style))
            case TaskMoved(status=Status.SUCCEEDED) if not self._verbose:
                return  # the bar counts them; a night of lines would bury the ones that matter
            case TaskMoved() if line := task_line(event, verbose=self._verbose):
                style = "red" if event.status in _OVER[1:] else ""
                self._progress.print(Text(line, style=style))
            case _:
                return

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # the terminal may be gone
            self._progress.stop()


_OVER: Final = (
    Status.SUCCEEDED,
    Status.FAILED,
    Status.TIMED_OUT,
    Status.UNRESOLVED,
    Status.CANCELLED,
)
_MARKS: Final = {
    Status.SUCCEEDED: "done",
    Status.FAILED: "FAILED",
    Status.TIMED_OUT: "TIMED OUT",
    Status.UNRESOLVED: "UNRESOLVED",
    Status.CANCELLED: "cancelled",
}


def task_line(event: TaskMoved, *, verbose: bool = False) -> str | None:
    """Write a task's line: when it ended, or at every step where verbose."""
    if event.status not in _MARKS and not verbose:
        return None
    mark = _MARKS.get(event.status, event.status.value.replace("_", " "))
    what = event.file_name or f"{event.task_id} {shortened(event.prompt, 50)!r}"
    why = f": {printable(event.message)}" if event.message else ""
    return f"{event.index:>5}  {mark:<10} {printable(what)}{why}"


def state_words(counts: Mapping[Status, int]) -> str:
    """Say what is under way and what went wrong; what is zero is left out."""
    words = {
        "making": counts.get(Status.IN_FLIGHT, 0) + counts.get(Status.SUBMITTING, 0),
        "downloading": counts.get(Status.COMPLETED, 0),
        "failed": counts.get(Status.FAILED, 0) + counts.get(Status.TIMED_OUT, 0),
        "unresolved": counts.get(Status.UNRESOLVED, 0),
    }
    return ", ".join(f"{count} {word}" for word, count in words.items() if count)


def counts_line(event: Counted) -> str:
    """Write the counts on one line."""
    done = event.counts.get(Status.SUCCEEDED, 0)
    words = state_words(event.counts)
    tail = f", {words}" if words else ""
    total = sum(event.counts.values())
    return f"{done} of {total} done{tail}, {duration(event.seconds)} so far"
