"""The shape of a job file as pydantic models: one source for its checks and its JSON Schema.

What depends on the model's parameter table is checked in `check`, where the places are known.
"""

from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
)

from batchgen.job import DEFAULT_NAME, NotifySettings, Occasion, OnAmbiguous, Order
from batchgen.jobfile.fields import (
    AutoPeriod,
    AutoSeconds,
    AxisValues,
    Backoff,
    CountOrNone,
    EnvName,
    FailuresInARow,
    JobName,
    Kind,
    Number,
    PathText,
    PerSecond,
    PriceOrNone,
    PromptText,
    Salt,
    ScalarValue,
    Seconds,
    SumOrNone,
    TimeOfDay,
    Version,
    told,
)
from batchgen.models import WAN_1_3B, Scalar, TypeName

MAX_CONCURRENCY: Final = 10_000
MAX_ID: Final = 100
"""Characters of a prompt's id."""
PARAMETER_SECTIONS: Final = (
    *("defaults", "matrix", "zip", "exclude", "include", "prompts"),
    "model_parameters",
)
"""Where a job file's keys are parameters and variables, of any name."""


class Part(BaseModel):
    """A mapping of the job file: unknown keys are mistakes, types are not coerced."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class PromptEntry(BaseModel):
    """A prompt with values of its own: any parameter or variable, which pins that axis."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)
    __pydantic_extra__: dict[str, ScalarValue]

    prompt: Annotated[PromptText, told("The text; ${name} is a variable, $$ a dollar.")]
    id: Annotated[
        Annotated[str, Field(min_length=1, max_length=MAX_ID)] | None,
        told("A name for it in the manifest."),
    ] = None


PROMPT_FILES: Final = (".txt", ".csv", ".jsonl", ".yaml", ".yml")
"""How the name of a prompt file ends."""


def _one_or_several(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _not_the_prompt(name: str) -> str:
    if name == "prompt":
        raise ValueError("the column prompt is what is sent, and cannot be ignored")
    return name


IgnoredName = Annotated[str, Field(min_length=1), AfterValidator(_not_the_prompt)]


class PromptFile(Part):
    """Prompts that stand in a file of their own."""

    file: Annotated[PathText, told("The file, named from the job file's folder.")]
    ignore: Annotated[
        list[IgnoredName],
        BeforeValidator(_one_or_several, json_schema_input_type=str | list[str]),
        told("Columns of the file that are for people alone: neither read nor sent."),
    ] = Field(default_factory=list)


def _item_shape(value: object) -> str | None:
    match value:
        case str() if value.strip():
            return "text"
        case {"prompt": _} | PromptEntry():
            return "entry"
        case _:
            return None


PromptItem = Annotated[
    Annotated[PromptText, Tag("text")] | Annotated[PromptEntry, Tag("entry")],
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


class ProviderPart(Part):
    """Who makes the videos."""

    kind: Annotated[
        Kind, told("sandbox draws on this machine, for free; aimlapi is the hosted API.")
    ] = "sandbox"
    base_url: Annotated[str | None, told("Root of the API; the provider's own when left out.")] = (
        None
    )
    model: Annotated[
        Annotated[str, Field(min_length=1, max_length=200)],
        told("The model's name at the provider; any, with a table here or without."),
    ] = WAN_1_3B
    api_key_env: Annotated[
        EnvName | None,
        told("Name of the environment variable that holds the key: AIMLAPI_KEY when left out."),
    ] = None


class PollPart(Part):
    """When a generation's status is asked for."""

    first: Annotated[AutoSeconds, told("After so long; auto learns it from this run.", "auto")] = (
        None
    )
    every: Annotated[AutoPeriod, told("And so often; auto asks when it is likely.", "auto")] = None
    max: Annotated[Seconds, told("After the first never more seldom than this.", "30s")] = 30.0


class RetryPart(Part):
    """How a fetch or a download is tried again that fails for the task's own reasons."""

    attempts: Annotated[Annotated[int, Field(ge=1, le=100)], told("So many tries in all.")] = 3
    backoff: Annotated[
        Backoff, told("The first wait and the longest; waits double and are drawn.", "1s-60s")
    ] = (1.0, 60.0)


class TimeoutPart(Part):
    """How long is waited."""

    request: Annotated[Seconds, told("For the answer to a short request.", "30s")] = 30.0
    submit: Annotated[Seconds, told("For the answer to a submit.", "120s")] = 120.0
    generation: Annotated[
        Seconds, told("For a video; its id is kept, the next run asks again.", "30m")
    ] = 1800.0
    download: Annotated[Seconds, told("For a file.", "10m")] = 600.0


class RunPart(Part):
    """How a run behaves."""

    concurrency: Annotated[
        Annotated[int, Field(ge=1, le=MAX_CONCURRENCY)],
        told("Generations in flight at the provider, at most."),
    ] = 8
    submits: Annotated[
        Annotated[int, Field(ge=1, le=1000)],
        told("Submits in flight, at most: what one crash can leave in doubt."),
    ] = 4
    downloads: Annotated[
        Annotated[int, Field(ge=1, le=1000)], told("Files being fetched at once, at most.")
    ] = 4
    rate_limit: Annotated[PerSecond, told("Requests of all kinds to the API.", "none")] = None
    order: Annotated[
        Literal["sequential", "interleaved", "shuffled"],
        told(
            "sequential: a prompt's whole grid, then the next prompt's; interleaved: the first "
            "cell of every prompt, then every second; shuffled: mixed, the same on every machine."
        ),
    ] = Order.SEQUENTIAL.value
    poll: Annotated[PollPart, told("When a generation's status is asked for.")] = PollPart()
    retry: Annotated[RetryPart, told("How a fetch or a download is tried again.")] = RetryPart()
    timeout: Annotated[TimeoutPart, told("How long is waited.")] = TimeoutPart()
    on_ambiguous: Annotated[
        Literal["evidence", "hold", "resubmit"],
        told(
            "A submit whose answer was lost and that no look-up finds. evidence: submitted again, "
            "once, if the provider's log is seen to list all known submits; hold: left to you; "
            "resubmit: submitted again on a guess, which may pay twice."
        ),
    ] = OnAmbiguous.EVIDENCE.value
    stop_at: Annotated[
        TimeOfDay, told("Local time of day after which nothing new is submitted.", "none")
    ] = None
    stop_if_failures: Annotated[
        FailuresInARow, told("So many failed tasks stop the run; none never does.", "10 in a row")
    ] = 10
    give_up_after: Annotated[
        Seconds, told("The run ends after so long without one good answer.", "12h")
    ] = 12 * 3600.0


class BudgetPart(Part):
    """What a run may spend."""

    max_tasks: Annotated[
        CountOrNone, told("Submits this run directory may hold in all.", "none")
    ] = None
    max_usd: Annotated[SumOrNone, told("US dollars, spent and reserved together.", "none")] = None
    usd_per_video: Annotated[
        PriceOrNone,
        told("US dollars to reckon with in place of the price the provider quotes.", "none"),
    ] = None


class OutputPart(Part):
    """Where the files go."""

    dir: Annotated[PathText, told("The run directory; ${job} is the job's name.")] = "output/${job}"
    name: Annotated[
        Annotated[str, Field(min_length=1, max_length=200)] | None,
        told(
            "A video's name without its ending: ${index}, ${slug}, ${seed}, ${task_id}, "
            "${prompt_id}, ${repeat}, ${job}, and any parameter or variable."
        ),
    ] = DEFAULT_NAME


class NotifyPart(Part):
    """Who is told how a run ended."""

    url_env: Annotated[
        EnvName,
        told("Name of the environment variable that holds the address a small JSON is sent to."),
    ] = NotifySettings().url_env
    on: Annotated[
        list[Literal["finish", "stop"]],
        Field(min_length=1),
        told("finish: it came to its own end; stop: it was ended before.", ["finish", "stop"]),
    ] = Field(default_factory=lambda: [occasion.value for occasion in Occasion])


class ParameterPart(Part):
    """What a parameter of the model takes; what is left out stays as the built-in table has it."""

    type: Annotated[TypeName | None, told("Its type; any takes all.", "any")] = None
    choices: Annotated[
        Annotated[list[ScalarValue], Field(min_length=1)] | None, told("The values it takes.")
    ] = None
    minimum: Annotated[Number | None, told("The smallest number it takes.")] = None
    maximum: Annotated[Number | None, told("The largest number it takes.")] = None
    default: Annotated[ScalarValue | None, told("What the API takes when it is not sent.")] = None
    ignored: Annotated[
        bool | None,
        told("The model does the same whatever it is: no axis for a grid.", default=False),
    ] = None
    rewrites_prompt: Annotated[
        bool | None, told("When true, the prompt is rewritten for each video anew.", default=False)
    ] = None


def _kind_only(value: Any) -> Any:
    return {"kind": value} if isinstance(value, str) else value


def type_only(value: Any) -> Any:
    """Read the short form of a parameter: `shift: number`."""
    return {"type": value} if isinstance(value, str) else value


def _no_address(value: object) -> object:
    if isinstance(value, dict):
        return value
    # The value is not repeated: it may be the address.
    raise ValueError("expected {url_env: NAME}: the address stands in the environment")


def _without_outer_spaces(row: dict[str, Scalar]) -> dict[str, Scalar]:
    """Read a row's own prompt as all other prompts are read."""
    prompt = row.get("prompt")
    return {**row, "prompt": prompt.strip()} if isinstance(prompt, str) else row


Axes = Annotated[dict[str, AxisValues], Field(default_factory=dict)]
Row = dict[str, ScalarValue]
IncludeRow = Annotated[Row, AfterValidator(_without_outer_spaces)]
OneParameter = Annotated[
    ParameterPart, BeforeValidator(type_only, json_schema_input_type=TypeName | ParameterPart)
]


class JobDocument(Part):
    """A batch of videos for `batchgen run`."""

    version: Annotated[Version, told("The version of this format.")] = 1
    name: Annotated[JobName | None, told("The job's name; the file's stem when left out.")] = None
    prompts: Annotated[
        Prompts, told("A list of texts and of prompts with values of their own, or {file: ...}.")
    ] = Field(default_factory=list)
    defaults: Annotated[Row, told("Parameters and variables for every task, the weakest.")] = Field(
        default_factory=dict
    )
    matrix: Annotated[Axes, told("Axes that are multiplied: every combination is a video.")]
    zip: Annotated[Axes, told("Axes of one length that move together, row by row.")]
    exclude: Annotated[
        list[Row], told("Cells that are left out: those that match all keys of a row.")
    ] = Field(default_factory=list)
    include: Annotated[
        list[IncludeRow],
        told("Rows that are added, to every prompt or with a prompt of their own."),
    ] = Field(default_factory=list)
    repeat: Annotated[
        Annotated[int, Field(ge=1, le=1_000_000)], told("Copies of each cell, each its own seed.")
    ] = 1
    salt: Annotated[Salt, told("Changes every derived seed.")] = ""
    provider: Annotated[
        ProviderPart,
        BeforeValidator(_kind_only, json_schema_input_type=Kind | ProviderPart),
        told("Who makes the videos: its kind alone, or a mapping."),
    ] = ProviderPart()
    model_parameters: Annotated[
        dict[str, OneParameter],
        told("What the model takes, beside the built-in table: shift: number, or a mapping."),
    ] = Field(default_factory=dict)
    run: Annotated[RunPart, told("How a run behaves.")] = RunPart()
    budget: Annotated[BudgetPart, told("What a run may spend.")] = BudgetPart()
    output: Annotated[OutputPart, told("Where the files go.")] = OutputPart()
    notify: Annotated[
        NotifyPart, BeforeValidator(_no_address), told("Who is told how a run ended.")
    ] = NotifyPart()
