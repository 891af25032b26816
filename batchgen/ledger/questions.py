"""What is asked of a ledger, by the run that holds it and by commands that only read it."""

import sqlite3
from dataclasses import dataclass

from batchgen.ledger.tables import SELECT, Record


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


def last_entry(db: sqlite3.Connection) -> float:
    """Return Unix seconds of the latest submit, or of what came of one; 0 without any."""
    sql = "SELECT max(max(intended_at), max(coalesce(settled_at, 0))) FROM submits"
    return float(db.execute(sql).fetchone()[0] or 0.0)


def committed(db: sqlite3.Connection) -> tuple[float, int]:
    """Return what is spent or reserved, in US dollars, and how many submits that is.

    A submit counts while the provider has it, had it or may have it, and one in doubt that was
    given up counts too; a refused one and a failed generation cost nothing.
    """
    total, count = db.execute(
        "SELECT coalesce(sum(CASE WHEN submits.outcome IN ('resubmitted', 'abandoned')"
        " THEN submits.reserved_usd"
        " ELSE coalesce(tasks.cost_usd, submits.reserved_usd) END), 0), count(*)"
        " FROM submits JOIN tasks USING (task_id)"
        " WHERE submits.outcome IN ('resubmitted', 'abandoned')"
        " OR (submits.client_request_id = tasks.client_request_id"
        " AND tasks.status NOT IN ('pending', 'cancelled')"
        " AND NOT (tasks.status = 'failed' AND tasks.cause IN ('submit', 'generation')))"
    ).fetchone()
    return float(total), int(count)


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
