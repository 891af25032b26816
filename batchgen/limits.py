"""How many at once and how often, as small state machines that are told the time.

Pure. Times are seconds of one monotonic clock.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(slots=True)
class RateLimit:
    """Spaces events evenly: a leaky bucket in its virtual-scheduling form (GCRA, ITU-T I.371).

    Attributes:
        per_second: Events a second.
        burst: Events that may come at once after a pause.
    """

    per_second: float
    burst: int = 1
    _due: float = float("-inf")

    def reserve(self, now: float) -> float:
        """Take the next place and return the seconds to wait until it comes."""
        gap = 1.0 / self.per_second
        self._due = max(self._due, now - gap * (self.burst - 1))
        wait = max(0.0, self._due - now)
        self._due += gap
        return wait


CUT: Final = 0.7
MIN_SECONDS_BETWEEN_CUTS: Final = 10.0
MAX_SECONDS_BETWEEN_CUTS: Final = 900.0
"""A server that asks for a year must not keep the limit from falling for a year."""


@dataclass(slots=True)
class AdaptiveLimit:
    """How many generations at once the provider takes: additive increase, multiplicative decrease.

    Attributes:
        ceiling: What the user allows.
        limit: What is allowed now, 1 to `ceiling`.
    """

    ceiling: int
    limit: int = 0
    _successes: int = 0
    _next_cut: float = float("-inf")

    def __post_init__(self) -> None:
        """Begin at the ceiling."""
        self.limit = self.limit or self.ceiling

    def refused(self, now: float, retry_after: float | None) -> None:
        """The provider said it is busy: cut by 0.7, at most once in max(Retry-After, 10 s)."""
        self._successes = 0
        if now >= self._next_cut:
            self.limit = max(1, int(self.limit * CUT))
            asked = min(retry_after or 0.0, MAX_SECONDS_BETWEEN_CUTS)
            self._next_cut = now + max(asked, MIN_SECONDS_BETWEEN_CUTS)

    def taken(self) -> None:
        """A submit was taken: a whole window of these makes room for one more."""
        self._successes += 1
        if self._successes >= self.limit and self.limit < self.ceiling:
            self.limit += 1
            self._successes = 0


@dataclass(slots=True)
class Pause:
    """A door that closes for a while, for everyone behind it.

    Attributes:
        until: When it opens; in the past while it is open.
        closings: How often it closed since it last let a request through that went well.
    """

    until: float = float("-inf")
    closings: int = 0

    def close(self, now: float, seconds: float) -> bool:
        """Close for `seconds`; return whether it was open before."""
        was_open = now >= self.until
        if was_open:
            self.closings += 1
        self.until = max(self.until, now + seconds)
        return was_open

    def well(self) -> None:
        """A request went well: the next closing is a first one again."""
        self.closings = 0

    def wait(self, now: float) -> float:
        """Return seconds until it opens."""
        return max(0.0, self.until - now)
