"""One thread that owns the database: steps come in, are committed in groups, and are answered.

A commit costs an fsync, so steps that wait together share one. Knows nothing of tasks.
"""

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from batchgen.errors import LedgerError
from batchgen.ledger.tables import connect

GROUP: Final = 512
"""Steps that share one commit, at most."""

T = TypeVar("T")
Step = Callable[[sqlite3.Connection], T]


class Writer:
    """The thread and its inbox.

    Attributes:
        is_new: Whether the database was made by this one.
    """

    def __init__(self, path: Path, *, may_begin: bool) -> None:
        """Open the database in a thread of its own.

        Args:
            path: The database.
            may_begin: Whether it may be made where there is none.

        Raises:
            RunDirectoryError: It is damaged, foreign or newer.
        """
        self._inbox: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        self._closing = threading.Lock()
        self._closed = False
        ready: Future[bool] = Future()
        self._thread = threading.Thread(
            target=self._serve, args=(path, may_begin, ready), name="batchgen-ledger", daemon=True
        )
        self._thread.start()
        self.is_new = ready.result()

    def close(self) -> None:
        """Finish the steps that wait and close the file."""
        with self._closing:
            self._closed = True
            self._inbox.put(None)
        self._thread.join()

    def _put(self, request: "_Request") -> None:
        """Hand a step to the thread, which answers all it is handed before it ends."""
        with self._closing:
            if self._closed:
                raise LedgerError("the ledger is closed")
            self._inbox.put(request)

    async def record(self, step: Step[T]) -> T:
        """Do a step and wait until it is durable.

        Cancelling the wait does not undo the step.

        Raises:
            LedgerError: It could not be made durable, or is not allowed; it did not happen.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        self._put(_Request(step, loop, answer))
        return await answer

    def ask(self, step: Step[T]) -> T:
        """Do a step and block until it is durable.

        Raises:
            LedgerError: It could not be made durable, or is not allowed; it did not happen.
        """
        answer: Future[T] = Future()
        self._put(_Request(step, None, answer))
        return answer.result()

    def _serve(self, path: Path, may_begin: bool, ready: Future[bool]) -> None:  # noqa: FBT001
        try:
            connection, is_new = connect(path, may_begin=may_begin)
        except BaseException as error:  # noqa: BLE001  # handed to whoever opens the ledger
            ready.set_exception(error)
            return
        ready.set_result(is_new)
        running = True
        while running:
            requests = [self._inbox.get()]
            while len(requests) < GROUP and not self._inbox.empty():
                requests.append(self._inbox.get())
            running = None not in requests
            steps = [request for request in requests if request is not None]
            _settle(_commit(connection, [step for step in steps if step.loop is not None]))
            # Each by itself: it may read from an iterator, so it cannot be done a second time.
            for step in steps:
                if step.loop is None:
                    _settle(_commit(connection, [step]))
        connection.close()


@dataclass(slots=True)
class _Request:
    """A step that waits for its commit, and who waits for it: a loop's future or a thread's."""

    step: Step[Any]
    loop: asyncio.AbstractEventLoop | None
    answer: Any


_Answers = list[tuple["_Request", Any, BaseException | None]]


def _commit(db: sqlite3.Connection, requests: Sequence[_Request]) -> _Answers:
    """Do steps in one transaction; where that fails each by itself, so that one harms no other."""
    if not requests:
        return []
    try:
        db.execute("BEGIN IMMEDIATE")
        results = [request.step(db) for request in requests]
        db.execute("COMMIT")
    except Exception as error:  # noqa: BLE001  # a step may raise anything; who asked gets it
        if db.in_transaction:
            # Where even that fails the next BEGIN says so.
            with suppress(sqlite3.Error):
                db.execute("ROLLBACK")
        if len(requests) > 1:
            return [answer for request in requests for answer in _commit(db, [request])]
        if isinstance(error, UnicodeDecodeError):
            # Text that SQLite keeps is UTF-8: a flipped bit made it something else.
            error = sqlite3.DatabaseError(f"it is damaged: {error}")
        if isinstance(error, sqlite3.Error):
            told = LedgerError(f"the ledger could not be written: {error}")
            told.__cause__ = error
            told.full = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
            return [(requests[0], None, told)]
        return [(requests[0], None, error)]
    return [(request, result, None) for request, result in zip(requests, results, strict=True)]


def _settle(answers: _Answers) -> None:
    """Hand the answers out, with one wake-up for each loop."""
    by_loop: dict[asyncio.AbstractEventLoop, _Answers] = {}
    for answer in answers:
        request, result, error = answer
        if request.loop is not None:
            by_loop.setdefault(request.loop, []).append(answer)
        elif error is not None:
            request.answer.set_exception(error)
        else:
            request.answer.set_result(result)
    for loop, its in by_loop.items():
        try:
            loop.call_soon_threadsafe(_settle_in_loop, its)
        except RuntimeError:
            # The loop is closed: nobody waits any more, and the steps are durable all the same.
            continue


def _settle_in_loop(answers: _Answers) -> None:
    for request, result, error in answers:
        if request.answer.cancelled():
            continue
        if error is not None:
            request.answer.set_exception(error)
        else:
            request.answer.set_result(result)
