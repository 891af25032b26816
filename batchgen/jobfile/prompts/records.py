"""A .jsonl file of prompts: a line is an object with the key `prompt`, or a bare text."""

import json
import re
from functools import partial
from typing import Any, Final

from batchgen.errors import Place, Problem
from batchgen.jobfile.prompts.written import PromptReader
from batchgen.jobfile.source import Source
from batchgen.jobfile.suggest import meant_as
from batchgen.jobfile.yaml12 import Node
from batchgen.models import describe


class _RepeatedError(ValueError):
    """A name stands twice in one object."""


def _mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _RepeatedError(f'"{twice}" is written twice in this line')
    return mapping


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_mapping)
_SPACE: Final = re.compile(r"[ \t]*")
_LONE_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_ONE_A_LINE: Final = "a .jsonl file holds one object a line, with nothing around them"
_MEANINGS: Final = (
    (
        "Expecting property name",
        "a name in double quotes is expected here",
        "names and texts stand in double quotes; no comma stands before }",
    ),
    (
        "Expecting value",
        "a value is expected here",
        "text stands in double quotes; true, false and null are written small",
    ),
    (
        "Expecting ',' delimiter",
        "a comma or the closing bracket is expected here",
        'a " inside a text is written \\"',
    ),
    ("Expecting ':' delimiter", "a colon is expected here", "a colon stands behind each name"),
    (
        "Unterminated string",
        "this quote is not closed",
        r"a line break inside a text is written \n",
    ),
    ("Invalid control character", "a text holds a tab", r"a tab inside a text is written \t"),
    ("Invalid \\", "this is no escape that JSON knows", r"a \ inside a text is written \\"),
    ("Extra data", "text goes on behind the object", _ONE_A_LINE),
)
"""How the parser's sentence begins, what it means, and how to mend it."""


def read_records(source: Source, into: PromptReader) -> None:
    """Take the prompt of each line; blank lines are skipped."""
    for number, line in enumerate(source.each_line(), start=1):
        text = line.strip(" \t\r\n")
        if not text:
            continue
        if text in ("{", "["):
            # Each of its lines would be a mistake of its own.
            into.miss("no JSON", _spread_out(source, number, line))
            return
        try:
            value = _DECODER.decode(text)
        except (ValueError, RecursionError) as error:
            into.miss("no JSON", _no_json(source, number, line, error))
            continue
        if (wrong := _no_prompt(value, text)) is not None:
            said, hint = wrong
            into.miss("no prompt", source.problem(_begin(source, number, line), said, hint=hint))
            continue
        into.take(
            source,
            Place(source.name, number, 1),
            _given(value),
            partial(_located, source, number, line, value),
        )


def _given(value: object) -> object:
    """Leave out what is null: so programs that write tables say that a cell is empty."""
    if not isinstance(value, dict):
        return value
    return {name: part for name, part in value.items() if part is not None or name == "prompt"}


def _begin(source: Source, number: int, line: str, behind: int = 0) -> Place:
    """Return a place so many characters behind the first of a line's text."""
    return Place(source.name, number, _skip_space(line, 0) + behind + 1)


def _skip_space(line: str, at: int) -> int:
    match = _SPACE.match(line, at)
    return match.end() if match is not None else at


def _spread_out(source: Source, number: int, line: str) -> Problem:
    said = "an object is spread over several lines here" if "{" in line else "a list begins here"
    return source.problem(_begin(source, number, line), said, hint=_ONE_A_LINE)


def _no_json(source: Source, number: int, line: str, error: Exception) -> Problem:
    match error:
        case json.JSONDecodeError(msg=said, pos=position):
            meant, hint = next(
                ((meant, mend) for start, meant, mend in _MEANINGS if said.startswith(start)),
                (said, ""),
            )
            place = _begin(source, number, line, position)
            return source.problem(place, f"this line is no JSON: {meant}", hint=hint)
        case _RepeatedError():
            said, hint = str(error), "keep one of them"
        case RecursionError():
            said, hint = "this line is nested too deep", "values are text, numbers, true or false"
        case _:
            said, hint = "a number in this line is too long", "put it in quotes if it is text"
    return source.problem(_begin(source, number, line), said, hint=hint)


def _no_prompt(value: object, text: str) -> tuple[str, str] | None:
    """Say why a line's value is no prompt, and what to do about it, or None where it may be one."""
    match value:
        case {"prompt": _} | str():
            # Two escapes make one character beyond 16 bits; one alone makes none.
            if "\\ud" in text.lower() and _LONE_SURROGATE.search(
                json.dumps(value, ensure_ascii=False)
            ):
                return "half of an escaped character stands alone", "write the character itself"
            return None
        case dict():
            typo = meant_as("prompt", value)
            hint = (
                'an object is {"prompt": "A fox trots", "seed": 7}'
                if typo is None
                else f'did you mean "prompt" by "{typo}"?'
            )
            return '"prompt" is missing here', hint
        case _:
            said = f"expected an object with the key prompt, or a text, not {describe(value)}"
            return said, _ONE_A_LINE if isinstance(value, list) else ""


def _located(source: Source, number: int, line: str, value: object) -> Node:
    """Return a line's value with the places of its parts; the line has been read before."""
    at = _skip_space(line, 0)
    if not isinstance(value, dict):
        return _placed(source, number, line, at)[0]
    node = Node({}, Place(source.name, number, at + 1))
    while line[at] in "{,":
        name, behind = _placed(source, number, line, _skip_space(line, at + 1))
        # Behind the name are a colon and the value.
        part, behind = _placed(
            source, number, line, _skip_space(line, _skip_space(line, behind) + 1)
        )
        node.keys[name.value] = name.place
        node.value[name.value] = part
        at = _skip_space(line, behind)
    return node


def _placed(source: Source, number: int, line: str, at: int) -> tuple[Node, int]:
    """Return the value that begins at `at`, and where it ends."""
    value, behind = _DECODER.raw_decode(line, at)
    return Node(value, Place(source.name, number, at + 1), behind + 1, number), behind
