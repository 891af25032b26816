"""A job's tasks: a pure function of the job, as a stream.

Prompts outermost, then the matrix in its written order, then zip, then repeat, then the prompt's
`include` rows; rows with a prompt of their own come last. Nothing is held but the job itself and,
where two places may ask for the same, a number for each task.
"""

import hashlib
import itertools
from collections.abc import Collection, Iterator
from typing import Final

from batchgen import templates
from batchgen.idset import IdSet
from batchgen.job import Axis, Derived, Job, Order, Prompt, Values
from batchgen.models import Scalar
from batchgen.task import Task, hashed_id, spelled

SEED_BITS: Final = 31
"""Derived seeds are 0 <= seed < 2^31: what every sampler's signed 32-bit integer can hold."""


def expand(job: Job) -> Iterator[Task]:
    """Yield the job's tasks in their order.

    The same job gives the same tasks with the same ids on any machine. What would be sent twice the
    same is one task: the first place it has.
    """
    shape = _Shape(job)
    # Only these can repeat a request.
    seen = IdSet() if job.include or shape.has_variables else None
    index = 0
    for number, cell, pattern, moved, copy in _places(job, shape):
        task = pattern.task(moved, copy, index, number, cell)
        if seen is None or seen.add(task.task_id):
            index += 1
            yield task


def _places(job: Job, shape: "_Shape") -> Iterator[tuple[int, int, "_Pattern", Values, int]]:
    """Yield the prompt's number, the cell, its pattern, what moved and the number of the copy."""
    number = -1
    for number, prompt in enumerate(job.prompts):
        for cell, (pattern, moved, copy) in enumerate(_cells(job, shape, prompt)):
            yield number, cell, pattern, moved, copy
    alone = [row for row in job.include if "prompt" in row]
    for position, row in enumerate(alone, start=number + 1):
        prompt = Prompt(template=str(row["prompt"]))
        yield position, 0, _Pattern(shape, prompt, {**job.defaults, **row}), {}, 1


def count(job: Job) -> int:
    """Count the tasks, without making any where none can be left out or repeat another."""
    if job.include or variable_names(job):
        return sum(1 for _ in expand(job))
    if job.exclude:
        return sum(1 for _ in _places(job, _Shape(job)))
    return sum(
        _product_length(_open_axes(job.matrix, prompt)) * _zip_length(job, prompt) * job.repeat
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
        self.kind = job.provider.kind
        self.model = job.provider.model
        self.salt = job.salt
        table = job.parameters
        # A model without a table gets what was written and nothing else.
        self.seeded = table is not None and "seed" in table
        self.variables = variable_names(job)
        self.has_variables = bool(self.variables)
        self._columns = {
            axis.name: _values(job.salt, axis)
            for axis in (*job.matrix, *job.zip)
            if not (isinstance(axis.values, Derived) and axis.values.per_prompt)
        }

    def column(self, axis: Axis, prompt: Prompt) -> tuple[Scalar, ...]:
        """Return the values of an axis, which may be the prompt's own."""
        return self._columns.get(axis.name) or _values(self.salt, axis, prompt.template)


class _Pattern:
    """What is the same for all tasks of a grid, written out once.

    A task's id is the hash of its request in one spelling. Of that only a few values differ from
    task to task, so the rest is spelled beforehand, with holes where these go.
    """

    def __init__(
        self, shape: _Shape, prompt: Prompt, values: Values, moving: Collection[str] = ()
    ) -> None:
        """Spell what stays.

        Args:
            shape: What is the same for every task of the job.
            prompt: The prompt of these tasks.
            values: Values by name in their order, with any value where `moving` has the name.
            moving: The names whose value each task brings.
        """
        self._salt = shape.salt
        self._prompt = prompt
        self._variables = {name: values[name] for name in values if name in shape.variables}
        self._varied = [name for name in moving if name in shape.variables]
        params: dict[str, Scalar] = {"model": shape.model}
        params |= {name: values[name] for name in values if name not in shape.variables}
        # A seed nobody wrote moves with the copies.
        self._seeded = shape.seeded and "seed" not in params
        if self._seeded:
            params["seed"] = derived_seed(shape.salt, 1)
        moved = {*moving, "seed"} if self._seeded else {*moving}
        self._refilled = not moved.isdisjoint(templates.names(prompt.template))
        if not self._refilled:
            params["prompt"] = templates.fill(prompt.template, {**params, **self._variables})
        self._params = params
        sent = sorted({*params, "prompt"})
        self._holes = [n for n in sent if n in moved or (n == "prompt" and self._refilled)]
        spellings = (
            f"{_plain(name)}:{'%s' if name in self._holes else _plain(params[name])}"
            for name in sent
        )
        self._request = f"[{_plain(shape.kind)},{{{','.join(spellings)}}},%d]"

    def task(self, moved: Values, copy: int, index: int, number: int, cell: int) -> Task:
        """Make the task of a cell.

        Args:
            moved: The values that move, by name.
            copy: Number of the copy, from 1.
            index: The task's place in the job, from 0.
            number: The prompt's place in the job, from 0.
            cell: The task's place among the prompt's, from 0.
        """
        params, variables = {**self._params, **moved}, self._variables
        if self._varied:
            variables = {**variables, **{name: params.pop(name) for name in self._varied}}
        if self._seeded and copy > 1:
            params["seed"] = derived_seed(self._salt, copy)
        if self._refilled:
            params["prompt"] = templates.fill(self._prompt.template, {**params, **variables})
        holes = [spelled(params[name]) for name in self._holes]
        return Task(
            task_id=hashed_id((self._request % (*holes, copy)).encode("ascii")),
            index=index,
            params=params,
            prompt_template=self._prompt.template,
            prompt_id=self._prompt.id,
            variables=variables,
            repeat=copy,
            prompt_number=number,
            cell=cell,
        )


def _plain(value: Scalar) -> str:
    """Spell a value that stays, in a text with holes."""
    return spelled(value).replace("%", "%%")


def _cells(job: Job, shape: _Shape, prompt: Prompt) -> Iterator[tuple[_Pattern, Values, int]]:
    """Yield the pattern of each of a prompt's tasks, what moved and the number of the copy."""
    axes = _open_axes(job.matrix, prompt)
    zipped = _open_axes(job.zip, prompt)
    rows = list(zip(*(shape.column(axis, prompt) for axis in zipped), strict=True)) or [()]
    moving = [axis.name for axis in (*axes, *zipped)]
    values = {**job.defaults, **dict.fromkeys(moving, ""), **prompt.own}
    pattern = _Pattern(shape, prompt, values, moving)
    excluded = list(_excluded(job, values, moving))
    derived = [axis.name for axis in (*axes, *zipped) if isinstance(axis.values, Derived)]
    copies = range(1, job.repeat + 1)
    for across in itertools.product(*(shape.column(axis, prompt) for axis in axes)):
        for row in rows:
            for copy in copies:
                moved = dict(zip(moving, across + row, strict=True))
                if copy > 1:
                    # A copy with its sibling's seed would be the same video again.
                    for name in derived:
                        moved[name] = derived_seed(job.salt, moved[name], copy)
                if not excluded or not any(out.items() <= moved.items() for out in excluded):
                    yield pattern, moved, copy
    for added in job.include:
        if "prompt" not in added:
            yield _Pattern(shape, prompt, {**job.defaults, **prompt.own, **added}), {}, 1


def _excluded(job: Job, values: Values, moving: Collection[str]) -> Iterator[Values]:
    """Yield what is left of the rows of `exclude` once all but the moving values was compared."""
    fixed = {name: value for name, value in values.items() if name not in moving}
    for row in job.exclude:
        if {name: row[name] for name in row if name not in moving}.items() <= fixed.items():
            yield {name: row[name] for name in row if name in moving}


def _open_axes(axes: tuple[Axis, ...], prompt: Prompt) -> list[Axis]:
    return [axis for axis in axes if axis.name not in prompt.own]


def _zip_length(job: Job, prompt: Prompt) -> int:
    """Count the rows of the axes that move together; one where none does."""
    return max((len(axis) for axis in _open_axes(job.zip, prompt)), default=1)


def _values(salt: str, axis: Axis, *prompt: str) -> tuple[Scalar, ...]:
    """Return an axis' values, those that are derived from the prompt's text where it is given."""
    match axis.values:
        case Derived(count=count):
            return tuple(derived_seed(salt, axis.name, place, *prompt) for place in range(count))
        case values:
            return values


def _product_length(axes: list[Axis]) -> int:
    length = 1
    for axis in axes:
        length *= len(axis)
    return length


def _hash_int(*parts: object) -> int:
    """Hash the parts, told apart by a separator, into 64 bits."""
    joined = "\x1f".join(str(part) for part in parts).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.sha256(joined).digest()[:8], "big")
