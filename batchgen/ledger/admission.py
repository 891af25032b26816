"""A job meets a ledger: new tasks join, known ones keep what happened to them."""

import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from batchgen.errors import LedgerError
from batchgen.task import Task


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


def admit(db: sqlite3.Connection, tasks: Iterable[tuple[Task, int, str]]) -> Admission:
    """Take in tasks, each with its order of submission and the stem of its file's name."""
    db.execute("UPDATE tasks SET gone = 1 WHERE NOT gone")
    new = known = duplicates = 0
    params: set[str] = set()
    variables: set[str] = set()
    for task, position, stem in tasks:
        params.update(task.params)
        variables.update(task.variables)
        seen = db.execute(
            "UPDATE tasks SET gone = 0, idx = ?, position = ? WHERE task_id = ? AND gone",
            (task.index, position, task.task_id),
        ).rowcount
        if seen:
            known += 1
        elif insert(db, task, position, stem):
            new += 1
        else:
            duplicates += 1
    _put_replacements_in_place(db)
    # What was never sent and is no longer wanted leaves no trace; what was paid for stays.
    unsent = "gone AND status = 'pending' AND attempts = 0"
    db.execute(
        "UPDATE tasks SET replaced_by = NULL WHERE replaced_by IN"
        f" (SELECT task_id FROM tasks WHERE {unsent})"
    )
    gone = db.execute(f"DELETE FROM tasks WHERE {unsent}").rowcount
    for key, names in (("names:params", params), ("names:variables", variables)):
        row = db.execute("SELECT value FROM about WHERE key = ?", (key,)).fetchone()
        names.update(json.loads(row[0]) if row else ())
        db.execute("INSERT OR REPLACE INTO about VALUES (?, ?)", (key, json.dumps(sorted(names))))
    return Admission(new, known, gone, duplicates)


def _put_replacements_in_place(db: sqlite3.Connection) -> None:
    """Let the job have, instead of each task that was replaced, the one made in its place.

    The job file knows the seed that failed; as long as it has that task, it has its replacement.
    """
    replaced = (
        "SELECT replaced_by, idx, position, task_id FROM tasks"
        " WHERE replaced_by IS NOT NULL AND NOT gone"
    )
    while rows := db.execute(replaced).fetchall():
        for replacement, index, position, task_id in rows:
            db.execute(
                "UPDATE tasks SET gone = 0, idx = ?, position = ? WHERE task_id = ?",
                (index, position, replacement),
            )
            db.execute("UPDATE tasks SET gone = 1 WHERE task_id = ?", (task_id,))


def insert(db: sqlite3.Connection, task: Task, position: int, stem: str) -> bool:
    """Add a task; return False where the job has it already."""
    values: Mapping[str, object] = {
        "task_id": task.task_id,
        "idx": task.index,
        "position": position,
        "params": json.dumps(dict(task.params), ensure_ascii=False),
        "prompt_template": None if task.prompt_template == task.prompt else task.prompt_template,
        "prompt_id": task.prompt_id,
        "variables": json.dumps(dict(task.variables)) if task.variables else None,
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
