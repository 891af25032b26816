"""Counts the durable steps of a run from outside, and does harm at the chosen one.

Production code has no failpoints: in the process of one run the primitives by which anything
becomes durable are replaced by ones that count. Nothing else of the run is touched.
"""

import errno
import io
import os
import signal
import sqlite3
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

import aiofiles.threadpool

from batchgen import departure, mp4
from batchgen.outcomes import FetchOutcome, LookUp, SubmitOutcome, Trouble
from batchgen.providers.base import Pace, Provider, at_once

Harm = Literal["none", "kill", "ENOSPC", "EIO", "EMFILE", "short"]
READ: Final = "read"
FALLIBLE: Final = (
    "commit",
    "open",
    READ,
    "write",
    "fsync",
    "replace",
    "truncate",
    "pwrite",
    "unlink",
)
"""Kinds of points at which a disk can say no; the others are moments at which a run can die."""
WRITES: Final = ("write", "pwrite")


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to happen at which point.

    Attributes:
        harm: What. Errors and short writes befall only what can fail so.
        at: The number of the point, from 1, of those that count.
        lasting: At how many such points in a row the error is met again; a kill needs one.
        only: Beginnings of the names of the points that count; all where empty.
    """

    harm: Harm = "none"
    at: int = 0
    lasting: int = 1
    only: tuple[str, ...] = ()

    def counts(self, name: str) -> bool:
        """Tell whether a point is one of those that are counted."""
        if self.only and not name.startswith(self.only):
            return False
        match self.harm:
            case "none" | "kill":
                # To be killed in reading is to be killed before the next step.
                return not name.startswith(READ)
            case "short":
                return name.split(maxsplit=1)[0] in WRITES
            case _:
                return name.split(maxsplit=1)[0] in FALLIBLE


UNHARMED: Final = Plan()


class Points:
    """The points that a run has reached.

    Args:
        plan: What is to happen.
        last_words: Is told the name of the point at which the process dies, just before.
    """

    def __init__(self, plan: Plan, last_words: Callable[[str], None]) -> None:
        self.names: list[str] = []
        self.harmed: list[str] = []
        self._plan = plan
        self._last_words = last_words
        self._lock = threading.Lock()

    def reach(self, name: str, *, torn: Callable[[], object] | None = None) -> bool:
        """Count a point, and do what the plan has for it.

        Args:
            name: Its kind, and more.
            torn: Does half of the step: a kill in its midst.

        Returns:
            Whether the step is to be cut short.

        Raises:
            OSError: The step fails.
        """
        plan = self._plan
        with self._lock:
            if not plan.counts(name):
                return False
            self.names.append(name)
            if not plan.at <= len(self.names) < plan.at + plan.lasting:
                return False
            self.harmed.append(name)
            match plan.harm:
                case "kill":
                    if torn is not None:
                        torn()
                    self._last_words(name)
                    os.kill(os.getpid(), signal.SIGKILL)
                case "ENOSPC" | "EIO" | "EMFILE":
                    number = getattr(errno, plan.harm)
                    raise OSError(number, os.strerror(number))
                case _:
                    pass
        return plan.harm == "short"


class PointedProvider:
    """A provider whose submits pass points: before the POST, and with its answer in hand."""

    def __init__(self, inner: Provider, points: Points) -> None:
        self._inner = inner
        self._points = points

    @property
    def base_url(self) -> str:
        """Return the provider's own."""
        return self._inner.base_url

    @property
    def clock_offset(self) -> float | None:
        """Return the provider's own."""
        return self._inner.clock_offset

    async def submit(self, body: bytes, client_request_id: str) -> SubmitOutcome:
        """Submit, with a point before and one behind."""
        self._points.reach("post")
        outcome = await self._inner.submit(body, client_request_id)
        self._points.reach("answered")
        return outcome

    async def fetch(self, generation_id: str, model: str | None = None) -> FetchOutcome:
        """Ask the provider."""
        return await self._inner.fetch(generation_id, model)

    async def find(
        self, client_request_ids: Collection[str] | None, since: float, pace: Pace = at_once
    ) -> LookUp:
        """Ask the provider, with the answer as a point: it may hold ids that are lost else."""
        found = await self._inner.find(client_request_ids, since, pace)
        self._points.reach("listed" if client_request_ids is None else "found")
        return found

    async def price(self) -> float | Trouble | None:
        """Ask the provider."""
        return await self._inner.price()


def install(points: Points) -> None:
    """Replace the primitives of this process, for good: it is to die soon."""
    _install_files(points)
    connect = partial(sqlite3.connect, factory=_connection(points))
    vars(sqlite3).update(connect=connect)
    mark = departure._mark

    async def marked(session: Any, context: Any, params: Any) -> None:
        await mark(session, context, params)
        if params.method == "POST":
            points.reach("sent")

    vars(departure).update(_mark=marked)


def _install_files(points: Points) -> None:
    fsync, pwrite, replace, unlink = os.fsync, os.pwrite, os.replace, os.unlink
    sync_open, io_open = vars(aiofiles.threadpool)["sync_open"], io.open

    def pointed_fsync(descriptor: Any) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        points.reach(f"fsync {path.name if path.is_dir() else path.parent.name}")
        fsync(descriptor)

    def pointed_pwrite(descriptor: int, data: Any, offset: int) -> int:
        half = memoryview(data)[: len(data) // 2]
        short = points.reach("pwrite", torn=lambda: pwrite(descriptor, half, offset))
        return pwrite(descriptor, half if short else data, offset)

    def pointed_pwritev(descriptor: int, pieces: Any, offset: int) -> int:
        data = b"".join(pieces)
        half = data[: max(1, len(data) // 2)]
        short = points.reach("write", torn=lambda: pwrite(descriptor, half, offset))
        return pwrite(descriptor, half if short else data, offset)

    def pointed_replace(source: Any, target: Any, *, dst_dir_fd: int | None = None) -> None:
        opened = Path(f"/proc/self/fd/{dst_dir_fd}")
        folder = (Path(target).parent if dst_dir_fd is None else opened.readlink()).name
        points.reach(f"replace {folder}")
        replace(source, target, dst_dir_fd=dst_dir_fd)
        points.reach(f"replaced {folder}")

    def pointed_unlink(path: Any, **others: Any) -> None:
        if Path(path).exists():
            points.reach("unlink")
        unlink(path, **others)

    def pointed_io_open(file: Any, mode: str = "r", *others: Any, **more: Any) -> Any:
        if mode == "rb":
            path = Path(f"/proc/self/fd/{file}").readlink() if isinstance(file, int) else Path(file)
            points.reach(f"{READ} {path.parent.name}")
        return io_open(file, mode, *others, **more)

    pointed_file = _file(points)

    def pointed_open(file: Any, *, mode: str, buffering: int, opener: Any, **others: Any) -> Any:
        if buffering != 0:
            return sync_open(file, mode=mode, buffering=buffering, opener=opener, **others)
        return pointed_file(file, mode, opener=opener)

    vars(os).update(
        fsync=pointed_fsync,
        pwrite=pointed_pwrite,
        pwritev=pointed_pwritev,
        replace=pointed_replace,
        unlink=pointed_unlink,
    )
    vars(aiofiles.threadpool).update(sync_open=pointed_open)
    # What pathlib opens, what is looked into once it is written, and what is written whole.
    vars(io).update(open=pointed_io_open, FileIO=pointed_file)
    vars(mp4).update(open=pointed_io_open)


def _file(points: Points) -> type[io.FileIO]:
    """Make the class of a file whose opening and whose truncation are points."""

    class PointedFile(io.FileIO):
        def __init__(self, file: Any, mode: str, *, opener: Any) -> None:
            points.reach("open")
            super().__init__(file, mode, opener=opener)

        def truncate(self, size: int | None = None) -> int:
            points.reach("truncate")
            return super().truncate(size)

    return PointedFile


def _connection(points: Points) -> type[sqlite3.Connection]:
    """Make the class of a connection whose commits are points, before them and behind them."""

    class PointedConnection(sqlite3.Connection):
        changes = 0
        before: dict[str, str]

        def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
            if sql.startswith("BEGIN"):
                self.changes = self.total_changes
                self.before = self.statuses()
            # What only reads makes nothing durable.
            if sql != "COMMIT" or self.total_changes == self.changes:
                return super().execute(sql, *parameters)
            moved = self.statuses().items() - self.before.items()
            what = "+".join(sorted({status for _, status in moved})) or "more"
            self.point(f"commit {what}")
            cursor = super().execute(sql)
            points.reach(f"made {what}")
            return cursor

        def executescript(self, sql: str) -> sqlite3.Cursor:
            self.point("commit schema")
            cursor = super().executescript(sql)
            points.reach("made schema")
            return cursor

        def point(self, name: str) -> None:
            try:
                points.reach(name)
            except OSError as error:
                raise _as_sqlite_says(error) from None

        def statuses(self) -> dict[str, str]:
            """Return what each task's row says now, in one word."""
            try:
                rows = super().execute(
                    "SELECT task_id, status || CASE WHEN status = 'completed' AND sha256 <> ''"
                    " THEN '-verified' ELSE '' END FROM tasks"
                )
                return dict(rows)
            except sqlite3.OperationalError:
                return {}  # no tables yet

    return PointedConnection


def _as_sqlite_says(error: OSError) -> sqlite3.OperationalError:
    """Return what a commit raises where a write of it fails so."""
    full = error.errno == errno.ENOSPC
    said = sqlite3.OperationalError("database or disk is full" if full else "disk I/O error")
    said.sqlite_errorcode = sqlite3.SQLITE_FULL if full else sqlite3.SQLITE_IOERR_WRITE
    said.sqlite_errorname = "SQLITE_FULL" if full else "SQLITE_IOERR_WRITE"
    return said
