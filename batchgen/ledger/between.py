"""What commands do to a ledger before and after a run, each in one transaction."""

import os
import sqlite3
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Final

from batchgen.errors import LedgerError
from batchgen.ledger.admission import insert
from batchgen.ledger.moves import move, record, settle_submit, take_id
from batchgen.ledger.tables import SELECT, Record, file_name
from batchgen.task import FORGOTTEN, Cause, Status, Task

IN_DOUBT: Final = frozenset({Status.UNRESOLVED})
"""Where a submit may be given up."""
SETTLED_BY_HAND: Final = IN_DOUBT | {Status.CANCELLED}
"""Where a person may say what became of one; what was given up may still turn up."""


def recover(db: sqlite3.Connection, rescued: Sequence[tuple[str, str]]) -> int:
    """Take in rescued ids, then mark submits that were cut off as in doubt; count these.

    Args:
        db: The database, in a transaction.
        rescued: Generation id and task id.
    """
    db.executemany(
        "UPDATE tasks SET status = 'in_flight', generation_id = ?, error_code = NULL,"
        " error_message = NULL, cause = NULL"
        " WHERE task_id = ? AND (status IN ('submitting', 'unresolved')"
        # Refused, and found in the provider's log.
        " OR (status = 'pending' AND client_request_id NOT NULL))",
        rescued,
    )
    return db.execute(
        "UPDATE tasks SET status = 'unresolved', error_code = 'interrupted',"
        " error_message = 'the run ended while the submit was under way', cause = 'submit'"
        " WHERE status = 'submitting'"
    ).rowcount


def refetch_missing(db: sqlite3.Connection, folder: Path) -> int:
    """Put tasks whose file is no longer below `folder` back in flight; count them."""
    sql = "SELECT task_id, stem FROM tasks WHERE status = 'succeeded' AND gone = 0"
    missing = [
        (task_id,)
        for task_id, stem in db.execute(sql)
        # Not by Path: a night has 100,000 of them.
        if not os.path.isfile(f"{folder}/{file_name(stem)}")  # noqa: PTH113
    ]
    db.executemany("UPDATE tasks SET status = 'in_flight' WHERE task_id = ?", missing)
    return len(missing)


def resume_paid(db: sqlite3.Connection, reasons: Sequence[str], *, forgotten: bool) -> int:
    """Put tasks with an id worth asking about back in flight; count them.

    Args:
        db: The database, in a transaction.
        reasons: Only tasks that ended for one of these; all where empty.
        forgotten: Whether an id that the provider did not know any more is asked about again.
    """
    sql = (
        "UPDATE tasks SET status = 'in_flight', error_code = NULL, error_message = NULL,"
        " cause = NULL WHERE generation_id IS NOT NULL AND replaced_by IS NULL"
        " AND (? OR error_code IS NOT ?) AND (status = 'timed_out'"
        f" OR (status = 'failed' AND cause IN ('fetch', 'download'))){_only(reasons)}"
    )
    return db.execute(sql, (forgotten, FORGOTTEN, *_places(reasons))).rowcount


_LOST: Final = f"cause = 'fetch' AND error_code = '{FORGOTTEN}'"
_FORGOTTEN: Final = f"status = 'failed' AND NOT gone AND {_LOST}"
_TO_SUBMIT_ANEW: Final = (
    f"status = 'failed' AND NOT gone AND (cause IN ('submit', 'generation') OR {_LOST})"
)
_CLEARED: Final = (
    "generation_id = NULL, video_url = NULL, client_request_id = NULL, submitted_at = NULL,"
    " completed_at = NULL, polls = 0, queue_s = NULL, generate_s = NULL, cost_usd = NULL,"
    " cost_is_estimate = NULL, error_code = NULL, error_message = NULL, cause = NULL"
)
"""What a task's row says of its latest submit and what came of it, taken away."""


def retry(db: sqlite3.Connection, reasons: Sequence[str], at: float) -> list[str]:
    """Make failed tasks pending again; return the ids of all that wait to be submitted anew."""
    _keep_forgotten(db, f"{_FORGOTTEN}{_only(reasons)}", _places(reasons), at)
    db.execute(
        f"UPDATE tasks SET status = 'pending', {_CLEARED} WHERE {_TO_SUBMIT_ANEW}{_only(reasons)}",
        _places(reasons),
    )
    return _waiting(db)


def _keep_forgotten(
    db: sqlite3.Connection, which: str, values: Sequence[object], at: float
) -> None:
    """Note that submits were taken and are made again: what they cost or may cost stays counted."""
    db.execute(
        "UPDATE submits SET outcome = 'resubmitted', detail = 'the provider forgot its id',"
        " settled_at = ?"
        f" WHERE client_request_id IN (SELECT client_request_id FROM tasks WHERE {which})",
        (at, *values),
    )


def replace(
    db: sqlite3.Connection,
    reasons: Sequence[str],
    another: Callable[[Record, int], tuple[Task, str]],
) -> list[str]:
    """Put another task in the place of each failed one; return the ids of all that wait.

    The failed task keeps its row as it is, with the id of the other one, and is no longer the
    job's.

    Args:
        db: The database, in a transaction.
        reasons: Only tasks that failed for one of these; all where empty.
        another: Makes the n-th task that may replace a failed one, and the stem of its file's name.
    """
    sql = f"{SELECT} WHERE {_TO_SUBMIT_ANEW}{_only(reasons)} ORDER BY position"
    for failed in [Record(*row) for row in db.execute(sql, _places(reasons))]:
        number = 1
        task, stem = another(failed, number)
        while not insert(db, task, failed.position, stem):
            number += 1
            task, stem = another(failed, number)
        db.execute(
            "UPDATE tasks SET gone = 1, replaced_by = ? WHERE task_id = ?",
            (task.task_id, failed.task_id),
        )
    return _waiting(db)


def _waiting(db: sqlite3.Connection) -> list[str]:
    """Return the ids of tasks to be submitted in place of a failed submit or a failed task."""
    return [
        row[0]
        for row in db.execute(
            "SELECT task_id FROM tasks WHERE status = 'pending' AND NOT gone AND (attempts"
            " OR task_id IN (SELECT replaced_by FROM tasks WHERE replaced_by IS NOT NULL))"
        )
    ]


def resubmit(db: sqlite3.Connection, task_id: str, at: float) -> None:
    """Decide, on record, that a task in doubt, or one that was forgotten, is submitted again.

    Raises:
        LedgerError: It is unknown, or its submit is neither.
    """
    task = record(db, task_id)
    if (task.status, task.cause, task.error_code) == (Status.FAILED, Cause.FETCH, FORGOTTEN):
        _keep_forgotten(db, "task_id = ?", (task_id,), at)
    else:
        _refuse_unless(db, task_id, SETTLED_BY_HAND)
        settle_submit(db, task_id, "resubmitted", at)
    move(db, task_id, Status.PENDING)
    db.execute(f"UPDATE tasks SET {_CLEARED} WHERE task_id = ?", (task_id,))


def adopt(db: sqlite3.Connection, task_id: str, generation_id: str, at: float) -> bool:
    """Give a submit in doubt the id that a person found for it.

    Returns:
        False where another task has this id: then nothing was changed.

    Raises:
        LedgerError: The task is unknown, or its submit is not in doubt.
    """
    _refuse_unless(db, task_id, SETTLED_BY_HAND)
    return take_id(db, task_id, generation_id, at, detail="by hand")


def abandon(db: sqlite3.Connection, task_id: str, at: float) -> None:
    """Give a task in doubt up; what it may have cost stays counted.

    Raises:
        LedgerError: It is unknown, or its submit is not in doubt.
    """
    _refuse_unless(db, task_id, IN_DOUBT)
    settle_submit(db, task_id, "abandoned", at)
    move(
        db,
        task_id,
        Status.CANCELLED,
        error_code="abandoned",
        error_message="given up by hand; its submit may have been taken and paid for",
        cause=Cause.SUBMIT,
    )


def in_doubt(db: sqlite3.Connection) -> list[tuple[Record, float | None]]:
    """Return the tasks whose submit is in doubt, oldest first, each with its reserved cost."""
    return _priced(db, "status = 'unresolved'")


def forgotten(db: sqlite3.Connection) -> list[tuple[Record, float | None]]:
    """Return the tasks whose id the provider forgot, oldest first, each with what it cost."""
    return [
        (record, record.cost_usd if record.cost_usd is not None else reserved)
        for record, reserved in _priced(db, _FORGOTTEN)
    ]


def _priced(db: sqlite3.Connection, which: str) -> list[tuple[Record, float | None]]:
    """Return tasks, oldest first, each with what is reserved for its latest submit."""
    price = "SELECT reserved_usd FROM submits WHERE client_request_id = ?"
    return [
        (record, (db.execute(price, (record.client_request_id,)).fetchone() or (None,))[0])
        for record in [
            Record(*row) for row in db.execute(f"{SELECT} WHERE {which} ORDER BY submitted_at")
        ]
    ]


def _refuse_unless(db: sqlite3.Connection, task_id: str, statuses: Collection[Status]) -> None:
    """Refuse a decision about a submit whose fate is known: the table alone would allow some."""
    status = Status(record(db, task_id).status)
    if status not in statuses:
        raise LedgerError(f"task {task_id} is {status.exported}: there is nothing to settle")


def _only(reasons: Sequence[str]) -> str:
    """Narrow a statement to tasks that ended for one of these: a code, a status or a phase."""
    marks = ", ".join("?" * len(reasons))
    columns = ("error_code", "status", "cause")
    words = " OR ".join(f"{column} IN ({marks})" for column in columns)
    return f" AND ({words})" if reasons else ""


def _places(reasons: Sequence[str]) -> tuple[str, ...]:
    """Return what stands in the places that `_only` leaves."""
    return tuple(reasons) * 3
