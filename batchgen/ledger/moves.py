"""The changes that steps are made of: a statement or two, inside the caller's transaction."""

import itertools
import re
import sqlite3
from functools import cache

from batchgen.errors import LedgerError
from batchgen.ledger.tables import SELECT, Record
from batchgen.outcomes import MESSAGE_CHARACTERS
from batchgen.spending import Booking
from batchgen.task import SOURCES, Status


def record(db: sqlite3.Connection, task_id: str) -> Record:
    """Return a task as it is.

    Raises:
        LedgerError: There is none of this id.
    """
    row = db.execute(f"{SELECT} WHERE task_id = ?", (task_id,)).fetchone()
    if row is None:
        raise LedgerError(f"task {task_id} is unknown")
    return Record(*row)


def move(
    db: sqlite3.Connection, task_id: str, to: Status, *, polls: int = 0, **columns: object
) -> None:
    """Change a task's status, checked against the table of transitions.

    Args:
        db: The database, in a transaction.
        task_id: The task.
        to: Its new status.
        polls: How often it was asked about since the last step.
        columns: New values.

    Raises:
        LedgerError: The table does not allow it.
    """
    values = (to, polls, *columns.values(), task_id, *SOURCES[to])
    if db.execute(_move(to, tuple(columns)), values).rowcount != 1:
        row = db.execute("SELECT status FROM tasks WHERE task_id = ?", (task_id,)).fetchone()
        raise LedgerError(
            f"task {task_id} cannot become {to}: it is {row[0] if row else 'unknown'}"
        )


@cache
def _move(to: Status, columns: tuple[str, ...]) -> str:
    """Write the statement of a move; there are a dozen, used ten thousand times."""
    assignments = "".join(f", {column} = ?" for column in columns)
    marks = ", ".join("?" * len(SOURCES[to]))
    # A task that is being submitted has one attempt more.
    attempt = ", attempts = attempts + 1" if to is Status.SUBMITTING else ""
    return (
        f"UPDATE tasks SET status = ?, polls = polls + ?{attempt}{assignments}"
        f" WHERE task_id = ? AND status IN ({marks})"
    )


def rename(db: sqlite3.Connection, task_id: str) -> Record:
    """Give a task's video a name that no other task has, the next one of its own; return the task.

    A name is followed by the task's id, then by the id and a number from 2.
    """
    stem = record(db, task_id).stem
    earlier = re.fullmatch(rf"(.*)_{re.escape(task_id)}(?:_([0-9]+))?", stem, re.DOTALL)
    base, number = (earlier[1], int(earlier[2] or 1)) if earlier else (stem, 0)
    for following in itertools.count(number + 1):
        name = f"{base}_{task_id}" + (f"_{following}" if following > 1 else "")
        # Ignored where another task has the name.
        sql = "UPDATE OR IGNORE tasks SET stem = ? WHERE task_id = ?"
        if db.execute(sql, (name, task_id)).rowcount:
            break
    return record(db, task_id)


def settle_submit(
    db: sqlite3.Connection,
    task_id: str,
    outcome: str,
    at: float,
    *,
    generation_id: str | None = None,
    detail: str | None = None,
) -> None:
    """Say what came of a task's latest submit.

    Args:
        db: The database, in a transaction.
        task_id: The task.
        outcome: A word of the column `outcome`.
        at: Unix seconds.
        generation_id: The id it was given.
        detail: Why.
    """
    db.execute(
        "UPDATE submits SET outcome = ?, generation_id = coalesce(?, generation_id), detail = ?,"
        " settled_at = ?"
        " WHERE client_request_id = (SELECT client_request_id FROM tasks WHERE task_id = ?)",
        (outcome, generation_id, short(detail) if detail else None, at, task_id),
    )


def book(
    db: sqlite3.Connection, task_id: str, usd: float | None, *, is_estimate: bool
) -> Booking | None:
    """Note what a task's latest submit cost; an estimate replaces nothing.

    Returns:
        What was booked; None where nothing was.
    """
    noted = db.execute(
        "SELECT submits.cost_usd FROM submits JOIN tasks USING (client_request_id)"
        " WHERE tasks.task_id = ?",
        (task_id,),
    ).fetchone()
    before: float | None = noted[0] if noted else None
    if usd is None or (is_estimate and before is not None):
        return None
    cost = "SET cost_usd = ?, cost_is_estimate = ?"
    db.execute(f"UPDATE tasks {cost} WHERE task_id = ?", (usd, int(is_estimate), task_id))
    db.execute(
        f"UPDATE submits {cost}"
        " WHERE client_request_id = (SELECT client_request_id FROM tasks WHERE task_id = ?)",
        (usd, int(is_estimate), task_id),
    )
    return Booking(usd, before, is_estimate=is_estimate)


def short(text: str) -> str:
    """Cut a server's words to the length that is kept."""
    return text[:MESSAGE_CHARACTERS]


def reopen_refused(db: sqlite3.Connection, task_id: str) -> None:
    """Have a submit under way again that was refused, but is in the provider's log all the same."""
    refused = "SELECT 1 FROM tasks WHERE task_id = ? AND status = ? AND client_request_id NOT NULL"
    if db.execute(refused, (task_id, Status.PENDING)).fetchone():
        move(db, task_id, Status.SUBMITTING)


def take_id(
    db: sqlite3.Connection, task_id: str, generation_id: str, at: float, *, detail: str = ""
) -> bool:
    """Keep the id that a submit was given, at Unix seconds `at`.

    Returns:
        False where another task has this id: then nothing was changed.
    """
    sql = "SELECT 1 FROM tasks WHERE generation_id = ? AND task_id <> ?"
    if db.execute(sql, (generation_id, task_id)).fetchone():
        return False
    reopen_refused(db, task_id)
    settle_submit(db, task_id, "accepted", at, generation_id=generation_id, detail=detail)
    move(
        db,
        task_id,
        Status.IN_FLIGHT,
        generation_id=generation_id,
        error_code=None,
        error_message=None,
        cause=None,
    )
    return True


def exchange(
    db: sqlite3.Connection, holder_id: str, own_id: str, task_id: str, generation_id: str, at: float
) -> bool:
    """Give a generation to task `task_id`, and `own_id` to the task that had it until now.

    Returns:
        False where a third task has `own_id`: then nothing was changed.
    """
    if db.execute("SELECT 1 FROM tasks WHERE generation_id = ?", (own_id,)).fetchone():
        return False
    detail = "as the provider's log has it: its answer had named another task's"
    settle_submit(db, holder_id, "accepted", at, generation_id=own_id, detail=detail)
    move(
        db,
        holder_id,
        Status.IN_FLIGHT,
        generation_id=own_id,
        completed_at=None,
        video_url=None,
        bytes=None,
        sha256=None,
        error_code=None,
        error_message=None,
        cause=None,
    )
    return take_id(db, task_id, generation_id, at)
