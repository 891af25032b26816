"""A job's tasks: a pure function of the job, as a stream.

Prompts outermost, then the matrix in its written order, then zip, then repeat, then the prompt's
`include` rows; rows with a prompt of their own come last. Nothing is held but the job itself and,
where two places may ask for the same, a number for each task.
"""

from collections.abc import Collection, Iterator

from batchgen import grid, templates
from batchgen.derived import derived_number, derived_seed
from batchgen.grid import Grid, names_its_prompt, variable_names
from batchgen.idset import IdSet
from batchgen.job import Axis, Derived, Job, Order, Prompt, Values
from batchgen.models import Scalar
from batchgen.task import Task, hashed_id, spelled


def expand(job: Job) -> Iterator[Task]:
    """Yield the job's tasks in their order.

    The same job gives the same tasks with the same ids on any machine. What would be sent twice the
    same is one task: the first place it has.
    """
    shape = _Shape(job)
    seen = IdSet() if _may_repeat(job, shape.variables) else None
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
        yield position, 0, _alone(job, shape, row), {}, 1


def count(job: Job) -> int:
    """Count the tasks, without making any where none can repeat another."""
    if _may_repeat(job, variable_names(job)):
        return sum(1 for _ in expand(job))
    return grid.cells(job)


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
            return derived_number("order", task.task_id) >> 1


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
        self.grid = Grid(job)


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
    moving = shape.grid.moving(prompt)
    values = {**job.defaults, **dict.fromkeys(moving, ""), **prompt.own}
    pattern = _Pattern(shape, prompt, values, moving)
    for moved, copy in shape.grid.cells(prompt):
        yield pattern, moved, copy
    for added in job.include:
        if "prompt" not in added:
            yield _Pattern(shape, prompt, {**job.defaults, **prompt.own, **added}), {}, 1


def _alone(job: Job, shape: _Shape, row: Values) -> _Pattern:
    """Return the pattern of a row of `include` that has a prompt of its own."""
    named = "id" in row and names_its_prompt(job.parameters, shape.variables)
    own = {name: value for name, value in row.items() if name != "id" or not named}
    prompt = Prompt(str(row["prompt"]), str(row["id"]) if named else None)
    return _Pattern(shape, prompt, {**job.defaults, **own})


def _may_repeat(job: Job, variables: Collection[str]) -> bool:
    """Tell whether two places of a job may ask for the same; where not, no id need be kept."""
    axes = (*job.matrix, *job.zip)
    return bool(
        job.include
        or variables
        or _texts_may_meet(job)
        # Each copy's seeds are derived from the first one's, and may meet.
        or (job.repeat > 1 and any(_several_derived(axis) for axis in axes))
        or any(
            isinstance(axis.values, tuple) and len(set(axis.values)) < len(axis.values)
            for axis in axes
        )
    )


def _several_derived(axis: Axis) -> bool:
    return isinstance(axis.values, Derived) and len(axis) > 1


def _texts_may_meet(job: Job) -> bool:
    """Tell whether two prompts may send the same text: only their other values differ then."""
    if len(job.prompts) == 1:
        return False
    texts = set()
    for prompt in job.prompts:
        if "$" not in prompt.template:
            texts.add(prompt.template)
        elif templates.names(prompt.template):
            return True  # which text that is depends on the cell
        else:
            texts.add(templates.fill(prompt.template, {}))
    return len(texts) < len(job.prompts)
