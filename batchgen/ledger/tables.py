"""The ledger's file: its tables, a row as a value, and opening it only when it is sound."""

import json
import os
import sqlite3
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Final

from batchgen.errors import RunDirectoryError
from batchgen.ledger.migrations import migrate
from batchgen.ledger.wal import is_damaged
from batchgen.models import Scalar
from batchgen.task import Status, Task

SCHEMA_VERSION: Final = 3
SMALLEST_PAGE: Final = 512
"""Bytes; no SQLite database that holds anything is smaller."""
LONGEST_PATH: Final = 500
"""Bytes; SQLite opens none longer than 512, with what it puts behind the name of its log."""
_LOCK_ERRORS: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_IOERR_LOCK,
        sqlite3.SQLITE_IOERR_RDLOCK,
        sqlite3.SQLITE_IOERR_UNLOCK,
        sqlite3.SQLITE_IOERR_CHECKRESERVEDLOCK,
    }
)

_SCHEMA: Final = f"""
PRAGMA user_version = {SCHEMA_VERSION};
CREATE TABLE about (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO about VALUES ('run_id', lower(hex(randomblob(6))));
CREATE TABLE tasks (
    task_id TEXT PRIMARY KEY,
    gone INTEGER NOT NULL,      -- 1 once the job no longer has it
    idx INTEGER NOT NULL,       -- place in the job's expansion, from 0
    position INTEGER NOT NULL,  -- order of submission
    status TEXT NOT NULL,
    params TEXT NOT NULL,       -- JSON, the request body
    prompt_template TEXT,       -- NULL where it is the prompt itself
    prompt_id TEXT,
    variables TEXT,             -- JSON, NULL where there are none
    repeat INTEGER NOT NULL,
    stem TEXT NOT NULL UNIQUE COLLATE NOCASE,
    attempts INTEGER NOT NULL DEFAULT 0,
    polls INTEGER NOT NULL DEFAULT 0,
    client_request_id TEXT,
    generation_id TEXT,
    video_url TEXT,             -- no query string: it holds a signature
    submitted_at REAL,          -- Unix seconds, as all times here
    completed_at REAL,
    downloaded_at REAL,
    queue_s REAL,
    generate_s REAL,
    download_s REAL,
    bytes INTEGER,
    sha256 TEXT,
    width INTEGER,
    height INTEGER,
    fps REAL,
    duration_s REAL,
    cost_usd REAL,
    cost_is_estimate INTEGER,
    error_code TEXT,
    error_message TEXT,
    cause TEXT,
    replaced_by TEXT,           -- the same with another seed, made in its place
    base_url TEXT,              -- where it was submitted; NULL: the run's own sandbox, or unknown
    duplicate_id TEXT,          -- generation of a submit that was repeated and had been taken
    more_videos TEXT            -- JSON, further videos of the same generation: stem, bytes, sha256
) WITHOUT ROWID;
CREATE INDEX by_status ON tasks (status, gone, position);
CREATE INDEX by_generation ON tasks (generation_id);
CREATE INDEX by_index ON tasks (gone, idx, task_id);
CREATE INDEX by_replacement ON tasks (replaced_by) WHERE replaced_by IS NOT NULL;
CREATE TABLE submits (          -- every intent ever committed, and what came of it
    client_request_id TEXT PRIMARY KEY,
    task_id TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    body_sha256 TEXT NOT NULL,
    reserved_usd REAL,
    intended_at REAL NOT NULL,
    outcome TEXT,               -- accepted, refused, not_sent, ambiguous; what was decided of
                                -- one in doubt: resubmitted, abandoned; NULL: not known yet
    generation_id TEXT,
    detail TEXT,
    settled_at REAL,
    listed_after REAL,          -- seconds after the intent at which a look-up first found it in
                                -- the provider's log; NULL: none has
    absent_after REAL,          -- of the latest look-up that did not find it; NULL: none did not
    evidence TEXT,              -- why it was repeated, where the log decided that it may be
    cost_usd REAL,              -- NULL while it is not known: until then what is reserved counts,
                                -- unless the submit was free
    cost_is_estimate INTEGER
) WITHOUT ROWID;
CREATE INDEX by_task ON submits (task_id);
CREATE INDEX by_time ON submits (intended_at);
"""


@dataclass(frozen=True)
class Record:
    """A task's row, in the order of the table's columns. Without slots: it keeps its `task`."""

    task_id: str
    gone: int
    idx: int
    position: int
    status: str
    params: str
    prompt_template: str | None
    prompt_id: str | None
    variables: str | None
    repeat: int
    stem: str
    attempts: int
    polls: int
    client_request_id: str | None
    generation_id: str | None
    video_url: str | None
    submitted_at: float | None
    completed_at: float | None
    downloaded_at: float | None
    queue_s: float | None
    generate_s: float | None
    download_s: float | None
    bytes: int | None
    sha256: str | None
    width: int | None
    height: int | None
    fps: float | None
    duration_s: float | None
    cost_usd: float | None
    cost_is_estimate: int | None
    error_code: str | None
    error_message: str | None
    cause: str | None
    replaced_by: str | None
    base_url: str | None
    duplicate_id: str | None
    more_videos: str | None

    @property
    def more_files(self) -> list[tuple[str, int, str]]:
        """Return the further videos of its generation.

        Where each lies, relative to the run directory; its bytes; its SHA-256.
        """
        videos = json.loads(self.more_videos or "[]")
        return [(file_name(stem), size, sha256) for stem, size, sha256 in videos]

    @property
    def model(self) -> str:
        """Return the model it is for, which may not be the job's any more."""
        return str(self.task.params["model"])

    @property
    def file_name(self) -> str:
        """Return where the video lies, relative to the run directory."""
        return file_name(self.stem)

    @cached_property
    def task(self) -> Task:
        """The task as it was admitted; its JSON is parsed once."""
        params: dict[str, Scalar] = json.loads(self.params)
        return Task(
            task_id=self.task_id,
            index=self.idx,
            params=params,
            prompt_template=self.prompt_template or str(params["prompt"]),
            prompt_id=self.prompt_id,
            variables=json.loads(self.variables) if self.variables else {},
            repeat=self.repeat,
        )


def file_name(stem: str) -> str:
    """Return where the video of this name lies, relative to the run directory."""
    return f"videos/{stem}.mp4"


def stem_of(file_name: str) -> str | None:
    """Return the name of the video that is stored under a path as `file_name` gives it.

    None for any other path: what stands in a file must not lead out of the folder of videos.
    """
    stem = file_name.removeprefix("videos/").removesuffix(".mp4")
    sound = stem.strip(".") and "/" not in stem and file_name == f"videos/{stem}.mp4"
    return stem if sound else None


COLUMNS: Final = ", ".join(field.name for field in fields(Record))
SELECT: Final = f"SELECT {COLUMNS} FROM tasks"  # our own column names


def connect(path: Path, *, may_begin: bool) -> tuple[sqlite3.Connection, bool]:
    """Open the database, with its tables made where there are none.

    Returns:
        The database, and whether its tables were made now.

    Args:
        path: The database.
        may_begin: Whether there may be none.

    Raises:
        RunDirectoryError: It is damaged, foreign or newer, its path is too long, or the disk is
            full.
    """
    if (length := len(os.fsencode(path.absolute()))) > LONGEST_PATH:
        raise RunDirectoryError(
            f"{path.parent} is too long a path: the ledger's has {length} bytes, and SQLite takes "
            f"{LONGEST_PATH}; choose a shorter one with --output"
        )
    try:
        _refuse_what_sqlite_would_not(path)
        db = sqlite3.connect(path, isolation_level=None)
        try:
            is_new = _prepare(db, may_begin=may_begin)
        except BaseException:
            db.close()
            raise
    except OSError as error:
        raise refusal(path, error.strerror or error) from error
    except (sqlite3.DatabaseError, RunDirectoryError, UnicodeDecodeError) as error:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            raise RunDirectoryError(
                f"cannot write to {path.parent}: the disk is full; make room and run again, "
                "or choose another directory with --output"
            ) from error
        raise refusal(path, error) from error
    return db, is_new


class NewerLedger(RunDirectoryError):
    """The ledger was written by a later version of batchgen."""


def refusal(path: Path, why: object) -> RunDirectoryError:
    """Say that a ledger cannot be used, and what to do."""
    if isinstance(why, NewerLedger):
        return RunDirectoryError(
            f"{path}: {why}. Nothing was changed. Update batchgen and run the same command again; "
            "in another directory everything would be bought a second time"
        )
    if _is_about_locks(why):
        return RunDirectoryError(
            f"cannot lock {path}: {why}. Nothing was changed. Close what else has it open; if "
            "nothing has, its file system has no locks: choose a directory on a local disk with "
            "--output, or have the share mounted with locks"
        )
    return RunDirectoryError(
        f"{path} cannot be used: {why}. Nothing was changed. It alone knows what was paid "
        "for: restore it from a copy, or run with another --output"
    )


def _is_about_locks(why: object) -> bool:
    """Tell whether SQLite could not lock its file; ENOLCK of a network mount it calls busy."""
    code = getattr(why, "sqlite_errorcode", None)
    return code is not None and (code & 0xFF in _LOCK_ERRORS or code in _LOCK_ERRORS)


def _refuse_what_sqlite_would_not(path: Path) -> None:
    """Refuse a stump, which SQLite takes for an empty database, and a log it would cut."""
    if path.exists() and 0 < path.stat().st_size < SMALLEST_PAGE:
        raise sqlite3.DatabaseError("it is cut")
    if is_damaged(path.with_name(f"{path.name}-wal")):
        raise sqlite3.DatabaseError("its write-ahead log is damaged")


def _prepare(db: sqlite3.Connection, *, may_begin: bool) -> bool:
    # EXCLUSIVE first: with it, WAL needs no shared-memory file and keeps others out.
    db.execute("PRAGMA locking_mode = EXCLUSIVE")
    # A kill between the file's birth and its tables leaves an empty database.
    empty = not db.execute("SELECT 1 FROM sqlite_schema").fetchone()
    if empty and not may_begin:
        raise RunDirectoryError("it is empty or gone, but the results of a run lie beside it")
    if not empty:
        # Before the journal's mode, which is written into the file: it may be a foreign one.
        check(db)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    if empty:
        db.executescript(f"BEGIN; {_SCHEMA} COMMIT;")
        # A log that is lost later takes neither the tables with it nor the run directory's id, by
        # which the provider's log knows this ledger's submits.
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    else:
        migrate(db, SCHEMA_VERSION)
    return empty


def version_of(db: sqlite3.Connection) -> int:
    """Return the version of a ledger's tables; 0 where it is not a ledger."""
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def check(db: sqlite3.Connection) -> None:
    """Refuse a database that is not a ledger, a later version's, or damaged.

    An earlier version's passes: `migrate` brings it to today's tables.

    Raises:
        NewerLedger: A later version of batchgen wrote it.
        sqlite3.DatabaseError: It is damaged, or not a ledger.
    """
    version = version_of(db)
    if version > SCHEMA_VERSION:
        raise NewerLedger(
            f"a newer batchgen wrote it (format {version}; this one knows formats up to "
            f"{SCHEMA_VERSION})"
        )
    if version < 1:
        raise sqlite3.DatabaseError("it is not a ledger of batchgen")
    verdict = db.execute("PRAGMA quick_check(1)").fetchone()[0]
    if verdict != "ok":
        raise sqlite3.DatabaseError(verdict)
    # SQLite checks its own structure and no values: what is kept twice must be the same.
    two_ids = db.execute(
        "SELECT tasks.task_id FROM tasks JOIN submits USING (client_request_id)"
        " WHERE submits.outcome = 'accepted' AND tasks.generation_id <> submits.generation_id"
    ).fetchone()
    if two_ids is not None:
        raise sqlite3.DatabaseError(f"task {two_ids[0]} has two different generation ids")
    strange = {status for (status,) in db.execute("SELECT DISTINCT status FROM tasks")} - {*Status}
    if strange:
        raise sqlite3.DatabaseError(f"a task has the status {min(map(str, strange))!r}")
