"""One thread for short work on files: what waits together is done in one go and answered in one.

Were it a thread for each piece of work, they would take the interpreter from the loop, and from
each other, at every system call. Names given together share the fsync that makes them durable.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

import anyio
from anyio.lowlevel import checkpoint_if_cancelled

from batchgen.rundir import opened_folder, sync_names

T = TypeVar("T")


class Disk:
    """The thread and what waits for it. Belongs to one event loop."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="batchgen-disk")
        self._waiting: list[_Work] = []
        self._busy = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Wait for work that is being done."""
        self._thread.shutdown()

    async def do(self, work: Callable[[], T], *, names_in: Path | None = None) -> T:
        """Do a short piece of work; once it waits for the thread, cancelling waits for its end.

        Args:
            work: What blocks.
            names_in: A folder in which it gives names; they are durable when it returns.

        Raises:
            RunDirectoryError: The folder was replaced by a link, which may lead anywhere.
            OSError: The names could not be made durable.
        """
        await checkpoint_if_cancelled()
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        self._waiting.append(_Work(work, names_in, answer))
        if not self._busy:
            self._begin(loop)
        # Whoever is cancelled may remove the file, or give its descriptor to another.
        with anyio.CancelScope(shield=True):
            await answer
        return answer.result()

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        group, self._waiting, self._busy = self._waiting, [], True

        def settle(_: asyncio.Future[None]) -> None:
            self._busy = False
            for work in group:
                work.settle()
            if self._waiting:
                self._begin(loop)

        loop.run_in_executor(self._thread, _do_all, group).add_done_callback(settle)


@dataclass(slots=True)
class _Work:
    """A piece of work, who waits for it, and what came of it."""

    work: Callable[[], Any]
    names_in: Path | None
    answer: asyncio.Future[Any]
    result: Any = None
    error: BaseException | None = None

    def do(self) -> None:
        try:
            self.result = self.work()
        except BaseException as error:  # noqa: BLE001  # whatever it raises is for who asked
            self.error = error

    def settle(self) -> None:
        if self.answer.cancelled():
            return
        if self.error is not None:
            self.answer.set_exception(self.error)
        else:
            self.answer.set_result(self.result)


def _do_all(group: list[_Work]) -> None:
    """Do each piece, then make the names they gave durable, a folder at a time. Blocks."""
    named: dict[Path, list[_Work]] = {}
    for work in group:
        work.do()
        if work.names_in is not None and work.error is None:
            named.setdefault(work.names_in, []).append(work)
    for folder, works in named.items():
        try:
            with opened_folder(folder) as descriptor:
                sync_names(descriptor)
        except BaseException as error:  # noqa: BLE001  # as above
            for work in works:
                work.error = error
