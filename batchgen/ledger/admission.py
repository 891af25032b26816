"""A job meets a ledger: new tasks join, known ones keep what happened to them."""

import itertools
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass

from batchgen.column_types import ColumnType, type_of
from batchgen.errors import LedgerError
from batchgen.task import Task

Arrival = tuple[Task, int, str]
"""A task, its order of submission and the stem of its file's name."""
_Telling = tuple[str | None, str | None, str | None]
"""What a row tells of a task and nobody is sent: prompt_template, prompt_id and variables."""


@dataclass(frozen=True, slots=True)
class Admission:
    """What a job brought to a ledger.

    Attributes:
        new: Tasks that were not known.
        known: Tasks that were.
        gone: Tasks the job no longer has that were never sent; they are forgotten.
        duplicates: Tasks that ask for the same as an earlier one of the job.
    """

    new: int
    known: int
    gone: int
    duplicates: int


def admit(db: sqlite3.Connection, tasks: Iterable[Arrival]) -> Admission:
    """Take in tasks, each with its order of submission and the stem of its file's name.

    What comes as it came the last time is read and not written, so that a night is gone on with at
    the cost of reading it.
    """
    params: set[tuple[str, ColumnType]] = set()
    variables: set[tuple[str, ColumnType]] = set()
    arrivals = _noted(tasks, params, variables)
    known, last, other = _as_before(db, arrivals)
    # The rest of the job is not what it was: what it still has is found by its id.
    db.execute("UPDATE tasks SET gone = 1 WHERE gone = 0 AND (idx, task_id) > (?, ?)", last)
    away = db.execute("SELECT count(*) FROM tasks WHERE gone = 1").fetchone()[0]
    new = duplicates = 0
    for task, position, stem in itertools.chain(() if other is None else (other,), arrivals):
        if away and _back(db, task, position):
            known += 1
            away -= 1
        elif insert(db, task, position, stem):
            new += 1
        else:
            duplicates += 1
    _put_replacements_in_place(db)
    # What was never sent and is no longer wanted leaves no trace; what was paid for stays.
    unsent = "gone = 1 AND status = 'pending' AND attempts = 0"
    db.execute(
        "UPDATE tasks SET replaced_by = NULL WHERE replaced_by IN"
        f" (SELECT task_id FROM tasks WHERE {unsent})"
    )
    gone = db.execute(f"DELETE FROM tasks WHERE {unsent}").rowcount
    for key, found in (("types:params", params), ("types:variables", variables)):
        types = column_types(db, key)
        for name, type_ in found:
            types.setdefault(name, set()).add(type_)
        text = json.dumps({name: sorted(types[name]) for name in sorted(types)})
        db.execute("INSERT OR REPLACE INTO about VALUES (?, ?)", (key, text))
    return Admission(new, known, gone, duplicates)


def column_types(db: sqlite3.Connection, key: str) -> dict[str, set[ColumnType]]:
    """Return the types of all values that tasks were ever admitted with, by name.

    Args:
        db: The database.
        key: `types:params` or `types:variables`.
    """
    row = db.execute("SELECT value FROM about WHERE key = ?", (key,)).fetchone()
    types: dict[str, list[str]] = json.loads(row[0]) if row else {}
    return {name: set(map(ColumnType, found)) for name, found in types.items()}


def _noted(
    tasks: Iterable[Arrival],
    params: set[tuple[str, ColumnType]],
    variables: set[tuple[str, ColumnType]],
) -> Iterator[Arrival]:
    """Pass tasks on, noting names and types of all they have."""
    for arrival in tasks:
        task = arrival[0]
        params.update(zip(task.params, map(type_of, task.params.values()), strict=True))
        variables.update(zip(task.variables, map(type_of, task.variables.values()), strict=True))
        yield arrival


def _as_before(
    db: sqlite3.Connection, arrivals: Iterator[Arrival]
) -> tuple[int, tuple[int, str], Arrival | None]:
    """Take tasks as long as they come as they came the last time.

    Returns:
        How many; place and id of the last of them; the first that comes otherwise, None where the
        job has no more.
    """
    known, last = 0, (-1, "")
    sql = (
        "SELECT idx, task_id, position, prompt_template, prompt_id, variables FROM tasks"
        " WHERE gone = 0 ORDER BY idx, task_id"
    )
    with closing(db.execute(sql)) as before:
        for arrival in arrivals:
            task, position, _ = arrival
            comes = (task.index, task.task_id, position, *_telling(task))
            if next(before, None) != comes:
                return known, last, arrival
            known, last = known + 1, (task.index, task.task_id)
    return known, last, None


def _back(db: sqlite3.Connection, task: Task, position: int) -> bool:
    """Give a task its place in the job again, and what the job calls it now.

    Returns:
        False where it was not away.
    """
    sql = (
        "UPDATE tasks SET gone = 0, idx = ?, position = ?, prompt_template = ?, prompt_id = ?,"
        " variables = ? WHERE task_id = ? AND gone = 1"
    )
    values = (task.index, position, *_telling(task), task.task_id)
    return db.execute(sql, values).rowcount == 1


def _telling(task: Task) -> _Telling:
    return (
        None if task.prompt_template == task.prompt else task.prompt_template,
        task.prompt_id,
        json.dumps(dict(task.variables)) if task.variables else None,
    )


def _put_replacements_in_place(db: sqlite3.Connection) -> None:
    """Let the job have, instead of each task that was replaced, the one made in its place.

    The job file knows the seed that failed; as long as it has that task, it has its replacement.
    """
    replaced = (
        "SELECT idx, position, prompt_template, prompt_id, variables, replaced_by, task_id"
        " FROM tasks"
        " WHERE replaced_by IS NOT NULL AND NOT gone"
    )
    while rows := db.execute(replaced).fetchall():
        for *place, replacement, task_id in rows:
            db.execute(
                "UPDATE tasks SET gone = 0, idx = ?, position = ?, prompt_template = ?,"
                " prompt_id = ?, variables = ? WHERE task_id = ?",
                (*place, replacement),
            )
            db.execute("UPDATE tasks SET gone = 1 WHERE task_id = ?", (task_id,))


def insert(db: sqlite3.Connection, task: Task, position: int, stem: str) -> bool:
    """Add a task; return False where the job has it already."""
    template, prompt_id, variables = _telling(task)
    values: Mapping[str, object] = {
        "task_id": task.task_id,
        "idx": task.index,
        "position": position,
        "params": json.dumps(dict(task.params), ensure_ascii=False),
        "prompt_template": template,
        "prompt_id": prompt_id,
        "variables": variables,
        "repeat": task.repeat,
        "stem": stem,
    }
    for name in (stem, f"{stem}_{task.task_id}"):
        try:
            db.execute(
                "INSERT INTO tasks (task_id, gone, idx, position, status, params,"
                " prompt_template, prompt_id, variables, repeat, stem) VALUES (:task_id, 0, :idx,"
                " :position, 'pending', :params, :prompt_template, :prompt_id, :variables,"
                " :repeat, :stem)",
                {**values, "stem": name},
            )
        except sqlite3.IntegrityError:
            if db.execute("SELECT 1 FROM tasks WHERE task_id = ?", (task.task_id,)).fetchone():
                return False
        else:
            return True
    raise LedgerError(f"no name is free for the video of task {task.task_id}")
