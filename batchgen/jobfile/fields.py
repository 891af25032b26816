"""What a value of the job file may look like: pydantic types, each with its JSON Schema.

What a schema of ours lets pass is at least what the type takes: an editor must not underline what
runs.
"""

import math
import re
from collections.abc import Callable
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    JsonValue,
    PlainValidator,
    WithJsonSchema,
)
from pydantic.config import JsonDict

from batchgen.job import Derived
from batchgen.jobfile import values
from batchgen.models import Scalar, describe

Read = TypeVar("Read")


def told(description: str, default: JsonValue = None) -> Any:
    """Say of a key what an editor shows beside it.

    Args:
        description: What it is.
        default: Its default as a person would write it, where that is not the default itself.
    """
    extra: JsonDict = {} if default is None else {"default": default}
    return Field(description=description, json_schema_extra=extra)


def scalar(value: object) -> Scalar:
    """Take a parameter's value: text, a finite number or a boolean; 5.0 becomes 5.

    Raises:
        ValueError: It is something else.
    """
    match value:
        case str() | bool() | int():
            return value
        case float() if math.isfinite(value):
            return int(value) if value.is_integer() else value
        case float():
            raise ValueError("expected a finite number")
        case _:
            raise ValueError(f"expected text, a number, true or false, not {describe(value)}")


def axis_values(value: object) -> tuple[Scalar, ...] | Derived:
    """Take an axis: a list, a range in text, `{random: n}`, or a single number.

    Raises:
        ValueError: It is no axis, or an empty one.
    """
    match value:
        case list() if value:
            return tuple(map(scalar, value))
        case list():
            raise ValueError("the list is empty; an axis needs at least one value")
        case {"random": _, **rest} if isinstance(value, dict):
            return _derived(value["random"], rest)
        case dict():
            raise ValueError("expected a list, a range such as 1-4, or {random: 4}")
        case str():
            numbers = values.number_range(value)
            if numbers is None:
                raise ValueError(
                    f"expected a list, a range such as 1-4, or {{random: 4}}; {_mend_axis(value)}"
                )
            return numbers
        case None:
            raise ValueError("expected a list, a range such as 1-4, or {random: 4}, not nothing")
        case _:
            return (scalar(value),)


def _mend_axis(text: str) -> str:
    if (written := values.meant_range(text)) is not None:
        return f"write {written}"
    if text.strip().lower() == "random":
        return "say how many: {random: 4}"
    if "," in text:
        return f"for several values write [{text}]"
    return f"for one value write [{text}]"


def _derived(count: object, rest: dict[object, object]) -> Derived:
    if not isinstance(count, int) or isinstance(count, bool) or not 0 < count <= values.MAX_RANGE:
        raise ValueError(f"random takes how many values, such as 4, not {describe(count)}")
    if rest not in ({}, {"per": "prompt"}):
        raise ValueError("beside random only `per: prompt` is known")
    return Derived(count, per_prompt=bool(rest))


def _above_zero(seconds: float) -> float:
    """Refuse a wait of no length, which would ask without end."""
    if seconds <= 0:
        raise ValueError("expected a duration above zero")
    return seconds


def _backoff(value: object) -> tuple[float, float]:
    shortest, longest = values.duration_range(value)
    return _above_zero(shortest), longest


def _every(seconds: float | None) -> float | None:
    return None if seconds is None else _above_zero(seconds)


def _or_none(read: Callable[[object], Read]) -> Callable[[object], Read | None]:
    """Take the word none for nothing."""
    return lambda value: None if value in ("none", None) else read(value)


def _none_word(value: object) -> object:
    return None if value == "none" else value


def _version(value: object) -> object:
    if value is True:  # which is 1 to Python
        raise ValueError("expected 1, not true")
    return value


def _text_prompt(value: object) -> object:
    if not isinstance(value, str):
        return value
    # A prompt is the same one, with the same id, in whatever file and between whatever quotes.
    if not (text := value.strip()):
        raise ValueError("this prompt is empty")
    return text


def _path(value: str) -> str:
    if any(sign < " " or sign == "\x7f" for sign in value):
        raise ValueError("expected a path, without control characters")
    return value


_ENV_NAME: Final = re.compile(r"(?![0-9a-fA-F]{20})[A-Za-z_][A-Za-z0-9_]{0,99}\Z")
"""A long row of hexadecimal digits is a key, not the name of one."""


def _env_name(value: object) -> str:
    # The value is not repeated: somebody may have put the key itself here.
    if not isinstance(value, str) or not _ENV_NAME.match(value):
        raise ValueError("expected the NAME of an environment variable, not what it holds")
    return value


def _text(pattern: str, expected: str) -> dict[str, Any]:
    # The last is no word of JSON Schema's: yaml-language-server says it instead of the pattern.
    return {"type": "string", "pattern": pattern, "patternErrorMessage": f"expected {expected}"}


_SCALAR: Final = {"type": ["string", "number", "boolean"]}
_NONE: Final = {"enum": ["none", None]}
_DURATION: Final = {
    "anyOf": [
        _text(values.DURATION_TEXT, "a duration such as 30s, 1m30s or 2h"),
        {"type": "number", "minimum": 0},
    ]
}
_AXIS: Final = {
    "anyOf": [
        {"type": "array", "minItems": 1, "items": _SCALAR},
        _text(values.RANGE_TEXT, "a list, a range such as 1-4, or {random: 4}"),
        {"type": ["number", "boolean"]},
        {
            "type": "object",
            "required": ["random"],
            "additionalProperties": False,
            "properties": {
                "random": {
                    "description": "So many seeds, derived: the same on any machine.",
                    "type": "integer",
                    "minimum": 1,
                    "maximum": values.MAX_RANGE,
                },
                "per": {"description": "Each prompt has its own.", "const": "prompt"},
            },
        },
    ]
}

ScalarValue = Annotated[Scalar, PlainValidator(scalar), WithJsonSchema(_SCALAR)]
AxisValues = Annotated[
    tuple[Scalar, ...] | Derived, PlainValidator(axis_values), WithJsonSchema(_AXIS)
]
Seconds = Annotated[float, BeforeValidator(values.duration), Field(gt=0), WithJsonSchema(_DURATION)]
AutoSeconds = Annotated[
    float | None,
    PlainValidator(lambda value: None if value == "auto" else values.duration(value)),
    WithJsonSchema({"anyOf": [*_DURATION["anyOf"], {"const": "auto"}]}),
]
AutoPeriod = Annotated[AutoSeconds, AfterValidator(_every)]
Backoff = Annotated[
    tuple[float, float],
    PlainValidator(_backoff),
    WithJsonSchema(_text(values.DURATION_RANGE_TEXT, "a range of durations such as 1s-60s")),
]
PerSecond = Annotated[
    float | None,
    PlainValidator(_or_none(values.rate)),
    WithJsonSchema(
        {"anyOf": [_text(values.RATE_TEXT, "a rate such as 60/min or 5/s, or none"), _NONE]}
    ),
]
TimeOfDay = Annotated[
    tuple[int, int] | None,
    PlainValidator(_or_none(values.time_of_day)),
    WithJsonSchema(
        {"anyOf": [_text(values.CLOCK_TEXT, "a time of day such as 07:30, or none"), _NONE]}
    ),
]
FailuresInARow = Annotated[
    int | None,
    PlainValidator(_or_none(values.failures_in_a_row)),
    WithJsonSchema(
        {
            "anyOf": [
                _text(values.FAILURES_TEXT, "a count such as 10 in a row, or none"),
                {"type": "integer", "minimum": 1},
                _NONE,
            ]
        }
    ),
]
CountOrNone = Annotated[
    Annotated[int, Field(ge=1)] | None,
    BeforeValidator(_none_word),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, _NONE]}),
]
SumOrNone = Annotated[
    Annotated[float, Field(gt=0, allow_inf_nan=False)] | None,
    BeforeValidator(_none_word),
    WithJsonSchema({"anyOf": [{"type": "number", "exclusiveMinimum": 0}, _NONE]}),
]
PriceOrNone = Annotated[
    Annotated[float, Field(ge=0, allow_inf_nan=False)] | None,
    BeforeValidator(_none_word),
    WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0}, _NONE]}),
]
Number = Annotated[float, Field(allow_inf_nan=False)]
PromptText = Annotated[str, Field(min_length=1), BeforeValidator(_text_prompt)]
PathText = Annotated[str, Field(min_length=1), AfterValidator(_path)]
EnvName = Annotated[
    str, BeforeValidator(_env_name), WithJsonSchema({"type": "string", "pattern": "^[A-Za-z_]"})
]
Salt = Annotated[
    str,
    BeforeValidator(lambda value: str(value) if type(value) is int else value),
    WithJsonSchema({"type": ["string", "integer"]}),
]
Version = Annotated[Literal[1], BeforeValidator(_version)]
JobName = Annotated[
    str,
    Field(pattern=r"^\w[\w .-]{0,99}$", max_length=100),
    # To JavaScript \w is ASCII: what is no other ASCII may be a letter.
    WithJsonSchema(
        _text(
            r"^[^\x00-/:-@\[-^`{-\x7f][^\x00-\x1f!-,/:-@\[-^`{-\x7f]{0,99}$",
            "letters, digits, spaces, dots, _ and -",
        )
    ),
]
Kind = Literal["sandbox", "aimlapi"]
