"""A ledger read as it lies there: nothing in its run directory is made, changed or mended by it."""

import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from batchgen.errors import RunDirectoryError
from batchgen.ledger import questions
from batchgen.ledger.catch_up import KnownSubmit, unknown
from batchgen.ledger.migrations import migrate
from batchgen.ledger.rescue import rescued
from batchgen.ledger.tables import SCHEMA_VERSION, check, file_name, refusal, version_of
from batchgen.rundir import RunDirectory
from batchgen.spending import Spent
from batchgen.task import Cause, Status


@dataclass(frozen=True, slots=True)
class Standing:
    """What a ledger knows of a task, as far as the next run asks for it.

    Attributes:
        task_id: Its id, or that of the task which has taken its place.
        status: Where it stands.
        paid: Whether it has a generation id, or one was rescued for it.
        there: Whether its video lies in its place.
        cause: The phase it failed in, if it did.
        code: Why it failed, if it did.
        message: The same in words.
    """

    task_id: str
    status: Status
    paid: bool
    there: bool
    cause: Cause | None
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Past:
    """What finished generations of a run directory tell about those to come.

    Attributes:
        count: How many there are.
        seconds: The median of how long one took, queue included.
        polls: How often one was asked about on average.
    """

    count: int
    seconds: float
    polls: float


class Snapshot:
    """A ledger that is only read. Made by `read_ledger`, which keeps runs out meanwhile."""

    def __init__(self, db: sqlite3.Connection, directory: RunDirectory) -> None:
        self._db = db
        self._directory = directory
        self._rescued = {task_id for task_id, _ in rescued(directory.rescued_ids)}

    def provider(self) -> str | None:
        """Return whose tasks it holds; None where no run has come so far."""
        row = self._db.execute("SELECT value FROM about WHERE key = 'provider'").fetchone()
        return str(row[0]) if row else None

    def standings(self, task_ids: Sequence[str]) -> dict[str, Standing]:
        """Return how those of these tasks stand that are known, by the id that was asked for.

        A task that was replaced stands as the one in its place.
        """
        found: dict[str, Standing] = {}
        wanted = {task_id: task_id for task_id in task_ids}
        while wanted:
            marks = ", ".join("?" * len(wanted))
            rows = self._db.execute(
                "SELECT task_id, replaced_by, status, generation_id, stem, cause, error_code,"
                f" error_message FROM tasks WHERE task_id IN ({marks})",
                tuple(wanted),
            )
            later: dict[str, str] = {}
            for task_id, replaced_by, status, generation_id, stem, cause, code, message in rows:
                if replaced_by is not None:
                    later[replaced_by] = wanted[task_id]
                    continue
                found[wanted[task_id]] = Standing(
                    task_id=task_id,
                    status=Status(status),
                    paid=generation_id is not None or task_id in self._rescued,
                    there=status == Status.SUCCEEDED
                    and (self._directory.path / file_name(stem)).exists(),
                    cause=None if cause is None else Cause(cause),
                    code=code or "",
                    message=message or "",
                )
            wanted = later
        return found

    def unknown(self, submits: Iterable[KnownSubmit]) -> list[KnownSubmit]:
        """Return the submits that the ledger knows nothing of, or not what became of them."""
        return list(unknown(self._db, submits))

    def replacements(self) -> frozenset[str]:
        """Return the ids of the tasks that were put in the place of a failed one."""
        rows = self._db.execute("SELECT replaced_by FROM tasks WHERE replaced_by IS NOT NULL")
        return frozenset(task_id for (task_id,) in rows)

    def counts(self) -> Mapping[Status, int]:
        """Count all tasks by status, also those no job has now, but none that was replaced."""
        rows = self._db.execute(
            "SELECT status, count(*) FROM tasks WHERE replaced_by IS NULL GROUP BY status"
        )
        return Counter({Status(status): count for status, count in rows})

    def spent(self, model: str) -> Spent:
        """Return what is spent or reserved, and what a video of this model was billed at most."""
        return questions.spent(self._db, model)

    def past(self) -> Past | None:
        """Return what earlier generations tell; None where none was finished."""
        took = "coalesce(queue_s, 0) + generate_s"
        count, polls = self._db.execute(
            "SELECT count(*), avg(polls) FROM tasks WHERE generate_s IS NOT NULL"
        ).fetchone()
        if not count:
            return None
        median = self._db.execute(
            f"SELECT {took} FROM tasks WHERE generate_s IS NOT NULL ORDER BY 1 LIMIT 1 OFFSET ?",
            ((count - 1) // 2,),
        ).fetchone()[0]
        return Past(count, float(median), float(polls))


@contextmanager
def read_ledger(directory: RunDirectory) -> Iterator[Snapshot | None]:
    """Read the ledger of a run directory while no run goes on in it.

    Yields:
        The ledger; None where a run came no further than the file's birth.

    Raises:
        RunDirectoryError: It is damaged, newer than this version, or cannot be read.
        RunLocked: A run is going on.
    """
    with directory.lock():
        try:
            with _opened(directory.ledger) as db:
                yield _sound(db, directory)
        except (sqlite3.DatabaseError, OSError) as error:
            raise refusal(directory.ledger, error) from error


def _sound(db: sqlite3.Connection, directory: RunDirectory) -> Snapshot | None:
    """Take a database for a ledger if it is one; None where nothing was written to it yet."""
    if not db.execute("SELECT 1 FROM sqlite_schema").fetchone():
        if directory.has_results():
            raise refusal(directory.ledger, "it is empty, but the results of a run lie beside it")
        return None
    try:
        check(db)
    except RunDirectoryError as error:
        raise refusal(directory.ledger, error) from error
    migrate(db, SCHEMA_VERSION)
    return Snapshot(db, directory)


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a database without touching it: in its place where nothing is to be done, else a copy.

    A killed run leaves its last steps in the write-ahead log, and an earlier version's tables have
    to be migrated: both are for the next run to do.
    """
    log = path.with_name(f"{path.name}-wal")
    if not log.exists():
        uri = f"{path.resolve().as_uri()}?immutable=1"
        with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as db:
            if version_of(db) not in range(1, SCHEMA_VERSION):
                yield db
                return
    with tempfile.TemporaryDirectory(prefix="batchgen-") as folder:
        copy = Path(folder) / path.name
        shutil.copyfile(path, copy)
        if log.exists():
            shutil.copyfile(log, copy.with_name(log.name))
        with closing(sqlite3.connect(copy, isolation_level=None)) as db:
            yield db
