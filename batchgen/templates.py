"""The one template syntax: `${name}` is a value, `$$` is a dollar, any other dollar is itself.

Pure.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from batchgen.models import Scalar

_MARK: Final = re.compile(r"\$(?:(?P<dollar>\$)|\{(?P<name>[^{}]*)\})")

_ALMOST: Final = re.compile(r"\$?\{\{\s*\w[\w .-]*\}\}|\$\{\w*")
"""A variable of another program, or one whose brace is not closed."""


def names(template: str) -> list[str]:
    """Return the names a template asks for, in order, repeats included."""
    return [match["name"] for match in _MARK.finditer(template) if match["dollar"] is None]


def unread(template: str) -> list[str]:
    """Return what looks like a variable and is none, in order: `{{animal}}`, `${animal`."""
    return _ALMOST.findall(_MARK.sub(" ", template))


def fill(template: str, values: Mapping[str, Scalar]) -> str:
    """Put the values in.

    Raises:
        KeyError: A name has no value.
    """
    if "$" not in template:
        return template
    return "".join(
        [words if name is None else text(values[name]) for words, name in _pieces(template)]
    )


@lru_cache(maxsize=256)  # a grid fills one template many times
def _pieces(template: str) -> tuple[tuple[str, str | None], ...]:
    """Cut a template into words and names; beside a name its words are empty."""
    pieces: list[tuple[str, str | None]] = []
    end = 0
    for match in _MARK.finditer(template):
        pieces.append((template[end : match.start()] + (match["dollar"] or ""), None))
        if match["dollar"] is None:
            pieces.append(("", match["name"]))
        end = match.end()
    return (*pieces, (template[end:], None))


def text(value: Scalar) -> str:
    """Write a value as a person would: `true`, not `True`."""
    return str(value).lower() if isinstance(value, bool) else str(value)
