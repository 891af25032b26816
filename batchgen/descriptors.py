"""File descriptors: how many this process may have, and how much at once fits into them."""

import os
import resource
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from batchgen.job import Job, ProviderSettings, RunSettings

RESERVED: Final = 16
"""For what is opened now and then: reports, the ledger's log, the name service."""
OPENED_AT_MOST: Final = 24
"""By a run, beside its requests, once it is under way (measured: 22)."""
_FILES_OF_A_DOWNLOAD: Final = 2
"""Its part and, while that is opened, the folder of parts."""


@dataclass(frozen=True, slots=True)
class AtOnce:
    """How many requests of each kind are made at once, at most."""

    submits: int
    polls: int
    downloads: int

    @classmethod
    def wanted(cls, settings: RunSettings) -> "AtOnce":
        """Return what a job's settings allow."""
        return cls(settings.submits, settings.concurrency, settings.downloads)

    def cost(self, sockets: int) -> int:
        """Count the descriptors they take.

        Args:
            sockets: Descriptors of a connection: 2 if its server is in this process, else 1.
        """
        files = _FILES_OF_A_DOWNLOAD * self.downloads
        return sockets * (self.submits + self.polls + self.downloads) + files

    def fitted(self, free: int, sockets: int) -> "AtOnce":
        """Return as much of it, in the same proportions, as fits; of each kind one at least.

        Args:
            free: Descriptors there are for it.
            sockets: As in `cost`.
        """
        share = min(1.0, max(0, free) / self.cost(sockets))
        return AtOnce(
            submits=max(1, int(self.submits * share)),
            polls=max(1, int(self.polls * share)),
            downloads=max(1, int(self.downloads * share)),
        )


def sockets_each(settings: ProviderSettings) -> int:
    """Return the descriptors of a connection: its server may be in this process, too."""
    return 2 if settings.in_process else 1


def raise_limit(job: Job) -> None:
    """Raise this process's soft limit to what a run of a job needs, as far as it may be raised."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = _needed(AtOnce.wanted(job.run), sockets_each(job.provider))
    if hard != resource.RLIM_INFINITY:
        needed = min(needed, hard)
    if resource.RLIM_INFINITY != soft < needed:
        # macOS has a lower limit of its own: the run keeps within what there is.
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def narrowed(job: Job) -> tuple[AtOnce, str] | None:
    """Return what a run of a job keeps to if descriptors are few, and say so in a sentence.

    Returns:
        None if they are enough for what the job's settings allow.
    """
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed == resource.RLIM_INFINITY:
        return None
    wanted, sockets = AtOnce.wanted(job.run), sockets_each(job.provider)
    # The listing takes one itself.
    in_use = max(len(os.listdir("/dev/fd")) - 1, OPENED_AT_MOST)  # noqa: PTH208  # only names
    fitted = wanted.fitted(allowed - in_use - RESERVED, sockets)
    if fitted == wanted:
        return None
    return fitted, (
        f"this process may have {allowed} files and sockets open: it makes {fitted.submits} "
        f"submits, {fitted.polls} polls and {fitted.downloads} downloads at once instead of "
        f"{wanted.submits}, {wanted.polls} and {wanted.downloads}; "
        f"`ulimit -n {_needed(wanted, sockets)}` before the run allows them all"
    )


def _needed(wanted: AtOnce, sockets: int) -> int:
    return OPENED_AT_MOST + RESERVED + wanted.cost(sockets)
