"""The shape of a job file as pydantic models: one source for its checks and its JSON Schema.

What depends on the model's parameter table is checked in `load`, where the places are known.
"""

import math
import re
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainValidator,
    Tag,
    WithJsonSchema,
)

from batchgen.job import Derived, OnAmbiguous, Order
from batchgen.jobfile import values
from batchgen.models import WAN_1_3B, Scalar, describe

MAX_CONCURRENCY: Final = 10_000
PARAMETER_SECTIONS: Final = ("defaults", "matrix", "zip", "exclude", "include", "prompts")
"""Where a job file's keys are parameters and variables, of any name."""

_SURE_SECRETS: Final = frozenset(
    {
        *(("apikey",), ("authorization",), ("credentials",), ("passwd",), ("password",)),
        *((owner, "key") for owner in ("access", "aiml", "aimlapi", "api", "private", "secret")),
        *((owner, "token") for owner in ("access", "api", "auth", "bearer")),
        *((owner, "secret") for owner in ("api", "client")),
    }
)
"""What a key that names a secret ends with, as words."""
_SECRETS: Final = frozenset({"auth", "bearer", "key", "pass", "secret", "token"})
_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+")


def names_a_secret(key: str) -> bool:
    """Tell whether somebody may write a secret under this key: its line is never shown."""
    return surely_names_a_secret(key) or bool(_SECRETS.intersection(_words(key)[-1:]))


def surely_names_a_secret(key: str) -> bool:
    """Tell the same of a key that is no parameter's or variable's name either."""
    words = _words(key)
    return words[-1:] in _SURE_SECRETS or words[-2:] in _SURE_SECRETS


def _words(key: str) -> tuple[str, ...]:
    """Take a key apart: `api_key`, `API-KEY`, `api key` and `apiKey` are the same two words."""
    return tuple(word.lower() for word in _WORD.findall(key))


class Part(BaseModel):
    """A mapping of the job file: unknown keys are mistakes, types are not coerced."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


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
            return tuple(_axis_value(place, item) for place, item in enumerate(value, start=1))
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
                    f"expected a list, a range such as 1-4, or {{random: 4}}; "
                    f"for one value write [{value}]"
                )
            return numbers
        case None:
            raise ValueError("expected a list, a range such as 1-4, or {random: 4}, not nothing")
        case _:
            return (scalar(value),)


def _axis_value(place: int, item: object) -> Scalar:
    try:
        return scalar(item)
    except ValueError as error:
        raise ValueError(f"value {place} of the list: {error}") from None


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


def _text_prompt(value: object) -> object:
    if isinstance(value, str) and not value.strip():
        raise ValueError("this prompt is empty")
    return value


def _none_word(value: object) -> object:
    return None if value == "none" else value


_SCALAR_SCHEMA: Final = {"type": ["string", "number", "boolean"]}
_TEXT_OR_NUMBER: Final = {"anyOf": [{"type": "string"}, {"type": "number"}]}

ScalarValue = Annotated[
    Scalar,
    PlainValidator(scalar),
    WithJsonSchema(_SCALAR_SCHEMA),
]
AxisValues = Annotated[
    tuple[Scalar, ...] | Derived,
    PlainValidator(axis_values),
    WithJsonSchema(
        {
            "anyOf": [
                {
                    "type": "array",
                    "minItems": 1,
                    "items": {"type": ["string", "number", "boolean"]},
                },
                {"type": "string", "description": "a range: 1-4, 3-9 (+2), 3-9 [4]"},
                {"type": "number"},
                {
                    "type": "object",
                    "required": ["random"],
                    "additionalProperties": False,
                    "properties": {
                        "random": {"type": "integer", "minimum": 1},
                        "per": {"const": "prompt"},
                    },
                },
            ]
        }
    ),
]
Seconds = Annotated[float, BeforeValidator(values.duration), WithJsonSchema(_TEXT_OR_NUMBER)]
AutoSeconds = Annotated[
    float | None,
    PlainValidator(lambda value: None if value == "auto" else values.duration(value)),
    WithJsonSchema(_TEXT_OR_NUMBER),
]
Backoff = Annotated[
    tuple[float, float], PlainValidator(_backoff), WithJsonSchema({"type": "string"})
]
PerSecond = Annotated[
    float | None,
    PlainValidator(lambda value: None if value in ("none", None) else values.rate(value)),
    WithJsonSchema({"type": "string"}),
]
TimeOfDay = Annotated[
    tuple[int, int] | None,
    PlainValidator(lambda value: None if value in ("none", None) else values.time_of_day(value)),
    WithJsonSchema({"type": "string", "pattern": "^([01]?[0-9]|2[0-3]):[0-5][0-9]$|^none$"}),
]
FailuresInARow = Annotated[
    int | None,
    PlainValidator(
        lambda value: None if value in ("none", None) else values.failures_in_a_row(value)
    ),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "integer", "minimum": 1}]}),
]


class PromptEntry(BaseModel):
    """A prompt with values of its own."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)
    __pydantic_extra__: dict[str, ScalarValue]

    prompt: Annotated[str, Field(min_length=1), BeforeValidator(_text_prompt)]
    id: Annotated[str, Field(min_length=1, max_length=100)] | None = None


def _path(value: str) -> str:
    if any(sign < " " or sign == "\x7f" for sign in value):
        raise ValueError("expected a path, without control characters")
    return value


PathText = Annotated[str, Field(min_length=1), AfterValidator(_path)]


PROMPT_FILES: Final = (".txt", ".csv", ".jsonl", ".yaml", ".yml")
"""How the name of a prompt file ends."""


class PromptFile(Part):
    """Prompts that stand in a file of their own, named from the job file's folder."""

    file: PathText


def _item_shape(value: object) -> str | None:
    match value:
        case str() if value.strip():
            return "text"
        case {"prompt": _} | PromptEntry():
            return "entry"
        case _:
            return None


PromptItem = Annotated[
    Annotated[str, Tag("text")] | Annotated[PromptEntry, Tag("entry")],
    Discriminator(
        _item_shape,
        custom_error_type="prompt_shape",
        custom_error_message="a prompt is text, or a mapping with the key prompt",
    ),
]


def _prompts_shape(value: object) -> str | None:
    match value:
        case dict() | PromptFile():
            return "file"
        case list() | tuple():
            return "list"
        case _:
            return None


Prompts = Annotated[
    Annotated[PromptFile, Tag("file")] | Annotated[list[PromptItem], Tag("list")],
    Discriminator(
        _prompts_shape,
        custom_error_type="prompts_shape",
        custom_error_message="prompts is a list (put `- ` before each), or {file: prompts.txt}",
    ),
]

_ENV_NAME: Final = re.compile(r"(?![0-9a-fA-F]{20})[A-Za-z_][A-Za-z0-9_]{0,99}\Z")
"""A long row of hexadecimal digits is a key, not the name of one."""


def _env_name(value: str) -> str:
    # The value is not repeated: somebody may have put the key itself here.
    if not _ENV_NAME.match(value):
        raise ValueError("expected the NAME of an environment variable, not what it holds")
    return value


EnvName = Annotated[str, BeforeValidator(lambda value: _env_name(str(value)))]


class ProviderPart(Part):
    """`provider`."""

    kind: Literal["sandbox", "aimlapi"] = "sandbox"
    base_url: str | None = None
    model: Annotated[str, Field(min_length=1, max_length=200)] = WAN_1_3B
    api_key_env: EnvName | None = None


class PollPart(Part):
    """`run.poll`."""

    first: AutoSeconds = None
    every: Annotated[AutoSeconds, AfterValidator(_every)] = None
    max: Annotated[Seconds, Field(gt=0)] = 30.0


class RetryPart(Part):
    """`run.retry`."""

    attempts: Annotated[int, Field(ge=1, le=100)] = 3
    backoff: Backoff = (1.0, 60.0)


class TimeoutPart(Part):
    """`run.timeout`."""

    request: Annotated[Seconds, Field(gt=0)] = 30.0
    submit: Annotated[Seconds, Field(gt=0)] = 120.0
    generation: Annotated[Seconds, Field(gt=0)] = 1800.0
    download: Annotated[Seconds, Field(gt=0)] = 600.0


class RunPart(Part):
    """`run`."""

    concurrency: Annotated[int, Field(ge=1, le=MAX_CONCURRENCY)] = 8
    submits: Annotated[int, Field(ge=1, le=1000)] = 4
    downloads: Annotated[int, Field(ge=1, le=1000)] = 4
    rate_limit: PerSecond = None
    order: Literal["sequential", "interleaved", "shuffled"] = Order.SEQUENTIAL.value
    poll: PollPart = PollPart()
    retry: RetryPart = RetryPart()
    timeout: TimeoutPart = TimeoutPart()
    on_ambiguous: Literal["hold", "resubmit"] = OnAmbiguous.HOLD.value
    stop_at: TimeOfDay = None
    stop_if_failures: FailuresInARow = 10
    give_up_after: Annotated[Seconds, Field(gt=0)] = 12 * 3600.0


class BudgetPart(Part):
    """`budget`."""

    max_tasks: Annotated[Annotated[int, Field(ge=1)] | None, BeforeValidator(_none_word)] = None
    max_usd: Annotated[
        Annotated[float, Field(gt=0, allow_inf_nan=False)] | None, BeforeValidator(_none_word)
    ] = None
    usd_per_video: Annotated[
        Annotated[float, Field(ge=0, allow_inf_nan=False)] | None, BeforeValidator(_none_word)
    ] = None


class OutputPart(Part):
    """`output`."""

    dir: PathText = "output/${job}"
    name: Annotated[str, Field(min_length=1, max_length=200)] | None = None


Axes = Annotated[dict[str, AxisValues], Field(default_factory=dict)]
Row = dict[str, ScalarValue]


def _kind_only(value: Any) -> Any:
    return {"kind": value} if isinstance(value, str) else value


class JobDocument(Part):
    """A whole job file."""

    version: Literal[1] = 1
    name: (
        Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9 _.-]{0,99}$", max_length=100)] | None
    ) = None
    prompts: Prompts = Field(default_factory=list)
    defaults: Row = Field(default_factory=dict)
    matrix: Axes
    zip: Axes
    exclude: list[Row] = Field(default_factory=list)
    include: list[Row] = Field(default_factory=list)
    repeat: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    salt: Annotated[str, BeforeValidator(lambda v: str(v) if type(v) is int else v)] = ""
    provider: Annotated[ProviderPart, BeforeValidator(_kind_only)] = ProviderPart()
    run: RunPart = RunPart()
    budget: BudgetPart = BudgetPart()
    output: OutputPart = OutputPart()
