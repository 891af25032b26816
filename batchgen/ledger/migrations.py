"""Brings a ledger that an earlier version wrote to today's tables, a version at a time."""

import sqlite3
from collections.abc import Mapping
from typing import Final


def _types_of(column: str) -> str:
    """Make the statement that notes the types of all values in a column of JSON objects."""
    return f"""
        INSERT INTO about
        SELECT 'types:{column}', json_group_object(name, json(types))
        FROM (
            SELECT name, json_group_array(DISTINCT type) AS types
            FROM (
                SELECT value.key AS name, CASE
                    WHEN value.type IN ('true', 'false') THEN 'boolean'
                    WHEN value.type = 'real' THEN 'number'
                    -- One of more than 64 bits comes out of SQLite as a float.
                    WHEN value.type = 'integer' AND typeof(value.value) = 'integer' THEN 'integer'
                    ELSE 'string' END AS type
                FROM tasks, json_each(tasks.{column}) AS value
            )
            GROUP BY name
        )
        """


STEPS: Final[Mapping[int, tuple[str, ...]]] = {
    1: (
        "ALTER TABLE tasks ADD COLUMN replaced_by TEXT",
        "CREATE INDEX by_replacement ON tasks (replaced_by) WHERE replaced_by IS NOT NULL",
    ),
    2: (
        "ALTER TABLE tasks ADD COLUMN base_url TEXT",
        "ALTER TABLE tasks ADD COLUMN duplicate_id TEXT",
        "ALTER TABLE tasks ADD COLUMN more_videos TEXT",
        "ALTER TABLE submits ADD COLUMN cost_usd REAL",
        "ALTER TABLE submits ADD COLUMN cost_is_estimate INTEGER",
        (
            "UPDATE submits SET (cost_usd, cost_is_estimate) = (SELECT cost_usd, cost_is_estimate"
            " FROM tasks WHERE tasks.client_request_id = submits.client_request_id)"
        ),
        "ALTER TABLE submits ADD COLUMN listed_after REAL",
        "ALTER TABLE submits ADD COLUMN absent_after REAL",
        "ALTER TABLE submits ADD COLUMN evidence TEXT",
        "CREATE INDEX by_time ON submits (intended_at)",
        _types_of("params"),
        _types_of("variables"),
        "DELETE FROM about WHERE key LIKE 'names:%'",
        "INSERT INTO about VALUES ('run_id', lower(hex(randomblob(6))))",
    ),
}
"""For each earlier version, the statements that lead to the next one."""


def migrate(db: sqlite3.Connection, to: int) -> int:
    """Bring a ledger's tables to version `to`, all at once or not at all.

    Returns:
        The version it had.

    Raises:
        sqlite3.Error: It cannot be written, or its tables are not those of its version.
    """
    before: int = db.execute("PRAGMA user_version").fetchone()[0]
    if before < to:
        db.execute("BEGIN IMMEDIATE")
        try:
            for version in range(before, to):
                for statement in STEPS[version]:
                    db.execute(statement)
            db.execute(f"PRAGMA user_version = {to}")
            db.execute("COMMIT")
        except BaseException:
            db.execute("ROLLBACK")
            raise
    return before
