"""Prompt files: which reader reads which, and what is wrong with a file as a whole."""

from collections.abc import Collection
from pathlib import Path
from typing import Final

from batchgen.errors import JobFileError, Place, Problem
from batchgen.jobfile.prompts.lines import read_lines
from batchgen.jobfile.prompts.listed import read_yaml
from batchgen.jobfile.prompts.records import read_records
from batchgen.jobfile.prompts.table import read_table
from batchgen.jobfile.prompts.written import PromptReader
from batchgen.jobfile.schema import PROMPT_FILES
from batchgen.jobfile.source import (
    Source,
    decode,
    first_unreadable,
    read_bounded,
)

_YAML: Final = (".yaml", ".yml")
_HINTS: Final = {
    ".json": "write an object a line into a .jsonl file",
    **dict.fromkeys((".tsv", ".xlsx", ".xls", ".ods"), "save it as CSV with commas, in UTF-8"),
}


def read_prompt_file(
    path: Path, shown: str, into: PromptReader, variables: Collection[str] = ()
) -> None:
    """Read a .txt, .csv, .jsonl or .yaml file; mistakes in its rows go into the reader.

    Args:
        path: The file.
        shown: How to name it in messages.
        into: Takes the prompts.
        variables: Variables that are used elsewhere in the job.

    Raises:
        JobFileError: It cannot be read at all, has an ending that is not known, or holds no prompt.
            A place without a line means the whole file.
    """
    ending = path.suffix.lower()
    if ending not in PROMPT_FILES:
        said = (
            f"prompts are read from .txt, .csv, .jsonl and .yaml files, not from {ending or 'this'}"
        )
        hint = _HINTS.get(ending, "write a prompt a line into a .txt file")
        raise JobFileError([Problem(Place(shown), said, hint=hint)])
    source = _text(path, shown)
    if ending not in _YAML and (wrong := first_unreadable(source, "a prompt file")) is not None:
        raise JobFileError([wrong])
    into.sources[shown] = source
    match ending:
        case ".txt":
            read_lines(source, into)
        case ".csv":
            read_table(source, into, variables)
        case ".jsonl":
            read_records(source, into)
        case _:
            read_yaml(source, into)
    if not into.prompts and not into.mistakes:
        raise JobFileError([Problem(Place(shown), "holds no prompt", hint=" ".join(into.warnings))])


def _text(path: Path, shown: str) -> Source:
    try:
        raw = read_bounded(path)
    except (OSError, ValueError) as error:  # the latter of a NUL in the path
        reason = getattr(error, "strerror", None) or str(error)
        raise JobFileError([Problem(Place(shown), f"cannot be read: {reason}")]) from None
    return decode(shown, raw, "split it into several files, each with a job of its own")
