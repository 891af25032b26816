"""How many at once and how often, as small state machines that are told the time.

Pure. Times are seconds of one monotonic clock.
"""

from collections import deque
from dataclasses import dataclass, field
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

    def taken(self, *, used: bool = True) -> None:
        """A submit was taken: a whole window of these makes room for one more.

        Args:
            used: Whether all that is allowed now is in use; if not, nothing was learned.
        """
        self._successes += used
        if self._successes >= self.limit and self.limit < self.ceiling:
            self.limit += 1
            self._successes = 0


LEAST_RATE: Final = 0.1
"""Polls a second that are always asked: one in ten seconds, for all generations together."""
SECONDS_BETWEEN_SLOWINGS: Final = 2.0
"""Refusals of what had left before the last slowing down say nothing of it."""
RECOVERY_SECONDS: Final = 30.0
"""In which what a slowing down took away is given back."""
NOTICE: Final = 0.05
"""How much one answer counts for the share of refusals: the last twenty or so are remembered."""
TOO_MANY: Final = 0.12
"""Share of refusals, three in twenty answers or so, that says it is the rate: one may be chance.
A provider that refuses a few of a hundred, whatever it is asked, must not slow down a night."""
REMEMBERED: Final = 100
"""Requests that tell how often a provider was asked lately."""
LEAST_LATELY: Final = 0.25
"""Seconds that lately is, at least: two at the same moment are no rate."""


@dataclass(slots=True)
class AdaptiveRate:
    """How often a provider may be asked: without limit until it refuses, then as often as it takes.

    Additive increase, multiplicative decrease, as `AdaptiveLimit`, but of a rate. The first cut is
    made from how often it was asked lately, which is what it found too much.

    Attributes:
        per_second: Requests a second that are allowed now.
    """

    per_second: float = float("inf")
    _places: RateLimit = field(default_factory=lambda: RateLimit(float("inf")))
    _asked: deque[float] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    _gain: float = 0.0
    _next_cut: float = float("-inf")
    _share: float = 0.0

    def reserve(self, now: float) -> float:
        """Take the next place and return the seconds to wait until it comes."""
        self._places.per_second = self.per_second
        wait = self._places.reserve(now)
        self._asked.append(now + wait)
        return wait

    def refused(self, now: float) -> None:
        """The provider refused: where it does so often, cut by 0.7, at most once in 2 s."""
        self._share += NOTICE * (1.0 - self._share)
        if now < self._next_cut or not self._asked or self._share < TOO_MANY:
            return
        lately = len(self._asked) / max(LEAST_LATELY, now - self._asked[0])
        rate = min(self.per_second, lately)
        self.per_second = max(LEAST_RATE, rate * CUT)
        # At the least rate nothing is taken away any more, and yet it must grow again.
        self._gain = max(LEAST_RATE, rate - self.per_second) / RECOVERY_SECONDS
        self._next_cut = now + SECONDS_BETWEEN_SLOWINGS

    def answered(self) -> None:
        """A request was answered: allow a little more, to make up for a cut in a while."""
        self._share -= NOTICE * self._share
        self.per_second += self._gain / self.per_second


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


OPEN_AT_IN_A_ROW: Final = 5
"""Failures to connect; where a request can cost money, failures of any kind."""
OPEN_AT_CALLS: Final = 10
"""So many calls, half of them failed, within the window."""
WINDOW_SECONDS: Final = 30.0
PROBE_SECONDS: Final = 30.0
MAX_PROBE_SECONDS: Final = 900.0


@dataclass(slots=True)
class Breaker:
    """Keeps requests from a host that fails, but for one probe now and then.

    The circuit breaker of M. Nygard, "Release It!" (2007). It judges hosts, not tasks: any whole
    answer that is no fault of the server counts as well.

    Attributes:
        costly: Whether a request can cost money: then a few failures in a row are enough, however
            slowly they came, and probes that were not answered come ever more seldom, up to a
            quarter of an hour, where free ones come every 30 s.
    """

    costly: bool = False
    _calls: deque[tuple[float, bool]] = field(default_factory=deque)
    _in_a_row: int = 0
    _gap: float = PROBE_SECONDS
    _probe_at: float | None = None
    _held_until: float = float("-inf")

    @property
    def is_open(self) -> bool:
        """Tell whether requests are kept back."""
        return self._probe_at is not None

    def wait(self, now: float) -> float:
        """Return seconds to wait; 0.0 lets the caller's request go, as the probe while open."""
        if self._probe_at is None:
            return 0.0
        if now < self._probe_at:
            return self._probe_at - now
        self._probe_at = now + self._gap
        return 0.0

    def went_well(self, now: float) -> bool:
        """Note a request that was answered; return whether that closed the breaker."""
        self._in_a_row = 0
        if self._probe_at is None or now < self._held_until:
            # One that left before the breaker was tripped says nothing of those to come.
            self._note(now, well=True)
            return False
        self._probe_at, self._gap = None, PROBE_SECONDS
        self._calls.clear()
        return True

    def went_wrong(self, now: float, *, reached: bool) -> bool:
        """Note a request that failed; return whether that opened the breaker.

        Args:
            now: Seconds.
            reached: Whether it left this machine.
        """
        self._note(now, well=False)
        self._in_a_row = self._in_a_row + 1 if self.costly or not reached else 0
        out_of_order = self._is_out_of_order()
        if self._probe_at is None:
            if out_of_order:
                self._probe_at = now + self._gap
            return out_of_order
        if self._gap >= PROBE_SECONDS or out_of_order:
            # A busy host's short wait is no pace for one that is out of order.
            self._gap = max(self._gap, PROBE_SECONDS)
            if self.costly and reached:
                self._gap = min(2 * self._gap, MAX_PROBE_SECONDS)
        self._probe_at = max(self._probe_at, now + self._gap)
        return False

    def _is_out_of_order(self) -> bool:
        failed = sum(not well for _, well in self._calls)
        often = len(self._calls) >= OPEN_AT_CALLS and 2 * failed >= len(self._calls)
        return often or self._in_a_row >= OPEN_AT_IN_A_ROW

    def trip(self, now: float, seconds: float, *, longest: float | None = None) -> bool:
        """Keep requests back whatever came before, with a probe every `seconds`.

        Args:
            now: Seconds.
            seconds: Until the first probe.
            longest: Up to which the time between probes doubles with each that is refused; None
                where it stays the same.

        Returns:
            Whether that opened the breaker.
        """
        was_closed = self._probe_at is None
        if was_closed or longest is None:
            self._gap = seconds
        elif now >= self._held_until:
            # Later than what had left before the breaker was tripped: this was a probe.
            self._gap = min(2 * self._gap, longest)
        self._probe_at = max(self._probe_at or 0.0, now + self._gap)
        self._held_until = self._probe_at
        return was_closed

    def _note(self, now: float, *, well: bool) -> None:
        self._calls.append((now, well))
        while self._calls[0][0] < now - WINDOW_SECONDS:
            self._calls.popleft()


CONTROL_SECONDS: Final = 20.0
MAX_CONTROL_SECONDS: Final = 900.0


@dataclass(slots=True)
class Control:
    """A generation known to be done, and when to ask about it again.

    As long as it is answered, every 20 s at most; in an outage ever more seldom.

    Attributes:
        generation: Its id and its model; None where none is known.
    """

    generation: tuple[str, str] | None = None
    _gap: float = CONTROL_SECONDS
    _due: float = float("-inf")

    def knows(self, generation_id: str, model: str) -> None:
        """Take a generation that was just seen to be done."""
        self.generation = generation_id, model

    def is_due(self, now: float) -> bool:
        """Tell whether to ask; whoever is told so does."""
        if now < self._due:
            return False
        self._due = now + self._gap
        return True

    def answered(self, now: float, *, well: bool) -> None:
        """Note whether the provider told that it is done."""
        self._gap = CONTROL_SECONDS if well else min(2 * self._gap, MAX_CONTROL_SECONDS)
        self._due = now + self._gap


@dataclass(slots=True)
class MinimumSpeed:
    """Tells a download that goes on from one that only keeps a place.

    Attributes:
        per_second: Bytes a second, at least.
        window: Seconds over which that is an average.
    """

    per_second: float
    window: float
    _began: float | None = None
    _bytes: int = 0

    def is_kept(self, now: float, received: int) -> bool:
        """Note bytes that came; return False where those of a whole window were too few."""
        if self._began is None:
            self._began = now
        self._bytes += received
        if now < self._began + self.window:
            return True
        enough = self._bytes >= self.per_second * (now - self._began)
        self._began, self._bytes = now, 0
        return enough


RETRY_SHARE: Final = 0.1
SAVED_RETRIES: Final = 10.0
SECONDS_A_RETRY: Final = 30.0
"""One that is always allowed: a lone task must not wait for requests that nobody makes."""


@dataclass(slots=True)
class RetryBudget:
    """Keeps repeated requests under a tenth of all: each request saves up a tenth of a repeat.

    The retry budget of Twitter's Finagle (2016), with a trickle for a run with little to do.
    """

    _saved: float = SAVED_RETRIES
    _trickled: float | None = None

    def request(self) -> None:
        """Note a request that repeats none."""
        self._saved = min(SAVED_RETRIES, self._saved + RETRY_SHARE)

    def wait(self, now: float) -> float:
        """Take one repeat and return 0.0, or take none and return seconds until one may be had."""
        since = 0.0 if self._trickled is None else max(0.0, now - self._trickled)
        self._saved = min(SAVED_RETRIES, self._saved + since / SECONDS_A_RETRY)
        self._trickled = now
        # A thousandth of a retry of rounding delays none.
        if self._saved >= 0.999:
            self._saved -= 1.0
            return 0.0
        return (1.0 - self._saved) * SECONDS_A_RETRY
