"""What a run tells those who watch it. Frozen values; a run works the same without a watcher."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from batchgen.task import UNDER_WAY, Status


@dataclass(frozen=True, slots=True)
class TaskMoved:
    """A task changed its status.

    Attributes:
        task_id: The task.
        index: Its place in the job, from 0.
        status: Its status now.
        prompt: Its prompt.
        file_name: The video, relative to the run directory; None until there is one.
        message: Why, where there is something to say.
    """

    task_id: str
    index: int
    status: Status
    prompt: str
    file_name: str | None = None
    message: str | None = None


class Level(StrEnum):
    """How much a notice matters."""

    INFO = "info"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Notice:
    """Something a person at the screen should read, in a sentence."""

    message: str
    level: Level = Level.INFO


@dataclass(frozen=True, slots=True)
class Counted:
    """How the run stands.

    Attributes:
        counts: Tasks of the job by status; a status without tasks is left out.
        seconds: Seconds since the run began.
    """

    counts: Mapping[Status, int]
    seconds: float


Event = TaskMoved | Notice | Counted
Observer = Callable[[Event], None]
"""Called in the run's own loop: it must return at once, and what it raises ends the run."""


def nobody(event: Event) -> None:  # an observer takes it
    """Watch nothing."""


class Watchers:
    """Several observers as one. They are told in the order they were added."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = list(observers)

    def add(self, observer: Observer) -> None:
        """Add an observer, which is told all that comes from now on."""
        self._observers.append(observer)

    def __call__(self, event: Event) -> None:
        """Tell every observer; one that cannot write any more is told nothing more."""
        for observer in tuple(self._observers):
            try:
                observer(event)
            except OSError:
                self._observers.remove(observer)


class Reason(StrEnum):
    """Why a run ended."""

    DONE = "done"
    INTERRUPTED = "interrupted"
    REFUSED = "refused"
    BUDGET = "budget"
    DEADLINE = "deadline"
    FAILURES = "failures"
    GAVE_UP = "gave_up"
    MOVED = "moved"


@dataclass(frozen=True, slots=True)
class Summary:
    """How a run ended.

    Attributes:
        reason: Why it ended.
        counts: Tasks of the job by status.
        submitted: Submits that this run began.
        cost_usd: US dollars the job's videos cost in all; None where nothing is known of it.
        cost_is_estimate: Whether part of the cost is reckoned and not the provider's word.
        seconds: How long the run took.
        detail: A sentence that says more of the reason; may be empty.
    """

    reason: Reason
    counts: Mapping[Status, int]
    submitted: int
    cost_usd: float | None
    cost_is_estimate: bool
    seconds: float
    detail: str = ""

    @property
    def left(self) -> int:
        """Count the tasks that the same command would go on with."""
        return sum(self.counts.get(status, 0) for status in (Status.PENDING, *UNDER_WAY))

    @property
    def nothing_left(self) -> bool:
        """Tell whether the run came to its end, even one that was interrupted in its last task."""
        return self.reason is Reason.DONE or (self.reason is Reason.INTERRUPTED and not self.left)
