"""No second wave of submits before a first file has arrived: bounds what an unreachable host costs.

Pure. Videos are paid for when they are made, and only a download shows whether their files can be
fetched and kept: a VPN, a captive portal or a mount may stand in between.
"""

from collections import Counter
from collections.abc import Collection, Mapping


class FirstWave:
    """Counts the submits that no file has followed yet, and says whether another may be made.

    A host is trusted once a file has arrived whole from it. While no host is trusted, or a video
    waits at one that is not, at most `size` submits stand open: in flight, waiting for their
    file, or given up at such a host. Any file that arrives clears those that wait: not all of the
    provider's files are out of reach.

    Args:
        size: Submits that may stand open before a first file; infinity where that need not be
            bounded.
        trusted: Hosts from which files have arrived before.
    """

    def __init__(self, size: float, trusted: Collection[str] = ()) -> None:
        self._size = size
        self._trusted = set(trusted)
        self._in_flight: set[str] = set()
        self._waiting: dict[str, str] = {}
        self._unproven: dict[str, str] = {}

    @property
    def is_open(self) -> bool:
        """Tell whether another submit may be made."""
        if self._trusted and not self._unproven:
            return True
        return len(self._in_flight) + len(self._unproven) < self._size

    @property
    def unproven(self) -> Mapping[str, int]:
        """Return how many videos wait, or were given up, at each host that is not trusted."""
        return Counter(self._unproven.values())

    def begins(self, task_id: str) -> None:
        """A submit is about to be made, or was made by an earlier run."""
        self._in_flight.add(task_id)

    def waits(self, task_id: str, host: str) -> None:
        """A video is done; its file is waited for at a host."""
        self._in_flight.discard(task_id)
        self._waiting[task_id] = host
        self._unproven.pop(task_id, None)
        if host not in self._trusted:
            self._unproven[task_id] = host

    def arrived(self, task_id: str, host: str) -> None:
        """A file has arrived whole and has its name."""
        self._waiting.pop(task_id, None)
        self._trusted.add(host)
        self._unproven.clear()

    def over(self, task_id: str) -> None:
        """A task is not carried any more; a video that could not be fetched keeps its place."""
        self._in_flight.discard(task_id)
        self._waiting.pop(task_id, None)

    def doubt(self, host: str) -> None:
        """Trust a host no longer: something has come between it and this machine."""
        if host in self._trusted:
            self._trusted.discard(host)
            self._unproven.update((task, at) for task, at in self._waiting.items() if at == host)

    def doubt_all(self) -> None:
        """Trust no host any longer: no file can be kept here."""
        for host in tuple(self._trusted):
            self.doubt(host)
