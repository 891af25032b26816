"""A ledger that is older than the world takes in the submits that others know of.

Yesterday's copy put back, or a write-ahead log that was lost: the manifest beside it and the
provider's log then know of submits that the ledger does not, and its tasks would be bought again.
"""

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from batchgen.errors import LedgerError
from batchgen.ledger.moves import record, settle_submit, take_id
from batchgen.ledger.tables import Record
from batchgen.task import Cause, Status


@dataclass(frozen=True, slots=True)
class KnownSubmit:
    """A submit, as the manifest or the provider's log knows it.

    Attributes:
        task_id: Its task.
        client_request_id: What it was sent with.
        generation_id: The id it was given; None where that is not known.
        submitted_at: Unix seconds; None where that is not known.
        base_url: Where it went; None for the sandbox inside a run.
        video: The whole file that came of it; None where there is none, or nobody knows.
        reserved_usd: US dollars to count while the cost is not known; None where nobody knows.
        cost_usd: US dollars; None where that is not known.
        cost_is_estimate: Whether the cost is not the provider's word.
    """

    task_id: str
    client_request_id: str
    generation_id: str | None
    submitted_at: float | None = None
    base_url: str | None = None
    video: "KnownVideo | None" = None
    reserved_usd: float | None = None
    cost_usd: float | None = None
    cost_is_estimate: bool = True


@dataclass(frozen=True, slots=True)
class KnownVideo:
    """A video, as the manifest knows it.

    Attributes:
        stem: Its name, without folder and ending.
        size: Bytes.
        sha256: Hexadecimal digest of the bytes.
        completed_at: When the provider was done, in Unix seconds; None where that is not known.
    """

    stem: str
    size: int
    sha256: str
    completed_at: float | None


@dataclass(frozen=True, slots=True)
class TakenIn:
    """What a ledger has learned.

    Attributes:
        generations: Ids of tasks whose generation it did not know.
        doubtful: Ids of tasks with a submit it did not know and whose fate nobody knows.
        second: Submits it did not know of tasks that have another generation: bought twice.
        strange: Submits of tasks that neither it nor the job has.
    """

    generations: tuple[str, ...] = ()
    doubtful: tuple[str, ...] = ()
    second: int = 0
    strange: int = 0

    def __add__(self, later: "TakenIn") -> "TakenIn":
        """Return what was learned in two goes, the second with more tasks."""
        return TakenIn(
            self.generations + later.generations,
            self.doubtful + later.doubtful,
            self.second + later.second,
            later.strange,
        )

    def __str__(self) -> str:
        """Say what it was, in part of a sentence."""
        said = {
            "generations are taken in and not bought again": len(self.generations),
            "submits are taken in as unresolved": len(self.doubtful),
            "were bought a second time": self.second,
            "are of tasks that the job does not have": self.strange,
        }
        return ", ".join(f"{count} {what}" for what, count in said.items() if count)


_OPEN: Final = (None, "ambiguous")
"""Outcomes of a submit after which its id is still news."""


def unknown(db: sqlite3.Connection, submits: Iterable[KnownSubmit]) -> Iterator[KnownSubmit]:
    """Yield the submits that a ledger knows nothing of, or not what became of them."""
    for submit in submits:
        row = db.execute(
            "SELECT outcome FROM submits WHERE client_request_id = ?", (submit.client_request_id,)
        ).fetchone()
        if row is None or (row[0] in _OPEN and submit.generation_id is not None):
            yield submit


def take_in(
    db: sqlite3.Connection, submits: Iterable[KnownSubmit], source: str, at: float
) -> TakenIn:
    """Take in what a ledger does not know, for tasks that it has.

    Args:
        db: The database, in a transaction.
        submits: What others know.
        source: Who they are, for the record.
        at: Unix seconds.
    """
    generations: list[str] = []
    doubtful: list[str] = []
    second = strange = 0
    for submit in unknown(db, submits):
        try:
            task = record(db, submit.task_id)
        except LedgerError:
            strange += 1  # the job does not have it either, so it is not submitted
            continue
        held = "SELECT 1 FROM tasks WHERE generation_id = ?"
        if db.execute(held, (submit.generation_id,)).fetchone():
            continue
        if task.client_request_id == submit.client_request_id:
            take_id(db, task.task_id, submit.generation_id or "", at, detail=source)
            generations.append(task.task_id)
        elif task.generation_id is not None and not _is_over(task):
            _insert(db, task, submit, "resubmitted", source, at)
            second += 1
        elif submit.generation_id is not None:
            _supersede(db, task, at)
            _insert(db, task, submit, "accepted", source, at)
            _become(db, submit)
            generations.append(task.task_id)
        else:
            _supersede(db, task, at)
            _insert(db, task, submit, "ambiguous", source, at)
            _doubt(db, submit, source)
            doubtful.append(task.task_id)
    return TakenIn(tuple(generations), tuple(doubtful), second, strange)


def strange(db: sqlite3.Connection, client_request_ids: Iterable[str]) -> list[str]:
    """Return those that begin with a task of the ledger and are not of a submit it knows.

    A task that is in doubt itself is left out: its own submit is looked up first.
    """
    known = "SELECT 1 FROM submits WHERE client_request_id = ?"
    task = "SELECT 1 FROM tasks WHERE task_id = ? AND status NOT IN ('submitting', 'unresolved')"
    return [
        sent
        for sent in client_request_ids
        if db.execute(task, (sent.partition(".")[0],)).fetchone()
        and not db.execute(known, (sent,)).fetchone()
    ]


def _is_over(task: Record) -> bool:
    """Tell whether the generation a task has made nothing, so that a later submit stands for it."""
    return task.status == Status.FAILED and task.cause == Cause.GENERATION


def _supersede(db: sqlite3.Connection, task: Record, at: float) -> None:
    """Note that a submit in doubt was followed by another: somebody decided so."""
    if task.status in (Status.SUBMITTING, Status.UNRESOLVED):
        settle_submit(db, task.task_id, "resubmitted", at)


def _insert(
    db: sqlite3.Connection, task: Record, submit: KnownSubmit, outcome: str, source: str, at: float
) -> None:
    db.execute(
        "INSERT INTO submits (client_request_id, task_id, attempt, body_sha256, reserved_usd,"
        " cost_usd, cost_is_estimate, intended_at, outcome, generation_id, detail, settled_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            submit.client_request_id,
            task.task_id,
            task.attempts + 1,
            hashlib.sha256(task.task.body).hexdigest(),
            submit.reserved_usd,
            submit.cost_usd,
            None if submit.cost_usd is None else int(submit.cost_is_estimate),
            submit.submitted_at or at,
            outcome,
            submit.generation_id,
            source,
            at,
        ),
    )
    sql = "UPDATE tasks SET attempts = attempts + 1 WHERE task_id = ?"
    db.execute(sql, (task.task_id,))


def _become(db: sqlite3.Connection, submit: KnownSubmit) -> None:
    """Put a task in flight under the id it was given, or its file where the hash says it is."""
    video = submit.video
    db.execute(
        "UPDATE tasks SET status = ?, client_request_id = ?, generation_id = ?, submitted_at = ?,"
        " base_url = ?, completed_at = ?, bytes = ?, sha256 = ?, cost_usd = ?,"
        " cost_is_estimate = ?, error_code = NULL, error_message = NULL, cause = NULL"
        " WHERE task_id = ?",
        (
            Status.IN_FLIGHT if video is None else Status.COMPLETED,
            submit.client_request_id,
            submit.generation_id,
            submit.submitted_at,
            submit.base_url,
            None if video is None else video.completed_at,
            None if video is None else video.size,
            None if video is None else video.sha256,
            None if video is None else submit.cost_usd,
            None if video is None or submit.cost_usd is None else int(submit.cost_is_estimate),
            submit.task_id,
        ),
    )
    if video is not None:
        # Ignored where another task has the name: then the video is fetched anew, for free.
        sql = "UPDATE OR IGNORE tasks SET stem = ? WHERE task_id = ?"
        db.execute(sql, (video.stem, submit.task_id))


def _doubt(db: sqlite3.Connection, submit: KnownSubmit, source: str) -> None:
    db.execute(
        "UPDATE tasks SET status = 'unresolved', client_request_id = ?, submitted_at = ?,"
        " base_url = ?, generation_id = NULL, error_code = 'ambiguous_submit', error_message = ?,"
        " cause = 'submit' WHERE task_id = ?",
        (
            submit.client_request_id,
            submit.submitted_at,
            submit.base_url,
            f"known from {source} alone: the ledger was older",
            submit.task_id,
        ),
    )
