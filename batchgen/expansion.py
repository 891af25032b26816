"""A job's tasks: a pure function of the job, as a stream.

Prompts outermost, then the matrix in its written order, then zip, then repeat, then the prompt's
`include` rows; rows with a prompt of their own come last. Nothing is held but the job itself.
"""

import hashlib
import itertools
from collections.abc import Iterator
from typing import Final

from batchgen import templates
from batchgen.job import Axis, Derived, Job, Order, Prompt, Values
from batchgen.models import Scalar
from batchgen.task import Task, task_id

SEED_BITS: Final = 31
"""Derived seeds are 0 <= seed < 2^31: what every sampler's signed 32-bit integer can hold."""


def expand(job: Job) -> Iterator[Task]:
    """Yield the job's tasks in their order.

    The same job gives the same tasks with the same ids on any machine. What would be sent twice the
    same is one task: the first place it has.
    """
    shape = _Shape(job)
    # Only these can repeat a request; for the rest of the jobs nothing is held.
    seen: set[str] | None = set() if job.include or shape.has_variables else None
    index = 0
    for prompt, number, cell, values, copy in _places(job):
        task = shape.task(prompt, values, copy, index, number, cell)
        if seen is not None:
            if task.task_id in seen:
                continue
            seen.add(task.task_id)
        index += 1
        yield task


def _places(job: Job) -> Iterator[tuple[Prompt, int, int, Values, int]]:
    """Yield prompt, its number, the cell, the cell's values and the number of the copy."""
    number = -1
    for number, prompt in enumerate(job.prompts):
        for cell, (values, copy) in enumerate(_cells(job, prompt)):
            yield prompt, number, cell, values, copy
    alone = [row for row in job.include if "prompt" in row]
    for position, row in enumerate(alone, start=number + 1):
        yield Prompt(template=str(row["prompt"])), position, 0, {**job.defaults, **row}, 1


def count(job: Job) -> int:
    """Count the tasks, without making any where none can be left out or repeat another."""
    if job.exclude or job.include or variable_names(job):
        return sum(1 for _ in expand(job))
    return sum(
        _product_length(_open_axes(job.matrix, prompt)) * len(_zip_rows(job, prompt)) * job.repeat
        for prompt in job.prompts
    )


def order_key(order: Order, task: Task, prompts: int) -> int:
    """Return the number by which tasks are sorted for submission, below 2^63.

    Args:
        order: The order wanted.
        task: The task.
        prompts: How many prompts the job has, rows with a prompt of their own included.
    """
    match order:
        case Order.SEQUENTIAL:
            return task.index
        case Order.INTERLEAVED:
            return task.cell * prompts + task.prompt_number
        case Order.SHUFFLED:
            return _hash_int("order", task.task_id) >> 1


def derived_seed(salt: str, *parts: object) -> int:
    """Derive a seed in [0, 2^31) from the salt and what it is for."""
    return _hash_int("seed", salt, *parts) >> (64 - SEED_BITS)


def variable_names(job: Job) -> frozenset[str]:
    """Return the names in the job's templates that are no parameters of its model."""
    table = job.parameters
    used = {name for prompt in job.prompts for name in templates.names(prompt.template)}
    used |= {name for row in job.include for name in templates.names(str(row.get("prompt", "")))}
    return frozenset(used if table is None else used - table.keys())


class _Shape:
    """What is the same for every task of a job, looked up once."""

    def __init__(self, job: Job) -> None:
        self._kind = job.provider.kind
        self._model = job.provider.model
        self._salt = job.salt
        table = job.parameters
        # A model without a table gets what was written and nothing else.
        self._seeded = table is not None and "seed" in table
        self._variables = variable_names(job)
        self.has_variables = bool(self._variables)

    def task(
        self, prompt: Prompt, values: Values, copy: int, index: int, number: int, cell: int
    ) -> Task:
        params: dict[str, Scalar] = {"model": self._model}
        variables: dict[str, Scalar] = {}
        for name, value in values.items():
            (variables if name in self._variables else params)[name] = value
        if self._seeded and "seed" not in params:
            params["seed"] = derived_seed(self._salt, copy)
        params["prompt"] = templates.fill(prompt.template, {**params, **variables})
        return Task(
            task_id=task_id(self._kind, params, copy),
            index=index,
            params=params,
            prompt_template=prompt.template,
            prompt_id=prompt.id,
            variables=variables,
            repeat=copy,
            prompt_number=number,
            cell=cell,
        )


def _cells(job: Job, prompt: Prompt) -> Iterator[tuple[Values, int]]:
    """Yield the values of each of a prompt's tasks and the number of its copy."""
    axes = _open_axes(job.matrix, prompt)
    rows = _zip_rows(job, prompt)
    copies = range(1, job.repeat + 1)
    moved = [*axes, *_open_axes(job.zip, prompt)]
    derived = [axis.name for axis in moved if isinstance(axis.values, Derived)]
    for cell in itertools.product(*(_values(job, prompt, axis) for axis in axes)):
        across = dict(zip((axis.name for axis in axes), cell, strict=True))
        for row, copy in itertools.product(rows, copies):
            values = {**job.defaults, **across, **row, **prompt.own}
            if copy > 1:
                # A copy with its sibling's seed would be the same video again.
                for name in derived:
                    values[name] = derived_seed(job.salt, values[name], copy)
            if not any(_matches(values, excluded) for excluded in job.exclude):
                yield values, copy
    for row in job.include:
        if "prompt" not in row:
            yield {**job.defaults, **prompt.own, **row}, 1


def _open_axes(axes: tuple[Axis, ...], prompt: Prompt) -> list[Axis]:
    return [axis for axis in axes if axis.name not in prompt.own]


def _zip_rows(job: Job, prompt: Prompt) -> list[Values]:
    """Return the rows of the axes that move together; one empty row where there are none."""
    axes = _open_axes(job.zip, prompt)
    columns = [_values(job, prompt, axis) for axis in axes]
    rows = zip(*columns, strict=True)
    return [dict(zip((axis.name for axis in axes), row, strict=True)) for row in rows] or [{}]


def _values(job: Job, prompt: Prompt, axis: Axis) -> tuple[Scalar, ...]:
    match axis.values:
        case Derived(count=count, per_prompt=per_prompt):
            text = (prompt.template,) if per_prompt else ()
            return tuple(derived_seed(job.salt, axis.name, place, *text) for place in range(count))
        case values:
            return values


def _matches(values: Values, row: Values) -> bool:
    return all(name in values and values[name] == value for name, value in row.items())


def _product_length(axes: list[Axis]) -> int:
    length = 1
    for axis in axes:
        length *= len(axis)
    return length


def _hash_int(*parts: object) -> int:
    """Hash the parts, told apart by a separator, into 64 bits."""
    joined = "\x1f".join(str(part) for part in parts).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.sha256(joined).digest()[:8], "big")
