"""What can go wrong, as a family; each member knows the exit code it ends a command with.

BatchgenError                   1   anything of ours; on its own it is a bug
├── UsageError                  2   an option, a path or an extra that cannot be used
│   └── RunDirectoryError       2   a run directory that must not be touched as it is
├── JobFileError                3   a job file with mistakes, all of them at once
├── ProviderRefused             4   turned away at the door: key, credits, configuration
├── LedgerError                 6   the ledger could not record what happened: the run stops
└── RunLocked                   7   another process runs this run
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar

from batchgen.terminal import visible


class ExitCode(IntEnum):
    """What a command's end means to the shell that started it."""

    OK = 0
    BUG = 1
    USAGE = 2
    INVALID_JOB = 3
    REFUSED = 4
    INCOMPLETE = 5
    STOPPED = 6
    LOCKED = 7
    INTERRUPTED = 130


class BatchgenError(Exception):
    """Base of the family. Its text is a sentence for the person at the keyboard."""

    exit_code: ClassVar[ExitCode] = ExitCode.BUG


class UsageError(BatchgenError):
    """An option, a path or an optional extra cannot be used as given."""

    exit_code = ExitCode.USAGE


class RunDirectoryError(UsageError):
    """The run directory is damaged, foreign or not ours to write in."""


class ProviderRefused(BatchgenError):
    """The provider turned the run away before it began: key, credits or configuration."""

    exit_code = ExitCode.REFUSED


class LedgerError(BatchgenError):
    """The ledger could not make a step durable; the step did not happen.

    Attributes:
        full: Whether the disk is full, which may pass.
    """

    full: bool = False

    exit_code = ExitCode.STOPPED


class RunLocked(BatchgenError):
    """Another process holds the run directory."""

    exit_code = ExitCode.LOCKED


@dataclass(frozen=True, slots=True)
class Place:
    """A point in a file a person wrote. Line and column count from 1; 0 means the whole file."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        """Give the form editors and terminals turn into a link."""
        if not self.line:
            return self.file
        return (
            f"{self.file}:{self.line}:{self.column}" if self.column else f"{self.file}:{self.line}"
        )


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a job file.

    Attributes:
        place: Where it is.
        message: What is wrong there.
        hint: How to mend it, empty when the message says it all.
        source: The line it stands on; empty where there is none, or where it holds a secret.
        width: How many characters of the line are meant.
    """

    place: Place
    message: str
    hint: str = ""
    source: str = ""
    width: int = 1

    def __str__(self) -> str:
        """Draw the problem with its line and a caret under the place."""
        lines = [f"{visible(str(self.place))}: {visible(self.message)}"]
        if self.source:
            number = str(self.place.line)
            start = max(0, self.place.column - 1)
            source = "".join(_one_for_one(sign) for sign in self.source)
            before, meant = source[:start], source[start : start + self.width]
            indent = "".join(
                sign if sign == "\t" else " " * _terminal_columns(sign) for sign in before
            )
            carets = "^" * max(1, sum(map(_terminal_columns, meant)))
            lines.append(f"  {number} | {source}")
            lines.append(f"  {' ' * len(number)} | {indent}{carets}")
        if self.hint:
            lines.append(f"    {visible(self.hint)}")
        return "\n".join(lines)


def _terminal_columns(sign: str) -> int:
    """Return how many columns of a terminal a character takes: 2 where it is wide, as in CJK."""
    if unicodedata.category(sign) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(sign) in "WF" else 1


def _one_for_one(sign: str) -> str:
    """Return a sign that shows as itself, or one that stands for it: the carets count signs."""
    return sign if sign.isprintable() or sign == "\t" else "\N{REPLACEMENT CHARACTER}"


class JobFileError(BatchgenError):
    """A job file cannot be run. `problems` holds every mistake, in the order of the file."""

    exit_code = ExitCode.INVALID_JOB

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=_in_file_order))
        super().__init__("\n".join(str(problem) for problem in self.problems))


def _in_file_order(problem: Problem) -> tuple[str, int, int]:
    return problem.place.file, problem.place.line, problem.place.column


def first_error(error: BaseException) -> BaseException:
    """Take the first error out of the groups that task groups wrap around it."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
