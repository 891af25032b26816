"""What YAML's parser objects to, in the words of who wrote the file.

The parser says what it looked for; a person needs to hear what they wrote, and how to write it.
"""

import re
from typing import Any, Final

import yaml

from batchgen.errors import Place, Problem
from batchgen.jobfile.source import Source, first_unreadable

_TABS: Final = "YAML allows no tabs for indentation: use spaces"
_QUOTE: Final = "put the text in quotes"
_ESCAPE: Final = "in double quotes a \\ starts an escape: write \\\\, or use single quotes"
_MEANINGS: Final = (
    ("found a tab character", "a tab stands here", _TABS),
    ("block sequence entries", "a list cannot begin here", "begin it on a line of its own below"),
    (
        "could not find expected ':'",
        "a key is expected here",
        "behind a key go a colon and a space",
    ),
    (
        "did not find expected alphabetic or numeric",
        "text cannot begin with * or &",
        f"{_QUOTE}: YAML keeps them for names of its own",
    ),
    (
        "did not find expected comment or line break",
        "text cannot begin with | or >",
        f"{_QUOTE}, or begin it on the next line",
    ),
    ("did not find expected hexdecimal", "this is no escape that YAML knows", _ESCAPE),
    ("did not find expected node content", "a value is missing here", _QUOTE),
    ("did not find expected <document start>", "text follows where the file has ended", _QUOTE),
    ("found undefined tag handle", "text cannot begin with !", _QUOTE),
    ("found unknown escape character", "this is no escape that YAML knows", _ESCAPE),
    (
        "found invalid Unicode character escape code",
        "this escape is half of a character, or no character",
        "write the character itself, or both halves of it as JSON does",
    ),
)
"""How the parser's sentence begins, what it means, and how to mend it."""
_KEY_ALONE: Final = re.compile(r"\s*[\w.-]+\Z")
_DASH_ALONE: Final = re.compile(r"\s*-[^\s-]")
_UNQUOTED_VARIABLE: Final = "put text with ${...} in quotes inside [ ] or { }"


def syntax_problem(source: Source, error: yaml.MarkedYAMLError, max_depth: int) -> Problem:
    """Say what the parser met, where, and how to mend it."""
    opened: Any = error.context_mark
    mark = error.problem_mark or opened
    place = _place(source, mark) if mark else Place(source.name)
    said = error.problem or "this is no YAML"
    if said == "exceeded maximum nesting depth":
        # Newer libyaml has a bound of its own, and may reach it before it gives us an event.
        return source.problem(place, f"nested more than {max_depth} deep")
    if (strange := strange_sign(source, place.line)) is not None:
        return strange
    line = source.line(place.line)
    before, at = line[: max(0, place.column - 1)], line[place.column - 1 : place.column]
    meant, mend = _meaning(said, before, at)
    if opened and said.startswith("could not find expected ':'"):
        place = _place(source, opened)
        if _DASH_ALONE.match(source.line(place.line)):
            meant, mend = "a list's next value is expected here", "put a space behind the dash"
    elif opened and said.startswith("found unexpected end of stream"):
        # The end of the file says little; where the quote was opened says all.
        place = _place(source, opened)
        meant, mend = "this quote is not closed", "close it; within '...' write ' twice"
    elif opened and said.startswith("did not find expected ',' or") and opened.line < mark.line:
        place = _place(source, opened)
        sign = said[-2]
        meant, mend = f"the {_PAIRS[sign]} here is not closed", f"put {sign} behind its last value"
    return source.problem(place, f"this is no YAML: {meant}", hint=mend)


_SPACES: Final = "[\u00a0\u2000-\u200b\u202f\u3000\ufeff]"
_STRANGE: Final = re.compile(
    rf"^ *(?:- *)*(?:[A-Za-z_][\w.-]*:|-)?(?P<space>{_SPACES})"
    "|^ *[A-Za-z_]+(?P<colon>\N{FULLWIDTH COLON})"
    "|^(?P<fence>```)"
)
"""Signs that look like those of YAML's structure, where that structure has its own."""


def strange_sign(source: Source, last: int) -> Problem | None:
    """Find a sign that only looks like one of YAML's, in a line up to `last`.

    It is what keeps a text from being read, wherever the parser notices: an indentation of
    no-break spaces as web pages have them, a colon of a Chinese keyboard, the fence of Markdown.
    """
    for number in range(1, last + 1):
        match = _STRANGE.match(source.line(number))
        if match is None or match.lastgroup is None:
            continue
        sign = match[match.lastgroup]
        place = Place(source.name, number, match.start(match.lastgroup) + 1)
        match match.lastgroup:
            case "fence":
                said, mend = f"{sign} is no YAML", "take it out here and at the end"
            case "colon":
                said, mend = f"{sign} is no colon to YAML", "write : and a space behind a key"
            case _:
                said = f"a space that YAML does not know stands here: U+{ord(sign):04X}"
                mend = "write an ordinary space in its place"
        return source.problem(place, said, hint=mend, width=len(sign))
    return None


_PAIRS: Final = {"]": "[", "}": "{"}


def _meaning(said: str, before: str, at: str) -> tuple[str, str]:
    """Return what a sentence of the parser means, given what stands before and at the place."""
    if said.startswith("found character that cannot start any token"):
        if at == "\t":
            return "a tab stands here", _TABS
        return f"text cannot begin with {at}", f"{_QUOTE}: YAML keeps @, ` and % for itself"
    if said.startswith("did not find expected ',' or"):
        return f"{said.removeprefix('did not find expected ')} is expected here", _in_brackets(
            before, at
        )
    if said.startswith("mapping values are not allowed"):
        if _KEY_ALONE.match(before):
            said = "this line is indented as a part of the value above it"
            return said, "give it the indentation of the key it stands beside"
        return 'YAML takes ": " for the end of a key', _QUOTE
    if said.startswith(("did not find expected key", "did not find expected '-' indicator")):
        if before.rstrip()[-1:] in ("'", '"', "]", "}"):
            said = "text goes on behind a closing quote or bracket"
            return said, "put the whole text in quotes; within '...' write ' twice"
        said = "this line does not go with those above it"
        return said, "give it the indentation of the lines it stands beside"
    for start, meant, mend in _MEANINGS:
        if said.startswith(start):
            return meant, mend
    return said, ""


def _in_brackets(before: str, at: str) -> str:
    if at == "{" and before.endswith("$"):
        return _UNQUOTED_VARIABLE
    if at in ("[", "{"):
        return "inside [ ] and { } put text that holds brackets in quotes"
    return "a [ or { above is not closed, or text after it needs quotes"


def _place(source: Source, mark: Any) -> Place:
    return Place(source.name, mark.line + 1, mark.column + 1)


def character_problem(source: Source) -> Problem:
    """Name the character that keeps a text from being YAML."""
    return first_unreadable(source, "YAML") or Problem(
        Place(source.name), "holds a character that YAML does not allow"
    )
