"""The run directory: what lies where in it, who holds it, and how a file in it is replaced."""

import errno
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from batchgen.errors import RunDirectoryError, RunLocked

STATE: Final = ".batchgen"
_NOT_SYNCED: Final = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})
"""What a file system says that cannot sync a directory: SMB shares and some FUSE mounts."""


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """A run's directory and the places in it.

    Attributes:
        path: The directory.
        parts_in_videos: Whether files are fetched beside the videos: no file can be moved from one
            file system to another in one step.
    """

    path: Path
    parts_in_videos: bool = False

    @property
    def videos(self) -> Path:
        """Where finished videos lie."""
        return self.path / "videos"

    @property
    def state(self) -> Path:
        """Hidden, so that a dataset loader sees videos only."""
        return self.path / STATE

    @property
    def parts(self) -> Path:
        """Where files lie that are being fetched."""
        return self.videos / ".parts" if self.parts_in_videos else self.state / "parts"

    @property
    def ledger(self) -> Path:
        """The durable state."""
        return self.state / "ledger.sqlite"

    @property
    def settings(self) -> Path:
        """The job's settings as it last ran."""
        return self.state / "job.json"

    @property
    def status(self) -> Path:
        """Counts for other processes: the ledger itself is open to one only."""
        return self.state / "status.json"

    @property
    def rescued_ids(self) -> Path:
        """Ids that were paid for when the ledger could not be written."""
        return self.state / "rescued-ids"

    @property
    def sandbox_journal(self) -> Path:
        """What the sandbox inside this run has taken."""
        return self.state / "sandbox.jsonl"

    @property
    def manifest(self) -> Path:
        """One row a task, for readers and for a ledger that was lost or is old."""
        return self.path / "manifest.jsonl"

    @property
    def log(self) -> Path:
        """What happened, a line an event."""
        return self.path / "run.log"

    def is_run(self) -> bool:
        """Tell whether a run has been here."""
        return self.ledger.is_file()

    def has_results(self) -> bool:
        """Tell whether a run has left results here."""
        return self.manifest.exists() or any(self.videos.glob("*.mp4"))

    def create(self) -> None:
        """Make the directory and its parts.

        Raises:
            RunDirectoryError: Something is in the way or may not be written.
        """
        try:
            for folder in (self.path, self.state, self.videos, self.parts):
                if folder != self.path and folder.is_symlink():
                    raise RunDirectoryError(
                        f"{folder} is a symbolic link: it leads out of the run directory"
                    )
                folder.mkdir(parents=True, exist_ok=True)
            # All other files are replaced and never written through.
            for file in (self.ledger, self.rescued_ids, self.sandbox_journal, self.log):
                if file.is_symlink():
                    raise RunDirectoryError(
                        f"{file} is a symbolic link: it leads out of the run directory"
                    )
            if not os.access(self.state, os.W_OK):
                raise RunDirectoryError(f"{self.path} is read-only; choose another with --output")
        except FileExistsError as error:
            raise RunDirectoryError(f"{error.filename} is in the way: not a directory") from None
        except OSError as error:
            raise RunDirectoryError(
                f"cannot write to {error.filename}: {error.strerror}; choose another with --output"
            ) from None

    def clear_parts(self) -> None:
        """Remove the parts that an ended run left; anything else in their folder stays.

        Raises:
            OSError: One cannot be removed.
        """
        with os.scandir(self.parts) as entries:
            # Hidden names are the file system's own: `.nfs0001`, `._x.part`, `.DS_Store`.
            leftovers = [
                Path(entry)
                for entry in entries
                if entry.name.endswith(".part")
                and not entry.name.startswith(".")
                and not entry.is_dir(follow_symlinks=False)
            ]
        for leftover in leftovers:
            leftover.unlink(missing_ok=True)

    def is_held(self) -> bool:
        """Tell whether another process holds it; one that is not there is not held.

        Raises:
            RunDirectoryError: Its file system has no locks.
        """
        try:
            with self.lock():
                return False
        except RunLocked:
            return True
        except FileNotFoundError:
            return False

    def is_at(self, descriptor: int) -> bool:
        """Tell whether this path still leads to the directory that was opened from it."""
        try:
            return os.path.samestat(os.stat(self.path), os.fstat(descriptor))  # noqa: PTH116
        except OSError:
            return False

    @contextmanager
    def lock(self) -> Iterator[int]:
        """Hold the run directory against other processes.

        The lock is on the directory's own descriptor: it survives a rename, which a lock file does
        not, and goes with the process however that ends.

        Yields:
            The descriptor.

        Raises:
            RunLocked: Another process holds it.
            RunDirectoryError: Its file system has no locks.
        """
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            _flock(descriptor, self.path)
            yield descriptor
        finally:
            os.close(descriptor)


def _flock(descriptor: int, path: Path) -> None:
    for patience in (0.2, 0.2, 0.2, None):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if patience is None:
                raise RunLocked(
                    f"another batchgen works in {path}; watch it with `batchgen status {path}`"
                ) from None
            # `status` and `plan` hold it for a moment only.
            time.sleep(patience)
        except OSError as error:
            raise RunDirectoryError(
                f"cannot lock {path}: {error.strerror}. Without a lock two runs could pay for the "
                "same videos; choose a directory on a local disk with --output, or have the share "
                "mounted with locks"
            ) from None
        else:
            return


@contextmanager
def replacing(path: Path) -> Iterator[IO[str]]:
    """Write a text file so that readers see the old one or the new one, whole, even after a crash.

    When the block raises, the old file stays.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        # Made anew: what lies here may be a link that leads out of the run directory.
        part.unlink(missing_ok=True)
        with part.open("x", encoding="utf-8", newline="") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    sync_directory(path.parent)


def replace_file(path: Path, write: Callable[[IO[str]], None]) -> None:
    """Replace a text file by what `write` writes, whole or not at all."""
    with replacing(path) as file:
        write(file)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        sync_names(descriptor)
    finally:
        os.close(descriptor)


def sync_names(descriptor: int) -> None:
    """Make the names in an open directory durable, if its file system can do so.

    One that cannot has no stronger promise to give: what is written there is as durable as the
    server behind it makes it.

    Raises:
        OSError: It failed.
    """
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NOT_SYNCED:
            raise


@contextmanager
def opened_folder(path: Path) -> Iterator[int]:
    """Open a folder of the run directory, so that names given in it stay in it. Blocks.

    Yields:
        The folder's descriptor, which no later change of its path leads elsewhere.

    Raises:
        RunDirectoryError: It is no folder any more: a link in its place may lead anywhere.
        OSError: It cannot be opened.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except NotADirectoryError:
        raise RunDirectoryError(
            f"{path} was replaced by a link or a file: it leads out of the run directory"
        ) from None
    try:
        yield descriptor
    finally:
        os.close(descriptor)
