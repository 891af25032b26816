"""What look-ups in the provider's log showed of this directory's submits, kept and read back.

Only submits to one server are evidence of its log; the sandbox inside a run has none to name.
"""

import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from batchgen.errors import LedgerError
from batchgen.evidence import Known, Log
from batchgen.ledger import between, moves
from batchgen.ledger.questions import OWN
from batchgen.ledger.tables import Record
from batchgen.ledger.writer import Step

FOUND_IN_LOG: Final = "found in the provider's log"
"""Detail of a submit whose answer was lost and whose id a look-up found."""
DAYS: Final = 7 * 86_400.0
"""Seconds for which what was seen of a submit counts: a provider's log may change.

A repeat that should not have been made counts as long, through any restart.
"""
TO_LOOK_FOR: Final = 500
"""Known submits that are looked for at once, the latest: five pages of the log."""
LOOKED_FOR: Final = 86_400.0
"""Seconds after which a known submit that is in no log is no longer looked for."""
YOUNGEST: Final = 10.0
"""Seconds before which a known submit is not looked for: a log that takes only a few of them would
seem to take until the next look-up."""

_TAKEN: Final = (
    "(outcome = 'accepted' OR (outcome = 'resubmitted' AND submits.generation_id IS NOT NULL))"
    f" AND {OWN}"
)


class Sightings:
    """The part of a ledger that knows the provider's log; each method returns once it is durable.

    Args:
        record: Does a step in the ledger.
    """

    def __init__(self, record: Callable[[Step[Any]], Awaitable[Any]]) -> None:
        self._record = record

    async def to_look_for(self, base_url: str | None, now: float) -> dict[str, float]:
        """Return known submits that no look-up has found yet: client request ids and Unix seconds.

        Args:
            base_url: Where they went.
            now: Unix seconds.
        """
        found: dict[str, float] = await self._record(lambda db: to_look_for(db, base_url, now))
        return found

    async def neighbours(
        self, base_url: str | None, at: float
    ) -> tuple[tuple[str, float] | None, tuple[str, float] | None]:
        """Return the known submits that left last before Unix seconds `at`, and first after it.

        Each is its client request id and when it left; None if there is none.
        """
        return await self._record(lambda db: neighbours(db, base_url, at))  # type: ignore[no-any-return]

    async def note(self, listed: Mapping[str, float], absent: Mapping[str, float]) -> None:
        """Keep what a look-up showed: seconds after each submit, by client request id.

        Args:
            listed: Of those it found.
            absent: Of those it did not find, though it read the whole log.
        """
        await self._record(lambda db: note(db, listed, absent))

    async def log(self, base_url: str | None, now: float) -> Log:
        """Return all that is known of a server's log at Unix seconds `now`."""
        seen: Log = await self._record(lambda db: log(db, base_url, now))
        return seen

    async def repeated(self, base_url: str | None, now: float) -> dict[str, float]:
        """Return submits that were repeated on evidence and have not turned up: ids and times."""
        found: dict[str, float] = await self._record(lambda db: repeated(db, base_url, now))
        return found

    async def repeat(self, task_id: str, evidence: str, *, at: float) -> Record:
        """Decide, on record, to submit a task in doubt a second time; return it as it is now."""

        def step(db: sqlite3.Connection) -> Record:
            if was_repeated(db, task_id):
                raise LedgerError(f"task {task_id} was submitted again before")
            db.execute(
                "UPDATE submits SET evidence = ? WHERE client_request_id ="
                " (SELECT client_request_id FROM tasks WHERE task_id = ?)",
                (evidence, task_id),
            )
            between.resubmit(db, task_id, at)
            return moves.record(db, task_id)

        record: Record = await self._record(step)
        return record

    async def was_repeated(self, task_id: str) -> bool:
        """Tell whether a task was submitted again before, for any reason."""
        return bool(await self._record(lambda db: was_repeated(db, task_id)))

    async def turned_up(self, client_request_id: str, generation_id: str, seconds: float) -> Record:
        """Note that a submit that was repeated had been taken; return its task, which has both ids.

        Args:
            client_request_id: The submit.
            generation_id: What it was given.
            seconds: Seconds after it left.
        """

        def step(db: sqlite3.Connection) -> Record:
            db.execute(
                "UPDATE submits SET generation_id = ?, listed_after = ?"
                " WHERE client_request_id = ?",
                (generation_id, seconds, client_request_id),
            )
            (task_id,) = db.execute(
                "UPDATE tasks SET duplicate_id = coalesce(duplicate_id || ' ', '') || ?"
                " WHERE task_id = (SELECT task_id FROM submits WHERE client_request_id = ?)"
                " RETURNING task_id",
                (generation_id, client_request_id),
            ).fetchone()
            return moves.record(db, task_id)

        record: Record = await self._record(step)
        return record


def adopt(
    db: sqlite3.Connection, task_id: str, generation_id: str, at: float, seconds: float
) -> bool:
    """Keep the id that a look-up found, so many seconds after the submit, at Unix seconds `at`.

    Returns:
        False where another task has this id: then nothing was changed.
    """
    if not moves.take_id(db, task_id, generation_id, at, detail=FOUND_IN_LOG):
        return False
    db.execute(
        "UPDATE submits SET listed_after = ? WHERE client_request_id ="
        " (SELECT client_request_id FROM tasks WHERE task_id = ?)",
        (seconds, task_id),
    )
    return True


def to_look_for(db: sqlite3.Connection, base_url: str | None, now: float) -> dict[str, float]:
    """Return the known submits that no look-up has found yet, the latest of them."""
    return dict(
        db.execute(
            "SELECT submits.client_request_id, intended_at FROM submits JOIN tasks USING (task_id)"
            f" WHERE {_TAKEN} AND listed_after IS NULL AND base_url IS ?"
            " AND intended_at BETWEEN ? AND ? ORDER BY intended_at DESC LIMIT ?",
            (base_url, now - LOOKED_FOR, now - YOUNGEST, TO_LOOK_FOR),
        ).fetchall()
    )


def neighbours(
    db: sqlite3.Connection, base_url: str | None, at: float
) -> tuple[tuple[str, float] | None, tuple[str, float] | None]:
    """Return the known submits that left last before a time, and first after it."""
    before, after = (
        db.execute(
            "SELECT submits.client_request_id, intended_at FROM submits JOIN tasks USING (task_id)"
            f" WHERE {_TAKEN} AND base_url IS ? AND intended_at {side} LIMIT 1",
            (base_url, at),
        ).fetchone()
        for side in ("< ? ORDER BY intended_at DESC", "> ? ORDER BY intended_at")
    )
    return before, after


def note(db: sqlite3.Connection, listed: Mapping[str, float], absent: Mapping[str, float]) -> None:
    """Keep what a look-up showed."""
    db.executemany(
        "UPDATE submits SET listed_after = coalesce(listed_after, ?) WHERE client_request_id = ?",
        [(seconds, sent) for sent, seconds in listed.items()],
    )
    db.executemany(
        "UPDATE submits SET absent_after = ? WHERE client_request_id = ?",
        [(seconds, sent) for sent, seconds in absent.items()],
    )


def log(db: sqlite3.Connection, base_url: str | None, now: float) -> Log:
    """Return all that is known of a server's log."""
    looked_for = db.execute(
        "SELECT listed_after, absent_after, coalesce(detail = ?, 0) FROM submits"
        f" JOIN tasks USING (task_id) WHERE {_TAKEN} AND base_url IS ? AND intended_at > ?"
        " AND (listed_after IS NOT NULL OR absent_after IS NOT NULL)",
        (FOUND_IN_LOG, base_url, now - DAYS),
    )
    known = [Known(listed, absent, adopted=bool(found)) for listed, absent, found in looked_for]
    (to_come,) = db.execute(
        f"SELECT count(*) FROM submits JOIN tasks USING (task_id) WHERE {_TAKEN} AND base_url IS ?"
        " AND intended_at BETWEEN ? AND ? AND listed_after IS NULL AND absent_after IS NULL",
        (base_url, now - LOOKED_FOR, now),
    ).fetchone()
    known += [Known()] * min(to_come, TO_LOOK_FOR)
    repeats, turned_up = db.execute(
        "SELECT count(*), count(generation_id) FROM submits"
        " WHERE evidence IS NOT NULL AND intended_at > ?",
        (now - DAYS,),
    ).fetchone()
    return Log(known, repeats=repeats, turned_up=turned_up > 0)


def repeated(db: sqlite3.Connection, base_url: str | None, now: float) -> dict[str, float]:
    """Return submits that were repeated on evidence in the last day and have not turned up."""
    return dict(
        db.execute(
            "SELECT submits.client_request_id, intended_at FROM submits JOIN tasks USING (task_id)"
            " WHERE evidence IS NOT NULL AND submits.generation_id IS NULL AND base_url IS ?"
            " AND intended_at > ?",
            (base_url, now - LOOKED_FOR),
        ).fetchall()
    )


def was_repeated(db: sqlite3.Connection, task_id: str) -> bool:
    """Tell whether a task was submitted again before, for any reason."""
    sql = "SELECT 1 FROM submits WHERE task_id = ? AND outcome = 'resubmitted'"
    return db.execute(sql, (task_id,)).fetchone() is not None


def evidence_of_repeats(db: sqlite3.Connection) -> list[tuple[str, str, str | None]]:
    """Return the tasks that were submitted again on evidence, first ones first.

    Each with that evidence, and the generation of the first submit if it turned up after all.
    """
    return db.execute(
        "SELECT task_id, evidence, generation_id FROM submits WHERE evidence IS NOT NULL"
        " ORDER BY settled_at"
    ).fetchall()
