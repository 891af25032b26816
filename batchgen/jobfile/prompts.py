"""Prompt files: many prompts in a file of their own."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from batchgen.errors import JobFileError, Place, Problem
from batchgen.job import Values
from batchgen.jobfile.source import decode

_LINE_END: Final = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True, slots=True)
class WrittenPrompt:
    """A prompt as somebody wrote it, with its place."""

    template: str
    place: Place
    id: str | None = None
    own: Values = field(default_factory=dict)


def read_prompt_file(path: Path, shown: str) -> list[WrittenPrompt]:
    """Read a `.txt` file: a line a prompt, blank lines and lines that start with # skipped.

    Args:
        path: The file.
        shown: How to name it in messages.

    Raises:
        JobFileError: It cannot be read, has an ending that is not known, or holds no prompt.
    """
    if path.suffix.lower() != ".txt":
        raise JobFileError(
            [
                Problem(
                    Place(shown),
                    f"prompts are read from .txt files, not from {path.suffix or 'this'}",
                    hint="write a prompt a line into a .txt file",
                )
            ]
        )
    try:
        source = decode(shown, path.read_bytes())
    except (OSError, ValueError) as error:  # the latter of a NUL in the path
        reason = getattr(error, "strerror", None) or str(error)
        raise JobFileError([Problem(Place(shown), f"cannot be read: {reason}")]) from None
    prompts = [
        WrittenPrompt(text, Place(shown, number, 1))
        for number, line in enumerate(_LINE_END.split(source.text), start=1)
        if (text := line.strip()) and not text.startswith("#")
    ]
    if not prompts:
        raise JobFileError([Problem(Place(shown), "holds no prompt")])
    return prompts
