"""A job, as the core sees it: prompts, axes and settings, all checked, nothing left to parse.

Pure. `batchgen.jobfile` makes a Job from a file; a program may build one itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from batchgen.models import WAN_1_3B, Parameter, Scalar, Table, parameters_of

Values = Mapping[str, Scalar]
"""Parameter and variable values by name."""

DEFAULT_NAME: Final = "${index}_${slug}_s${seed}"


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt and the values that are its own.

    Attributes:
        template: The text, `${name}` where a variable goes, `$$` for a dollar.
        id: A name for it in the manifest.
        own: Values that outweigh defaults and axes: they pin that axis.
    """

    template: str
    id: str | None = None
    own: Values = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Derived:
    """Seeds nobody chose: `count` of them, derived, so that the same job gives the same ones.

    Attributes:
        count: How many values the axis has; asking for more keeps the first ones.
        per_prompt: Whether each prompt gets values of its own.
    """

    count: int
    per_prompt: bool = False


@dataclass(frozen=True, slots=True)
class Axis:
    """One dimension of the grid: a parameter or variable and the values it takes."""

    name: str
    values: tuple[Scalar, ...] | Derived

    def __len__(self) -> int:
        """Count the values."""
        return self.values.count if isinstance(self.values, Derived) else len(self.values)


class Order(StrEnum):
    """In which order tasks are submitted."""

    SEQUENTIAL = "sequential"
    """As expanded: a prompt's whole grid, then the next prompt's."""
    INTERLEAVED = "interleaved"
    """The first cell of every prompt, then every second cell, and so on."""
    SHUFFLED = "shuffled"
    """By a derived key: mixed, and the same on every machine."""


class OnAmbiguous(StrEnum):
    """What to do with a submit whose fate stays unknown."""

    EVIDENCE = "evidence"
    """Submit it again, once, if the provider's log is known well enough to say it was not taken."""
    HOLD = "hold"
    """Look it up for as long as the run lasts, and leave it to a person."""
    RESUBMIT = "resubmit"
    """Submit it again if two look-ups did not find it: it may be paid for twice."""


@dataclass(frozen=True, slots=True)
class ProviderSettings:
    """Which provider makes the videos.

    Attributes:
        kind: `sandbox` or `aimlapi`.
        model: The model's name at the provider.
        base_url: Root of the API; None takes the provider's own (the sandbox starts a server).
        api_key_env: Name of the environment variable that holds the key; None takes the usual ones.
    """

    kind: str = "sandbox"
    model: str = WAN_1_3B
    base_url: str | None = None
    api_key_env: str | None = None

    @property
    def in_process(self) -> bool:
        """Tell whether a run starts the provider itself, in its own process."""
        return self.kind == "sandbox" and self.base_url is None


@dataclass(frozen=True, slots=True)
class PollSettings:
    """When to ask for a generation's status. Seconds; None lets the schedule decide."""

    first: float | None = None
    every: float | None = None
    max: float = 30.0


@dataclass(frozen=True, slots=True)
class RetrySettings:
    """How often a task's own faults are tried again, and how long between.

    Attributes:
        attempts: Tries of one fetch or download that fails for the task's own reasons.
        backoff_base: Seconds, the first wait is drawn from [0, base].
        backoff_cap: Seconds, no wait is longer.
    """

    attempts: int = 3
    backoff_base: float = 1.0
    backoff_cap: float = 60.0


@dataclass(frozen=True, slots=True)
class TimeoutSettings:
    """How long to wait, in seconds, for: a short request, a submit's answer, a video, its file."""

    request: float = 30.0
    submit: float = 120.0
    generation: float = 1800.0
    download: float = 600.0


@dataclass(frozen=True, slots=True)
class RunSettings:
    """How a run behaves.

    Attributes:
        concurrency: Generations in flight at the provider, at most.
        submits: POSTs in flight, at most; bounds what one crash can leave in doubt.
        downloads: Files being fetched at once, at most.
        rate_limit: Requests a second of all kinds to the API; None for no limit.
        order: In which order tasks are submitted.
        on_ambiguous: What to do with a submit whose fate stays unknown.
        stop_at: Local time of day `(hour, minute)` after which nothing new is submitted.
        stop_if_failures: So many failed tasks in a row stop the run; None never stops it.
        give_up_after: Seconds without one good answer from the provider after which the run ends.
    """

    concurrency: int = 8
    submits: int = 4
    downloads: int = 4
    rate_limit: float | None = None
    order: Order = Order.SEQUENTIAL
    poll: PollSettings = field(default_factory=PollSettings)
    retry: RetrySettings = field(default_factory=RetrySettings)
    timeout: TimeoutSettings = field(default_factory=TimeoutSettings)
    on_ambiguous: OnAmbiguous = OnAmbiguous.EVIDENCE
    stop_at: tuple[int, int] | None = None
    stop_if_failures: int | None = 10
    give_up_after: float = 12 * 3600.0


@dataclass(frozen=True, slots=True)
class Budget:
    """What a run may spend; None for no bound.

    Attributes:
        max_tasks: Submits this run directory may hold in all.
        max_usd: US dollars, spent and reserved together.
        usd_per_video: The price to reckon with, in place of the one the provider quotes.
    """

    max_tasks: int | None = None
    max_usd: float | None = None
    usd_per_video: float | None = None


@dataclass(frozen=True, slots=True)
class Output:
    """Where a run's files go.

    Attributes:
        dir: The run directory.
        name: Template of a video's name, without its ending.
    """

    dir: Path
    name: str = DEFAULT_NAME


class Occasion(StrEnum):
    """When somebody is told how a run ended."""

    FINISH = "finish"
    """Nothing is left to do."""
    STOP = "stop"
    """It ended before that: the budget, the deadline, failures, Ctrl-C, a refusal."""


@dataclass(frozen=True, slots=True)
class NotifySettings:
    """Whom to tell how a run ended.

    Attributes:
        url_env: Name of the environment variable that holds the address, which is a secret.
        on: When.
        asked: Whether somebody asked for it: an address that is missing is then worth a word.
    """

    url_env: str = "BATCHGEN_NOTIFY_URL"
    on: tuple[Occasion, ...] = (Occasion.FINISH, Occasion.STOP)
    asked: bool = False


@dataclass(frozen=True, slots=True)
class Job:
    """Everything a job file says, checked.

    Attributes:
        name: The job's name, by default the file's stem.
        prompts: At least one, unless `include` rows bring their own.
        output: Where the files go.
        defaults: Values for every task, the weakest.
        matrix: Axes that are multiplied.
        zip: Axes of one length that move together.
        exclude: Cells that are left out: a cell goes when it matches every key of one row.
        include: Rows that are added; one with a `prompt` stands alone, others join every prompt.
        repeat: Copies of each cell.
        salt: Changes every derived value.
        provider: Who makes the videos.
        model_parameters: What the job says of its model's parameters, beside the built-in table.
        run: How the run behaves.
        budget: What it may spend.
        notify: Whom to tell how a run ended.
        source: The job file's text as read, kept beside the results; empty for a job built in code.
        warnings: What a person should know before the run, a sentence each.
    """

    name: str
    prompts: tuple[Prompt, ...]
    output: Output
    defaults: Values = field(default_factory=dict)
    matrix: tuple[Axis, ...] = ()
    zip: tuple[Axis, ...] = ()
    exclude: tuple[Values, ...] = ()
    include: tuple[Values, ...] = ()
    repeat: int = 1
    salt: str = ""
    provider: ProviderSettings = field(default_factory=ProviderSettings)
    model_parameters: tuple[Parameter, ...] = ()
    run: RunSettings = field(default_factory=RunSettings)
    budget: Budget = field(default_factory=Budget)
    notify: NotifySettings = field(default_factory=NotifySettings)
    source: str = ""
    warnings: tuple[str, ...] = ()

    @property
    def parameters(self) -> Table | None:
        """Return the table of the job's model; None when it has none and takes anything."""
        return parameters_of(self.provider.model, self.model_parameters)
