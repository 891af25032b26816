"""The grid of a job: its cells, those that `exclude` leaves out, and how many there are. Pure.

A cell is what the axes bring, before a prompt's text is filled in. Whether two cells ask for the
same is for `expansion` to say.
"""

import itertools
import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

from batchgen import templates
from batchgen.derived import axis_column, derived_seed
from batchgen.job import Axis, Derived, Job, Prompt, Values
from batchgen.models import Scalar, Table, told_apart

Cell = tuple[Values, int]
"""The values that move, by name, and the number of the copy, from 1."""


class Grid:
    """The axes of a job, their values looked up once. A prompt's own values pin some of them."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._excluded = dict(enumerate(job.exclude))
        self._by_id = any("id" in row for row in job.exclude) and names_its_prompt(
            job.parameters, variable_names(job)
        )
        self._columns = {
            axis.name: axis_column(job.salt, axis)
            for axis in (*job.matrix, *job.zip)
            if not (isinstance(axis.values, Derived) and axis.values.per_prompt)
        }

    def moving(self, prompt: Prompt) -> list[str]:
        """Return the names of the axes that a prompt leaves open."""
        return [axis.name for axis in (*self._job.matrix, *self._job.zip) if _open(axis, prompt)]

    def cells(self, prompt: Prompt) -> Iterator[Cell]:
        """Return a prompt's cells: the matrix in its written order, then zip, then repeat."""
        excluded = [*self._moving_part(prompt, self._excluded).values()]
        if not all(excluded):
            return iter(())  # a row matches whatever moves
        every = self._every_cell(prompt)
        if not excluded:
            return every
        return (cell for cell in every if not any(_matches(row, cell[0]) for row in excluded))

    def matched(self, prompt: Prompt, rows: Mapping[int, Values]) -> set[int]:
        """Return the numbers of those rows that match any of a prompt's cells; no cell is made."""
        moving = self._moving_part(prompt, rows)
        if not moving:
            return set()
        found: set[int] = set()
        for columns in self._columns_of_copies(prompt, {*itertools.chain(*moving.values())}):
            found |= {number for number, row in moving.items() if self._is_among(row, columns)}
        return found

    def size(self, prompt: Prompt) -> int:
        """Count a prompt's cells, without making any where none is left out."""
        if self._job.exclude:
            return sum(1 for _ in self.cells(prompt))
        rows = max((len(axis) for axis in self._job.zip if _open(axis, prompt)), default=1)
        return _product(self._job.matrix, prompt) * rows * self._job.repeat

    def _every_cell(self, prompt: Prompt) -> Iterator[Cell]:
        job = self._job
        axes = [axis for axis in job.matrix if _open(axis, prompt)]
        zipped = [axis for axis in job.zip if _open(axis, prompt)]
        rows = list(zip(*(self._column(axis, prompt) for axis in zipped), strict=True)) or [()]
        moving = [axis.name for axis in (*axes, *zipped)]
        derived = [axis.name for axis in (*axes, *zipped) if isinstance(axis.values, Derived)]
        copies = range(1, job.repeat + 1)
        for across in itertools.product(*(self._column(axis, prompt) for axis in axes)):
            for row in rows:
                for copy in copies:
                    moved = dict(zip(moving, across + row, strict=True))
                    if copy > 1:
                        # A copy with its sibling's seed would be the same video again.
                        for name in derived:
                            moved[name] = derived_seed(job.salt, moved[name], copy)
                    yield moved, copy

    def _column(self, axis: Axis, prompt: Prompt) -> tuple[Scalar, ...]:
        shared = self._columns.get(axis.name)
        return axis_column(self._job.salt, axis, prompt.template) if shared is None else shared

    def _columns_of_copies(
        self, prompt: Prompt, names: Collection[str]
    ) -> Iterator[Mapping[str, tuple[Scalar, ...]]]:
        """Yield the values of the named axes, for each copy where copies differ in them."""
        axes = [axis for axis in (*self._job.matrix, *self._job.zip) if axis.name in names]
        first = {axis.name: self._column(axis, prompt) for axis in axes}
        yield first
        derived = [axis.name for axis in axes if isinstance(axis.values, Derived)]
        for copy in range(2, self._job.repeat + 1) if derived else ():
            yield {
                **first,
                **{
                    name: tuple(derived_seed(self._job.salt, seed, copy) for seed in first[name])
                    for name in derived
                },
            }

    def _is_among(self, row: Values, columns: Mapping[str, tuple[Scalar, ...]]) -> bool:
        """Tell whether a row matches a cell: the axes of zip meet row by row, others all."""
        zipped = [axis.name for axis in self._job.zip if axis.name in row]
        groups = [[name] for name in row if name not in zipped]
        return all(
            tuple(told_apart(row[name]) for name in group)
            in zip(*(map(told_apart, columns[name]) for name in group), strict=True)
            for group in (*groups, *([zipped] if zipped else ()))
        )

    def _moving_part(self, prompt: Prompt, rows: Mapping[int, Values]) -> dict[int, Values]:
        """Return what is left of rows once all that does not move was compared.

        Those that differ there match none of the prompt's cells and are left out.
        """
        if not rows:
            return {}
        moving = self.moving(prompt)
        named = {"id": prompt.id} if self._by_id and prompt.id is not None else {}
        values = {**named, **self._job.defaults, **prompt.own}
        fixed = {name: value for name, value in values.items() if name not in moving}
        return {
            number: {name: row[name] for name in row if name in moving}
            for number, row in rows.items()
            if _matches({name: row[name] for name in row if name not in moving}, fixed)
        }


def variable_names(job: Job) -> frozenset[str]:
    """Return the names in the job's templates that are no parameters of its model."""
    table = job.parameters
    used = {name for prompt in job.prompts for name in templates.names(prompt.template)}
    used |= {name for row in job.include for name in templates.names(str(row.get("prompt", "")))}
    return frozenset(used if table is None else used - table.keys())


def names_its_prompt(table: Table | None, variables: Collection[str]) -> bool:
    """Tell whether `id` in a row is a prompt's name, as it is under `prompts`.

    Where a parameter or a variable of the job has this name, it is that one's value.
    """
    return "id" not in variables and (table is None or "id" not in table)


def cells(job: Job) -> int:
    """Count the cells, also those that ask for the same as another, and the rows of `include`.

    No more of the grid is walked than the axes that `exclude` names.
    """
    named = {name for row in job.exclude for name in row}
    # Whether a cell is left out depends on these and on no other.
    narrow = Grid(replace(job, matrix=tuple(axis for axis in job.matrix if axis.name in named)))
    free = tuple(axis for axis in job.matrix if axis.name not in named)
    alone = sum("prompt" in row for row in job.include)
    return (
        alone
        + (len(job.include) - alone) * len(job.prompts)
        + sum(count * narrow.size(one) * _product(free, one) for one, count in _kinds(job))
    )


def unmatched_rows(job: Job) -> list[int]:
    """Return the numbers, from 1, of the rows of `exclude` that match no cell of any prompt."""
    grid = Grid(job)
    waiting = dict(enumerate(job.exclude, start=1))
    for prompt, _ in _kinds(job):
        if not waiting:
            break
        for number in grid.matched(prompt, waiting):
            del waiting[number]
    return list(waiting)


def _kinds(job: Job) -> Iterator[tuple[Prompt, int]]:
    """Yield one of each kind of prompt, and how many are of it.

    Prompts are of one kind where they leave the same axes open and `exclude` sees the same values.
    """
    named = {name for row in job.exclude for name in row}
    axes = (*job.matrix, *job.zip)
    seen = named.union(axis.name for axis in axes)
    by_text = any(
        isinstance(axis.values, Derived) and axis.values.per_prompt and axis.name in named
        for axis in axes
    )
    first: dict[tuple[object, ...], Prompt] = {}
    counts: dict[tuple[object, ...], int] = {}
    for prompt in job.prompts:
        own = frozenset(
            (name, told_apart(value) if name in named else None)
            for name, value in prompt.own.items()
            if name in seen
        )
        kind = (own, prompt.template if by_text else "", prompt.id if "id" in named else None)
        first.setdefault(kind, prompt)
        counts[kind] = counts.get(kind, 0) + 1
    return ((prompt, counts[kind]) for kind, prompt in first.items())


def _open(axis: Axis, prompt: Prompt) -> bool:
    return axis.name not in prompt.own


def _product(axes: tuple[Axis, ...], prompt: Prompt) -> int:
    return math.prod(len(axis) for axis in axes if _open(axis, prompt))


def _matches(row: Values, values: Mapping[str, Scalar]) -> bool:
    """Tell whether all of a row's values are among these."""
    return row.items() <= values.items() and all(
        told_apart(row[name]) == told_apart(values[name]) for name in row
    )
