"""The limits of a run, put to work: waits here are where a run is slowed down, and only here."""

import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from typing import Final

from anyio import CapacityLimiter, Lock

from batchgen.clock import Clock
from batchgen.descriptors import AtOnce
from batchgen.first_wave import FirstWave
from batchgen.job import RunSettings
from batchgen.limits import AdaptiveLimit, AdaptiveRate, Breaker, Pause, RateLimit, RetryBudget
from batchgen.policy import Phase

SLICE_SECONDS: Final = 5.0
"""Who waits looks up this often: a host may be back, and a suspended machine's sleep ends late."""


FIRST_QUESTIONS: Final = 4
"""How many generations of earlier runs are asked about for the first time at once."""


class Traffic:
    """Slots for generations, places for POSTs and downloads, a pace for requests, and pauses.

    Attributes:
        submits: Closed while the provider is too busy for submits.
        polls: Closed while it is too busy for questions.
        disk: Closed while nothing can be written.
        beside: Ids of tasks that are asked about without a slot.
        polled_well_at: Monotonic seconds of the latest poll that was answered.
        questions: Places for polls, as many as there are descriptors for.
        first_wave: Says whether another submit may be made before a first file has arrived.
    """

    def __init__(
        self,
        settings: RunSettings,
        clock: Clock,
        first_wave: FirstWave,
        at_once: AtOnce | None = None,
    ) -> None:
        """Take the limits from a job's settings, or narrower ones.

        Args:
            settings: The job's.
            clock: Time.
            first_wave: Which submits no file has followed yet.
            at_once: As many requests as there are descriptors for; None if those are plenty.
        """
        self._clock = clock
        self.first_wave = first_wave
        self._adaptive = AdaptiveLimit(ceiling=settings.concurrency)
        self._slots = CapacityLimiter(settings.concurrency)
        self._taken: set[object] = set()
        self._first_questions = CapacityLimiter(FIRST_QUESTIONS)
        self._posts = CapacityLimiter(at_once.submits if at_once else settings.submits)
        self.questions = CapacityLimiter(at_once.polls if at_once else math.inf)
        self._downloads = CapacityLimiter(at_once.downloads if at_once else settings.downloads)
        self._rate = RateLimit(settings.rate_limit) if settings.rate_limit else None
        self.submits = Pause()
        self.polls = Pause()
        self.disk = Pause()
        self.beside: set[str] = set()
        self.polled_well_at = float("-inf")
        self._poll_rate = AdaptiveRate()
        self._next_to_poll = Lock(fast_acquire=True)
        self._breakers: dict[tuple[Phase, str], Breaker] = {}
        self._retries = RetryBudget()

    async def take_slot(self) -> object:
        """Wait for one of the `concurrency` places of generations in flight; return it."""
        slot = object()
        await self._slots.acquire_on_behalf_of(slot)
        self._taken.add(slot)
        return slot

    def holds(self, slot: object | None) -> bool:
        """Tell whether this is a place that was not given back."""
        return slot in self._taken

    @property
    def is_at_work(self) -> bool:
        """Tell whether any of these places is taken."""
        return bool(self._taken)

    def give_slot_back(self, slot: object | None) -> None:
        """Give a place back, if that was not done: the provider does not work at the task."""
        if slot in self._taken:
            self._taken.discard(slot)
            self._slots.release_on_behalf_of(slot)

    @asynccontextmanager
    async def first_question(self, *, beside: bool) -> AsyncIterator[None]:
        """Have what earlier runs left asked about a few at a time: new work waits in line, too."""
        async with self._first_questions if beside else nullcontext():
            yield

    @asynccontextmanager
    async def post(self) -> AsyncIterator[None]:
        """Hold one of the few places for POSTs, once submits are open and the pace allows it."""
        async with self._posts:
            # A pause that closes while the pace is waited for holds, too.
            await self._pace()
            await self.wait(self.submits)
            await self.reach(Phase.SUBMIT)
            yield

    @asynccontextmanager
    async def download(self, host: str, when_closed: Callable[[], None]) -> AsyncIterator[None]:
        """Hold one of the places for downloads, once the disk and the file's host can be used.

        Nobody waits for a host in a place that another host's file could have.

        Args:
            host: The file's host.
            when_closed: Told each time the host turns out not to be usable now.
        """
        breaker = self.breaker(Phase.DOWNLOAD, host)
        while True:
            async with self._downloads:
                await self.wait(self.disk)
                # Asked only here: while a place was waited for, the host may have gone.
                if (seconds := breaker.wait(self._clock.monotonic())) <= 0:
                    self._retries.request()
                    yield
                    return
            when_closed()
            await self._clock.sleep(min(seconds, SLICE_SECONDS))

    @property
    def is_downloading(self) -> bool:
        """Tell whether a file may be arriving."""
        return self._downloads.borrowed_tokens > 0

    async def poll(self) -> None:
        """Wait until polls are open and the pace allows one.

        One at a time, in the order they came: after a pause they go at the pace that is allowed
        then and not all at once, and of ten thousand that wait one looks at the clock.
        """
        async with self._next_to_poll:
            await self._pace()
            if (seconds := self._poll_rate.reserve(self._clock.monotonic())) > 0:
                await self._clock.sleep(seconds)
            await self.wait(self.polls)
            await self.reach(Phase.FETCH)

    def polled(self) -> None:
        """A poll was answered: a few more at once may be tried."""
        self._poll_rate.answered()
        self.polled_well_at = self._clock.monotonic()

    def polled_too_often(self, seconds: float) -> None:
        """The provider is too busy for polls: none for some seconds, and fewer from then on."""
        now = self._clock.monotonic()
        self._poll_rate.refused(now)
        self.polls.close(now, seconds)

    async def wait(self, pause: Pause) -> None:
        """Wait until a pause is over; it may be made longer meanwhile."""
        while (seconds := pause.wait(self._clock.monotonic())) > 0:
            await self._clock.sleep(seconds)

    def breaker(self, phase: Phase, host: str = "") -> Breaker:
        """Return the breaker of a host for one kind of request; no name means the provider's."""
        key = phase, host
        if key not in self._breakers:
            self._breakers[key] = Breaker(costly=phase is Phase.SUBMIT)
        return self._breakers[key]

    async def reach(self, phase: Phase, host: str = "") -> None:
        """Wait until a request to a host makes sense, or until it is this one's turn to probe."""
        breaker = self.breaker(phase, host)
        while (seconds := breaker.wait(self._clock.monotonic())) > 0:
            await self._clock.sleep(min(seconds, SLICE_SECONDS))
        self._retries.request()

    async def repeat(self, phase: Phase, host: str = "") -> None:
        """Wait until a request may be made again; while a host is out, probes are all there is."""
        while not self.breaker(phase, host).is_open and (
            seconds := self._retries.wait(self._clock.monotonic())
        ):
            await self._clock.sleep(min(seconds, SLICE_SECONDS))

    async def _pace(self) -> None:
        if self._rate is not None and (seconds := self._rate.reserve(self._clock.monotonic())) > 0:
            await self._clock.sleep(seconds)

    def taken(self) -> None:
        """A submit was taken: a little more at once may be tried."""
        self.submits.well()
        self._adaptive.taken(used=self._slots.borrowed_tokens >= self._adaptive.limit)
        self._slots.total_tokens = self._adaptive.limit

    def busy(self, retry_after: float | None) -> int:
        """The provider said it has enough: ask for less at once. Return how many at once now."""
        self._adaptive.refused(self._clock.monotonic(), retry_after)
        self._slots.total_tokens = self._adaptive.limit
        return self._adaptive.limit
