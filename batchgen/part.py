"""The part file of a video: bytes in their order, hashed on the way, durable at the end.

Knows nothing of the network. What comes is kept in pieces, as it came, until it is a block; a
thread then writes and hashes the block in one go, and the loop is free for other videos.
"""

import errno
import hashlib
import io
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Self

import aiofiles
import anyio
import anyio.to_thread

from batchgen import mp4
from batchgen.disk import Disk
from batchgen.rundir import opened_folder

if TYPE_CHECKING:
    from _typeshed import HasFileno

BLOCK_BYTES: Final = 4 << 20
"""Most clips are one block: at each crossing into a thread somebody waits for the interpreter."""
SHORT_BYTES: Final = 256 * 1024
"""What is shorter costs less to write and hash than to have a thread of its own for it."""
MOST_PIECES: Final = os.sysconf("SC_IOV_MAX")
"""More of them are not written in one call."""
NO_DESCRIPTORS: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""What keeps this machine from opening anything: no file's fault, and no host's."""


@dataclass(slots=True)
class Part:
    """A file that is being fetched: what of it is here, and which version of it that is.

    Attributes:
        path: Where it lies.
        received: Bytes written so far.
        digest: The hash of these bytes.
        version: The server's word for the version they belong to (a strong ETag), if it gave one.
        total: Bytes the whole has, if known.
        ended_at: Where the last try ended that broke off before the announced end.
        durable: Whether it is all here and survives a crash: nothing is left to be fetched.
    """

    path: Path
    received: int = 0
    digest: Any = field(default_factory=hashlib.sha256)
    version: str | None = None
    total: int | None = None
    durable: bool = False
    ended_at: int = 0

    def restart(self) -> None:
        """Forget what was received: it belongs to no known version."""
        self.received, self.digest, self.version, self.total = 0, hashlib.sha256(), None, None
        self.durable = False

    def took(self, pieces: Sequence[bytes]) -> None:
        """Count bytes that have been written behind the others."""
        for piece in pieces:
            self.digest.update(piece)
            self.received += len(piece)


class Incoming:
    """What comes for a part: kept until it is a block, or all of it.

    Used as a context manager, which closes the file. What waits and is not flushed is dropped.

    Args:
        part: What it is for.
        disk: Where short files are written.
        block_bytes: So many are written in one go.
    """

    def __init__(self, part: Part, disk: Disk, block_bytes: int) -> None:
        self._part = part
        self._disk = disk
        self._block_bytes = block_bytes
        self._waiting: list[bytes] = []
        self._bytes_waiting = 0
        self._held = AsyncExitStack()
        self._file: Any = None

    @property
    def size(self) -> int:
        """Return how many bytes have come, with those that wait."""
        return self._part.received + self._bytes_waiting

    async def take(self, piece: bytes) -> None:
        """Take the next bytes.

        Raises:
            OSError: They cannot be written; the part stays as far as it was written.
        """
        self._waiting.append(piece)
        self._bytes_waiting += len(piece)
        if self._bytes_waiting >= self._block_bytes or len(self._waiting) == MOST_PIECES:
            await self.flush()

    async def flush(self) -> None:
        """Write all that waits; the part knows of it only once it is written.

        Raises:
            OSError: It cannot be written; the part stays as far as it was written.
        """
        file = await self._opened_file()
        # Cancelled, it waits for its thread: closed meanwhile, the descriptor may be another's.
        await anyio.to_thread.run_sync(_append, self._part, file, self._take_waiting())

    async def seal(self) -> mp4.VideoInfo:
        """Write the rest, make all of it durable, and check that it is a whole video.

        Raises:
            NotAVideo: It is something else, or cut.
            OSError: It cannot be written or read.
        """
        if self._file is None and not self._part.received:
            # Nothing is here yet: all of it takes one crossing.
            short = self._bytes_waiting < SHORT_BYTES
            work = partial(_store, self._part, self._take_waiting(), short=short)
            return await (self._disk.do(work) if short else anyio.to_thread.run_sync(work))
        file = await self._opened_file()
        return await anyio.to_thread.run_sync(_seal, self._part, file, self._take_waiting())

    async def _opened_file(self) -> Any:
        if self._file is None:
            self._file = await self._held.enter_async_context(_opened(self._part))
        return self._file

    def _take_waiting(self) -> list[bytes]:
        pieces, self._waiting, self._bytes_waiting = self._waiting, [], 0
        return pieces

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._held.aclose()


@asynccontextmanager
async def _opened(part: Part) -> AsyncIterator[Any]:
    """Open a part behind what it holds and close it, whenever the cancellation comes."""
    mode: Literal["r+b", "w+b"] = "r+b" if part.received else "w+b"
    with anyio.CancelScope(shield=True):
        try:
            # Unbuffered: what `received` counts has been written, and fsync reaches all of it.
            file = await aiofiles.open(part.path, mode, buffering=0, opener=_open_no_link)
        except OSError as error:
            _judge(error, part)
            raise
    try:
        if os.fstat(file.fileno()).st_size < part.received:
            part.restart()
            raise OSError(errno.EIO, "bytes that were written are no longer there")
        if part.received:
            await file.truncate(part.received)
        yield file
    finally:
        with anyio.CancelScope(shield=True):
            await file.close()


def _store(part: Part, pieces: Sequence[bytes], *, short: bool) -> mp4.VideoInfo:
    """Do all of it in one go, for a video that has come whole. Blocks."""
    try:
        file = io.FileIO(part.path, "w+b", opener=_open_no_link)
    except OSError as error:
        _judge(error, part)
        raise
    with file:
        if not short:
            return _seal(part, file, pieces)
        _append(part, file, pieces)
        _force(part, file)
    # In memory: each call to the system hands the interpreter to another thread.
    return mp4.inspect_bytes(b"".join(pieces))


def _seal(part: Part, file: "HasFileno", pieces: Sequence[bytes]) -> mp4.VideoInfo:
    """Write the last of a part, make all of it durable, and look at it. Blocks."""
    _append(part, file, pieces)
    _force(part, file)
    return mp4.inspect_open(file.fileno())


def _append(part: Part, file: "HasFileno", pieces: Sequence[bytes]) -> None:
    """Write pieces behind what is here, and count them once they are. Blocks."""
    size, written = sum(map(len, pieces)), 0
    while written < size:
        # A disk that takes less than it was given is asked again: it takes more, or says why.
        rest = [memoryview(b"".join(pieces))[written:]] if written else pieces
        # Its number is asked for here: a file that was closed has none, and another's is not hit.
        written += os.pwritev(file.fileno(), rest, part.received + written)
    part.took(pieces)


def _force(part: Part, file: "HasFileno") -> None:
    try:
        os.fsync(file.fileno())
    except OSError:
        # After a failed fsync nobody knows which bytes are on disk.
        part.restart()
        raise
    part.durable = True


def _judge(error: OSError, part: Part) -> None:
    """See what a part that cannot be opened is worth."""
    if error.errno not in NO_DESCRIPTORS:
        # Gone, or another file: the next try makes it anew.
        part.restart()


def _open_no_link(path: str, flags: int) -> int:
    """Open a part, never through a symbolic link: that may lead out of the run directory."""
    part = Path(path)
    with opened_folder(part.parent) as folder:
        if flags & os.O_CREAT:
            with suppress(FileNotFoundError):
                os.unlink(part.name, dir_fd=folder)
        return os.open(part.name, flags | os.O_NOFOLLOW, 0o666, dir_fd=folder)
