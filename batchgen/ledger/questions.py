"""What is asked of a ledger, by the run that holds it and by commands that only read it."""

import sqlite3
from dataclasses import dataclass
from typing import Final

from batchgen.ledger.tables import SELECT, Record
from batchgen.spending import Spent


@dataclass(frozen=True, slots=True)
class Ending:
    """Tasks of the job that ended in the same way, and badly.

    Attributes:
        status: `failed` or `timed_out`.
        cause: The phase it ended in.
        code: The error code.
        message: An example of what was said.
        count: How many tasks.
    """

    status: str
    cause: str
    code: str
    message: str
    count: int

    def matches(self, reason: str) -> bool:
        """Tell whether a person who names this reason means these tasks."""
        return reason in (self.status, self.cause, self.code)


def endings(db: sqlite3.Connection) -> list[Ending]:
    """Return how tasks of the job failed or timed out, most first."""
    rows = db.execute(
        "SELECT status, coalesce(cause, ''), coalesce(error_code, ''),"
        " max(coalesce(error_message, '')), count(*) AS n"
        " FROM tasks WHERE NOT gone AND status IN ('failed', 'timed_out')"
        " GROUP BY status, cause, error_code ORDER BY n DESC, error_code"
    )
    return [Ending(*row) for row in rows]


MANIFEST: Final = "the manifest"
PROVIDER_LOG: Final = "the provider's log"
"""Who told a ledger of a submit that it had not made itself, or had forgotten."""
OWN: Final = "coalesce(detail, '') NOT IN ('the manifest', 'the provider''s log')"
"""Holds of the submits that a ledger has timed itself."""


def last_entry(db: sqlite3.Connection) -> float:
    """Return Unix seconds of the latest submit that a ledger knows by itself; 0 without any."""
    sql = f"SELECT max(intended_at) FROM submits WHERE {OWN}"
    return float(db.execute(sql).fetchone()[0] or 0.0)


REMEMBERED_BILLS: Final = 500
"""The latest bills of a model, the highest of which is reserved for the next of its videos."""


def spent(db: sqlite3.Connection, model: str) -> Spent:
    """Return what is spent or reserved.

    A submit counts once its cost is known, whatever became of it later; until then while the
    provider has it, had it or may have it, and one in doubt that was repeated or given up counts
    too. A refused one is free, and so is a generation that failed without a bill.

    Args:
        db: The database.
        model: Whose bills tell what a video costs.
    """
    known, billed = db.execute(
        "SELECT coalesce(sum(cost_usd), 0), count(*) FROM submits WHERE cost_usd NOT NULL"
    ).fetchone()
    decided = "submits.outcome IN ('resubmitted', 'abandoned')"
    reserved = dict(
        db.execute(
            f"SELECT CASE WHEN {decided} THEN submits.client_request_id ELSE task_id END,"
            " submits.reserved_usd FROM submits JOIN tasks USING (task_id)"
            f" WHERE submits.cost_usd IS NULL AND ({decided}"
            " OR (submits.client_request_id = tasks.client_request_id"
            " AND tasks.status NOT IN ('pending', 'cancelled')"
            " AND NOT (tasks.status = 'failed' AND tasks.cause IN ('submit', 'generation'))))"
        ).fetchall()
    )
    highest = db.execute(
        "SELECT max(cost_usd) FROM (SELECT submits.cost_usd FROM submits JOIN tasks USING (task_id)"
        " WHERE NOT submits.cost_is_estimate AND json_extract(tasks.params, '$.model') = ?"
        " ORDER BY submits.intended_at DESC LIMIT ?)",
        (model, REMEMBERED_BILLS),
    ).fetchone()[0]
    return Spent(float(known), reserved, int(billed) + len(reserved), highest)


def latest_done(db: sqlite3.Connection, base_url: str | None) -> tuple[str, str] | None:
    """Return id and model of the generation that was last seen to be done at a server."""
    row = db.execute(
        f"{SELECT} WHERE status = 'succeeded' AND generation_id IS NOT NULL AND base_url IS ?"
        " ORDER BY completed_at DESC LIMIT 1",
        (base_url,),
    ).fetchone()
    if row is None:
        return None
    record = Record(*row)
    return str(record.generation_id), record.model
