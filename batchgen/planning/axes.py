"""How far a job has come, axis by axis: which values are made, and which failed. Pure."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from batchgen.derived import axis_column
from batchgen.job import Derived, Job
from batchgen.models import Scalar, told_apart
from batchgen.task import Task

COUNTED_VALUES: Final = 1000
"""An axis of more values is not counted by: nobody reads it, and the counts take memory."""
PROMPT: Final = "prompt"
OTHER: Final = None
"""What stands for all values that are not the axis's own: a prompt's, an include row's. No value,
so that none can be taken for it."""


@dataclass(frozen=True, slots=True)
class Cut:
    """A job's tasks by the values of one axis, the prompts being one too.

    Attributes:
        axis: Name of the axis.
        counts: For each of its values, `OTHER` for the rest, what a run would find, as in
            `Plan.by_status`.
    """

    axis: str
    counts: tuple[tuple[Scalar | None, Mapping[str, int]], ...]

    def as_json(self) -> list[dict[str, object]]:
        """Return a row for each value."""
        return [{"value": value, **counts} for value, counts in self.counts]


def axis_values(job: Job) -> Iterator[tuple[str, list[Scalar]]]:
    """Yield each axis with its values in written order; what each prompt has of its own is `random
    1` and so on."""  # noqa: D205, D209
    for axis in (*job.matrix, *job.zip):
        match axis.values:
            case Derived(per_prompt=True, count=count):
                yield axis.name, [f"random {number}" for number in range(1, count + 1)]
            case _:
                yield axis.name, list(axis_column(job.salt, axis))


class Cuts:
    """Counts tasks by axis, in memory that grows with the axes and not with the tasks."""

    def __init__(self, job: Job) -> None:
        self._prompts: list[Counter[str]] = []
        self._labels: list[Scalar | None] = []
        if 1 < len(job.prompts) <= COUNTED_VALUES:
            self._labels = [*(prompt.id or prompt.template for prompt in job.prompts), OTHER]
            self._prompts = [Counter() for _ in self._labels]
        names = [
            axis.name
            for axis in (*job.matrix, *job.zip)
            if 1 < len(axis) <= COUNTED_VALUES
            and not (isinstance(axis.values, Derived) and axis.values.per_prompt)
        ]
        self._axes: dict[str, dict[tuple[bool, Scalar] | None, Counter[str]]] = {
            name: {**{told_apart(value): Counter() for value in values}, OTHER: Counter()}
            for name, values in axis_values(job)
            if name in names
        }

    def add(self, task: Task, word: str) -> None:
        """Count a task of which a run would find `word`."""
        for name, rows in self._axes.items():
            value = task.params.get(name)
            if value is None:
                value = task.variables.get(name)
            key = OTHER if value is None else told_apart(value)
            rows[key if key in rows else OTHER][word] += 1
        if self._prompts:
            self._prompts[min(task.prompt_number, len(self._prompts) - 1)][word] += 1

    def all(self) -> list[Cut]:
        """Return the counts, prompts first where there are several, without what no task has."""
        cuts = []
        if self._prompts:
            cuts.append(_cut(PROMPT, zip(self._labels, self._prompts, strict=True)))
        for name, rows in self._axes.items():
            values = (OTHER if key is None else key[1] for key in rows)
            cuts.append(_cut(name, zip(values, rows.values(), strict=True)))
        return cuts


def _cut(axis: str, rows: Iterable[tuple[Scalar | None, Counter[str]]]) -> Cut:
    return Cut(axis, tuple((value, dict(counts)) for value, counts in rows if counts))
