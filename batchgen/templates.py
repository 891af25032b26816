"""The one template syntax: `${name}` is a value, `$$` is a dollar, any other dollar is itself.

Pure.
"""

import re
from collections.abc import Mapping
from typing import Final

from batchgen.models import Scalar

_MARK: Final = re.compile(r"\$(?:(?P<dollar>\$)|\{(?P<name>[^{}]*)\})")


def names(template: str) -> list[str]:
    """Return the names a template asks for, in order, repeats included."""
    return [match["name"] for match in _MARK.finditer(template) if match["dollar"] is None]


def fill(template: str, values: Mapping[str, Scalar]) -> str:
    """Put the values in.

    Raises:
        KeyError: A name has no value.
    """
    if "$" not in template:
        return template
    return _MARK.sub(
        lambda match: "$" if match["dollar"] else text(values[match["name"]]), template
    )


def text(value: Scalar) -> str:
    """Write a value as a person would: `true`, not `True`."""
    return str(value).lower() if isinstance(value, bool) else str(value)
