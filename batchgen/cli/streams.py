"""Standard streams that are closed, or that nobody reads any more. Imports nothing else of ours."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_STREAMS: Final = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))
"""By descriptor. A file that is opened gets the lowest free number, so they are taken in order."""


def open_closed() -> None:
    """Open the null device for each standard stream that is closed, as some launchers leave them.

    Python has None in its place. Worse, the next file opened would get its number, and whatever a
    library prints would land in the ledger.
    """
    for name, mode in _STREAMS:
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, open(descriptor, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def discard_unwritten() -> None:
    """Drop what cannot be written any more: Python would complain of it, and exit with 120."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


@contextmanager
def optional_output() -> Iterator[None]:
    """For words that may go unread: the terminal is gone, the pipe is closed, the disk is full."""
    try:
        yield
    except OSError:
        discard_unwritten()
