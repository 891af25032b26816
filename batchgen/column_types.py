"""Types of values, and the one type in which a column of them is written. Pure."""

from collections.abc import Collection
from enum import StrEnum
from typing import Final

from batchgen import templates
from batchgen.models import Scalar


class ColumnType(StrEnum):
    """A type that readers of columns know, in the words of JSON Schema."""

    BOOLEAN = "boolean"
    INTEGER = "integer"
    NUMBER = "number"
    STRING = "string"


def type_of(value: Scalar) -> ColumnType:
    """Return a value's type; an integer of more than 64 bits fits no column but one of text."""
    if isinstance(value, bool):
        return ColumnType.BOOLEAN
    if isinstance(value, int):
        return ColumnType.INTEGER if -(2**63) <= value < 2**63 else ColumnType.STRING
    return ColumnType.NUMBER if isinstance(value, float) else ColumnType.STRING


def common_type(types: Collection[ColumnType]) -> ColumnType | None:
    """Return the type that holds values of all these types; None where there are none."""
    found = frozenset(types)
    if len(found) <= 1:
        return next(iter(found), None)
    return ColumnType.NUMBER if found == _NUMBERS else ColumnType.STRING


def cast(value: Scalar, to: ColumnType) -> Scalar:
    """Write a value in the common type of its column."""
    match to:
        case ColumnType.NUMBER if type(value) is int:
            return float(value)
        case ColumnType.STRING if type(value) is not str:
            return templates.text(value)
        case _:
            return value


_NUMBERS: Final = frozenset({ColumnType.INTEGER, ColumnType.NUMBER})
