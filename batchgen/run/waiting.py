"""What the polling of one generation has seen: how long it was watched, when it began and ended."""

from typing import Final

from batchgen.clock import Clock
from batchgen.durations import LifeTable
from batchgen.ledger.tables import Record
from batchgen.run.means import Generation

UNKNOWN_ID_GRACE: Final = 120.0
"""Seconds after a submit in which its id may be unknown to the provider."""
FORGOTTEN_POLLS: Final = 3
"""Answers that it does not know an id by which a provider has forgotten an earlier run's."""
BESIDES_SECONDS: Final = 60.0
"""What pace and answer may add to the wait for a poll; a longer gap was no waiting."""


class Waiting:
    """What the polling of one generation has seen so far.

    Attributes:
        asked: Polls.
        faults: Polls in a row that were refused for the task's own reasons.
        troubles: Polls in a row that were not answered as hoped.
        unknown: Polls since it was last known that said the provider does not know it.
        watched: Seconds of waiting in this run in which the provider answered polls: what a
            generation is judged by. So no clock, outage or suspend ends it, and each run gives it
            its whole time.
        singled_out: Whether others were answered since the latest trouble, and this one was not.
        judged: Whether the latest poll tells that the time watched was this generation's own.
    """

    def __init__(
        self, record: Record, generation: Generation, table: LifeTable, clock: Clock
    ) -> None:
        self.record = record
        self.generation = generation
        self.table = table
        self.asked = 0
        self.faults = 0
        self.troubles = 0
        self.unknown = 0
        self.watched = 0.0
        self.singled_out = self.judged = False
        self._clock = clock
        self._asked_at = self._heard_at = clock.monotonic()
        self._unseen = False  # whether it may have been done long before the latest poll
        self._taken = self._asked_at - max(0.0, clock.now() - generation.taken)
        # When one of an earlier run was done before its first poll in this one, nobody can tell.
        self._known_to_run: float | None = None if generation.resumed else 0.0
        self._left_queue: float | None = None
        self._no_video: float | None = None

    @property
    def seconds(self) -> float:
        """Seconds since the submit, by a wall clock that may have jumped between two runs."""
        return self._clock.monotonic() - self._taken

    def lacks_a_control(self, others_well_at: float) -> bool:
        """Tell whether nobody was answered since this one was not, twice in a row."""
        return self.troubles > 1 and others_well_at <= self._asked_at

    def hears(self, wait: float, *, answered: bool, others_well_at: float) -> None:
        """Note a poll.

        Args:
            wait: Seconds that were to be waited for it.
            answered: Whether the provider spoke of this generation.
            others_well_at: Monotonic seconds at which it last told of any.
        """
        now, longest = self._clock.monotonic(), wait + BESIDES_SECONDS
        self._unseen = now - self._heard_at > longest
        self.singled_out = self.troubles > 0 and others_well_at > self._asked_at
        if answered:
            self.watched += min(now - self._asked_at, longest)
            self._heard_at = now
        elif self.singled_out:
            # Only up to then: an outage may have begun since.
            self.watched += min(others_well_at - self._asked_at, longest)
        self.judged = answered or self.singled_out
        self._asked_at = now
        self.asked += 1

    def runs(self) -> None:
        """Note that a poll found it not done yet."""
        self.faults = self.troubles = self.unknown = 0
        age = self.seconds
        if self._known_to_run is not None:
            self.table.runs(self._known_to_run, age)
        self._known_to_run = age

    def ended(self) -> None:
        """Note that a poll found it done."""
        if self._known_to_run is not None:
            self.table.ended(self._known_to_run, self.seconds)

    @property
    def may_be_unknown(self) -> bool:
        """Tell whether it is so young that the provider may not know it yet."""
        if self.record.completed_at is not None:
            return False
        # Of an earlier run nobody watched it; in this one no suspend makes it older.
        age = self.seconds if self.generation.resumed else self.watched
        return age <= UNKNOWN_ID_GRACE

    @property
    def is_forgotten(self) -> bool:
        """Tell whether it is asked about no more: an earlier run's, which the provider forgot."""
        generation = self.generation
        enough = 1 if generation.once else FORGOTTEN_POLLS
        return generation.resumed and not self.may_be_unknown and self.unknown >= enough

    def began(self) -> None:
        """Note when a status first said that work has begun."""
        if self._left_queue is None:
            self._left_queue = self.seconds

    def lacks_its_video(self) -> None:
        """Note a completed status without a video."""
        if self._no_video is None:
            self._no_video = self.watched

    @property
    def without_video(self) -> float:
        """Return for how many seconds it has been completed without a video."""
        return 0.0 if self._no_video is None else self.watched - self._no_video

    def split(self) -> tuple[float | None, float | None]:
        """Return seconds in the queue and seconds generating, as far as polls could see them.

        What ended in an outage or a suspend would pass for slow, in this run and in those to come.
        """
        if self.generation.resumed or self._unseen:
            return None, None
        queue = self._left_queue if self._left_queue is not None else 0.0
        return round(queue, 3), round(self.seconds - queue, 3)
