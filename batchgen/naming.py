"""Final names of videos: given to finished files, and tried before anything is paid for. Blocks."""

import errno
import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from batchgen.errors import RunDirectoryError
from batchgen.rundir import RunDirectory, opened_folder

_TRIAL: Final = ".trial"
_SOURCE: Final = "trial.part"
_PASSING: Final = frozenset(
    {
        errno.EAGAIN,
        errno.EBUSY,
        errno.EDQUOT,
        errno.EINTR,
        errno.EIO,
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOBUFS,
        errno.ENOENT,
        errno.ENOMEM,
        errno.ENOSPC,
        errno.ESTALE,
        errno.ETIMEDOUT,
    }
)
"""What a disk or this machine says for a while: neither the name nor the folder is to blame."""


class NameRefused(OSError):
    """A file cannot be given its name, though others can: waiting does not help."""


def give_name(part: Path, final: Path) -> None:
    """Give a file its final name; a link under that name is replaced, not followed.

    Raises:
        NameRefused: It cannot have this name.
        IsADirectoryError: A directory has it.
        RunDirectoryError: The folder of videos was replaced by a link, which may lead anywhere.
        OSError: No name can be given now.
    """
    try:
        with opened_folder(final.parent) as folder:
            os.replace(part, final.name, dst_dir_fd=folder)
    except IsADirectoryError:
        raise
    except OSError as error:
        if error.errno in _PASSING or not _can_name(part.parent, final.parent):
            raise
        raise NameRefused(error.errno, error.strerror) from error


def prepared(directory: RunDirectory, longest: str) -> RunDirectory:
    """Try out whether finished files can be given their names; return where their parts go.

    Nothing is paid for yet: what would keep every video from its place is found here.

    Args:
        directory: The run directory.
        longest: The longest name that a video of the job will have.

    Returns:
        The directory; its parts are among the videos if these are on another file system.

    Raises:
        RunDirectoryError: Names cannot be given, or not one as long as this.
    """
    try:
        _try(directory.parts, directory.videos, _hidden(longest))
    except OSError as error:
        if error.errno == errno.EXDEV and not directory.parts_in_videos:
            beside = replace(directory, parts_in_videos=True)
            beside.create()
            return prepared(beside, longest)
        if error.errno in _PASSING:
            return directory  # the run waits until it is over
        raise _refusal(directory, longest, error) from None
    return directory


def _refusal(directory: RunDirectory, longest: str, error: OSError) -> RunDirectoryError:
    if _can_name(directory.parts, directory.videos):
        return RunDirectoryError(
            f"{directory.videos} takes no name as long as {longest} ({error.strerror}); choose "
            "another directory with --output"
        )
    return RunDirectoryError(
        f"no file can be put into {directory.videos}: {error.strerror}; choose another directory "
        "with --output"
    )


def _can_name(parts: Path, videos: Path) -> bool:
    try:
        _try(parts, videos, _TRIAL)
    except OSError:
        return False
    return True


def _try(parts: Path, videos: Path, name: str) -> None:
    """Give an empty file of one folder a name in another, and take it away again."""
    with opened_folder(parts) as source, opened_folder(videos) as target:
        flags = os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW
        os.close(os.open(_SOURCE, flags, 0o666, dir_fd=source))
        try:
            os.replace(parts / _SOURCE, name, dst_dir_fd=target)
        except OSError:
            with suppress(OSError):
                os.unlink(_SOURCE, dir_fd=source)
            raise
        os.unlink(name, dir_fd=target)


def _hidden(name: str) -> str:
    """Return a name as long in bytes, of the same characters but for the first and the last.

    It is no video's, and should a crash leave it behind, no reader takes it for one.
    """
    first = len(name[0].encode())
    return f"{'.' * first}{name[1:-1]}_"
