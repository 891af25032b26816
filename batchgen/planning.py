"""What a run would do: a job held against what its run directory already holds. Changes nothing."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Final

from batchgen.expansion import expand
from batchgen.job import Derived, Job
from batchgen.ledger import Ledger
from batchgen.models import Scalar
from batchgen.rundir import RunDirectory
from batchgen.task import Status, Task

FIRST_TASKS: Final = 5
_BATCH: Final = 500

_WORDS: Final = {
    "new": "to make",
    "to_poll": "paid for already, to be fetched",
    "succeeded": "done",
    "failed": "failed (run --retry-failed makes them again)",
    "timed_out": "took too long, to be asked for again",
    "unresolved": "unresolved, to be looked up",
    "cancelled": "cancelled",
    "gone": "no longer in the job (what was made stays)",
}


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run would do.

    Attributes:
        tasks: Tasks of the job.
        prompts: Prompts of the job.
        by_status: Tasks by what a run would find: `new`, `to_poll`, `succeeded`, `failed`,
            `timed_out`, `unresolved`, `cancelled`, and `gone` for those the job no longer has.
        axes: The values of each axis, in written order.
        first: The first few tasks.
        cost_usd: US dollars for the new ones; None where nobody said what one costs.
        seconds: How long the new ones would take, as earlier ones did; None where there are none.
    """

    tasks: int
    prompts: int
    by_status: Mapping[str, int]
    axes: Mapping[str, list[Scalar]]
    first: list[Task]
    cost_usd: float | None
    seconds: float | None

    def in_words(self) -> Iterator[tuple[str, int]]:
        """Yield what `by_status` holds, in words."""
        return (
            (words, self.by_status[key]) for key, words in _WORDS.items() if self.by_status.get(key)
        )

    def as_json(self) -> dict[str, object]:
        """Return the plan as JSON carries it."""
        return {
            "tasks": self.tasks,
            "prompts": self.prompts,
            "by_status": dict(self.by_status),
            "axes": dict(self.axes),
            "cost_usd": self.cost_usd,
            "seconds": self.seconds,
        }


def make_plan(job: Job) -> Plan:
    """Hold a job against its run directory, in memory that does not grow with the job.

    Raises:
        RunDirectoryError: The run directory cannot be read.
        RunLocked: A run is going on in it.
    """
    directory = RunDirectory(job.output.dir)
    by_status: Counter[str] = Counter(new=0)
    seconds_each = None
    if directory.is_run():
        with Ledger.open(directory.path) as ledger:
            known = 0
            for batch in _batches(expand(job)):
                found = ledger.statuses([task.task_id for task in batch])
                known += len(found)
                by_status.update(_word(found.get(task.task_id)) for task in batch)
            by_status["gone"] = ledger.size() - known
            seconds_each = ledger.mean_seconds()
    else:
        by_status["new"] = sum(1 for _ in expand(job))
    new = by_status["new"]
    price = job.budget.usd_per_video
    return Plan(
        tasks=sum(count for word, count in by_status.items() if word != "gone"),
        prompts=len(job.prompts),
        by_status={word: count for word, count in by_status.items() if count or word == "new"},
        axes=dict(_axes(job)),
        first=list(islice(expand(job), FIRST_TASKS)),
        cost_usd=None if price is None else round(price * new, 6),
        seconds=None
        if seconds_each is None or new == 0
        # The last ones run alone: half a window more than the even share.
        else seconds_each * max(1.0, new / job.run.concurrency + 0.5),
    )


def _word(status: Status | None) -> str:
    if status is None or status is Status.PENDING:
        return "new"
    if status in (Status.IN_FLIGHT, Status.COMPLETED):
        return "to_poll"
    return "unresolved" if status is Status.SUBMITTING else status.value


def _axes(job: Job) -> Iterator[tuple[str, list[Scalar]]]:
    for axis in (*job.matrix, *job.zip):
        match axis.values:
            case Derived(per_prompt=True, count=count):
                yield axis.name, [f"random {number}" for number in range(1, count + 1)]
            case Derived():
                alone = (task.params[axis.name] for task in expand(job) if axis.name in task.params)
                yield axis.name, list(dict.fromkeys(islice(alone, 10 * len(axis))))[: len(axis)]
            case values:
                yield axis.name, list(values)


def _batches(tasks: Iterator[Task]) -> Iterator[list[Task]]:
    while batch := list(islice(tasks, _BATCH)):
        yield batch
