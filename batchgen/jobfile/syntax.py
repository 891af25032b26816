"""What YAML's parser objects to, in the words of who wrote the file."""

from typing import Final

import yaml

from batchgen.errors import Place, Problem
from batchgen.jobfile.source import Source, first_unreadable

_TABS: Final = "YAML allows no tabs for indentation: use spaces"
_QUOTE: Final = "put the text in quotes"
_OPEN: Final = "a [ or { above is not closed, or text after it needs quotes"
_HINTS: Final = (
    ("found a tab character", _TABS),
    (
        "found character that cannot start any token",
        f"{_QUOTE}: YAML keeps @, ` and % at its start",
    ),
    ("mapping values are not allowed", f'{_QUOTE}: a ": " in it starts a mapping'),
    (
        "did not find expected key",
        "check the indentation; text that goes on after ] } or a quote needs quotes around it all",
    ),
    ("did not find expected ',' or", _OPEN),
    ("did not find expected <document start>", "text after a quote or bracket: quote the whole"),
    ("did not find expected alphabetic or numeric", f"{_QUOTE}: YAML keeps * and & at its start"),
    ("found unexpected end of stream", "a quote above is not closed"),
    ("could not find expected ':'", "a key needs a colon and a space behind it"),
    ("did not find expected node content", "a value is missing here, or a sign needs quotes"),
    ("found undefined tag handle", f"{_QUOTE}: YAML keeps ! at its start"),
    ("did not find expected comment or line break", f"{_QUOTE}: YAML keeps | and > at its start"),
    ("found unknown escape character", "in double quotes a \\ starts an escape: write \\\\"),
)
_UNQUOTED_VARIABLE: Final = "put text with ${...} in quotes inside [ ] or { }"


def syntax_problem(source: Source, error: yaml.MarkedYAMLError, max_depth: int) -> Problem:
    """Say what the parser met, where, and how to mend it."""
    mark = error.problem_mark or error.context_mark
    place = Place(source.name, mark.line + 1, mark.column + 1) if mark else Place(source.name)
    said = error.problem or "this is no YAML"
    if said == "exceeded maximum nesting depth":
        # Newer libyaml has a bound of its own, and may reach it before it gives us an event.
        return source.problem(place, f"nested more than {max_depth} deep")
    before = source.line(place.line)[: place.column]
    hint = next((hint for start, hint in _HINTS if said.startswith(start)), "")
    if before.endswith("\t") and not before.strip():
        hint = _TABS
    elif hint == _OPEN and before.endswith("${"):
        hint = _UNQUOTED_VARIABLE
    if said.startswith("found unexpected end of stream") and (opened := error.context_mark):
        # The end of the file says little; where the quote was opened says all.
        place = Place(source.name, opened.line + 1, opened.column + 1)
        said, hint = "this quote is not closed", "close it; within '...' write ' twice"
    return source.problem(place, f"this is no YAML: {said}", hint=hint)


def character_problem(source: Source) -> Problem:
    """Name the character that keeps a text from being YAML."""
    return first_unreadable(source, "YAML") or Problem(
        Place(source.name), "holds a character that YAML does not allow"
    )
