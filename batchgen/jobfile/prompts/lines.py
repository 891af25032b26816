"""A .txt file of prompts: a prompt a line.

Each line is sent as it stands, so what belongs to a list, a table or another format is pointed out.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from batchgen.errors import Place
from batchgen.jobfile.prompts.written import PromptReader, WrittenPrompt
from batchgen.jobfile.source import Source
from batchgen.models import describe

_HASHTAG: Final = re.compile(r"#\w")
"""How a hashtag begins, or `#1`; a note has a space there, and a ruler more signs."""
_BULLET: Final = re.compile(r"(?:[0-9]{1,4}[.)]|[-*+\u2022\u2013])\s+\S")
_QUOTED: Final = re.compile("(?:\"[^\"]*\"|'[^']*'|\u201c[^\u201d]*\u201d|\u2018.*\u2019),?\\Z")
_HEAD: Final = re.compile(
    r"[\"']?prompts?[\"']?\s*(?::|(?:[,;\t]\s*[\"']?\w*[\"']?\s*)*)\Z", re.IGNORECASE
)
"""The first line of a table, whose cells are words, or of a list in a job file."""


def read_lines(source: Source, into: PromptReader) -> None:
    """Take a prompt a line; blank lines and lines that start with # are skipped."""
    hashtags: list[int] = []
    for number, line in enumerate(source.each_line(), start=1):
        text = line.strip()
        if _HASHTAG.match(text):
            hashtags.append(number)
        elif text and not text.startswith("#"):
            into.prompts.append(WrittenPrompt(text, Place(source.name, number, 1)))
    if hashtags:
        into.warnings.append(_left_out(source, hashtags))
    into.warnings += _sent_along(into.prompts)


def _left_out(source: Source, lines: Sequence[int]) -> str:
    more = "" if len(lines) == 1 else f" (and {len(lines) - 1:,} more, down to line {lines[-1]})"
    return (
        f"{Place(source.name, lines[0], 1)}: {describe(source.line(lines[0]).strip())} begins with "
        f"# and is left out{more}: put a space behind the # of a note; a prompt that begins with # "
        "goes into a .csv or .jsonl file"
    )


def _sent_along(prompts: Sequence[WrittenPrompt]) -> Iterator[str]:
    """Find what each line has around its prompt, and a first line that is none."""
    if not prompts:
        return
    first = prompts[0]
    if _HEAD.match(first.template):
        yield (
            f"{first.place}: {describe(first.template)} is sent as a prompt: if it heads a table, "
            "save the file as .csv, with commas; a list in YAML has the ending .yaml"
        )
        prompts = prompts[1:]
    if len(prompts) > 1 and _all(prompts, _BULLET.match):
        shown = prompts[0].template.split()[0]
        yield f"{prompts[0].place}: each line begins as in a list ({shown}), and is sent with it"
    if len(prompts) > 1 and _all(prompts, _QUOTED.match):
        yield f"{prompts[0].place}: each line stands in quotes, and is sent with them"


def _all(prompts: Sequence[WrittenPrompt], matches: Callable[[str], object]) -> bool:
    return all(matches(prompt.template) for prompt in prompts)
