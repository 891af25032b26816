"""A generation's completion: asked for at the right times, until there is a video or never one."""

from typing import Final

from batchgen.clock import Clock
from batchgen.durations import LifeTable
from batchgen.ledger.tables import Record
from batchgen.outcomes import (
    Answered,
    Completed,
    FetchOutcome,
    GenerationFailed,
    NoVideo,
    Pending,
    Trouble,
    describe,
    failure_code,
)
from batchgen.policy import Action, Phase, decide
from batchgen.polling import next_wait
from batchgen.run.means import Generation, Means
from batchgen.task import Cause, Status
from batchgen.urls import without_secrets

UNKNOWN_ID_GRACE: Final = 120.0
"""Seconds after a submit in which its id may be unknown to the provider."""
NO_VIDEO_GRACE: Final = 600.0
"""Seconds for which a completed generation may lack its video."""
BESIDES_SECONDS: Final = 60.0
"""What pace and answer may add to the wait for a poll; a longer gap was no waiting."""
RESUMED_SPREAD: Final = 1.0
"""Seconds over which the first polls of a resumed run are spread."""


async def completion(means: Means, record: Record, generation: Generation) -> Completed | None:
    """Ask until the video exists, or never will.

    Cancelling it leaves the task in flight; the next run asks again.

    Returns:
        The video; None where the task has ended without one.
    """
    table = means.durations.of(record.task.params)
    waiting = _Waiting(record, generation, table, means.clock)
    while True:
        wait = _next_poll(means, waiting)
        await means.clock.sleep(wait)
        await means.traffic.poll()
        outcome = await means.provider.fetch(generation.id, record.model)
        means.heard(Phase.FETCH, outcome)
        waiting.hears(wait, answered=_answered(outcome))
        match outcome:
            case Completed():
                waiting.ended()
                await _completed(means, waiting, outcome)
                return outcome
            case GenerationFailed(code=code, message=message):
                waiting.ended()
                means.tally.good()
                means.traffic.polled()
                code = failure_code(f"{code} {message}", code)
                await _fail(means, waiting, Cause.GENERATION, code, message)
                return None
            case Pending(status=word, known=known, queued=queued):
                means.tally.good()
                means.traffic.polled()
                waiting.runs()
                if not queued:
                    waiting.began()
                if not known:
                    means.tally.say_sometimes(f"the unknown status {word!r} is taken for pending")
            case NoVideo(reason=reason):
                means.tally.good()
                means.traffic.polled()
                waiting.runs()
                if waiting.without_video() > NO_VIDEO_GRACE:
                    await _fail(means, waiting, Cause.FETCH, "no_video", reason)
                    return None
            case trouble:
                if not await _go_on(means, waiting, trouble):
                    return None
        # Judged only behind an answer, by time that was watched: an outage or a suspend is not the
        # generation's.
        if _answered(outcome) and waiting.watched >= means.settings.timeout.generation:
            message = f"no video after {waiting.watched:.0f} s of waiting"
            await means.ledger.timed_out(record.task_id, message, polls=waiting.asked)
            means.tally.moved(record, Status.IN_FLIGHT, Status.TIMED_OUT, message=message)
            return None


def _answered(outcome: FetchOutcome) -> bool:
    """Tell whether the provider spoke of this generation, if only to say it knows none."""
    match outcome:
        case Pending() | NoVideo():
            return True
        case Answered() as trouble:
            return decide(Phase.FETCH, trouble) is Action.GRACE
        case _:
            return False


def _next_poll(means: Means, waiting: "_Waiting") -> float:
    if waiting.generation.resumed and not waiting.asked:
        # It is likely done by now; a spread keeps a whole night from asking at once.
        return means.rng.uniform(0.0, RESUMED_SPREAD)
    age = waiting.seconds if waiting.asked else 0.0
    return next_wait(means.settings.poll, waiting.table.rates(), age, means.rng)


async def _completed(means: Means, waiting: "_Waiting", outcome: Completed) -> None:
    means.tally.good()
    means.traffic.polled()
    queue_s, generate_s = waiting.split()
    news = await means.ledger.completed(
        waiting.record.task_id,
        video_url=without_secrets(outcome.url),
        at=means.clock.now(),
        polls=waiting.asked,
        queue_s=queue_s,
        generate_s=generate_s,
        cost_usd=outcome.cost_usd if outcome.cost_usd is not None else means.price,
        cost_is_estimate=outcome.cost_usd is None,
    )
    if news:
        means.tally.charged(outcome.cost_usd, means.price)
    means.tally.moved(waiting.record, Status.IN_FLIGHT, Status.COMPLETED)


async def _go_on(means: Means, waiting: "_Waiting", trouble: Trouble) -> bool:
    """Deal with a poll that was not answered as hoped; return whether to ask again."""
    said = describe(trouble)
    match decide(Phase.FETCH, trouble):
        case Action.RETRY_COUNTED:
            waiting.faults += 1
            if waiting.faults >= means.settings.retry.attempts:
                await _fail(means, waiting, Cause.FETCH, "fetch_refused", said)
                return False
        case Action.GRACE if waiting.watched > UNKNOWN_ID_GRACE:
            means.tally.say_sometimes(f"the provider does not know an id it gave: {said}")
            await means.clock.sleep(means.settings.poll.max)
        case Action.GRACE:
            pass  # the next poll is soon enough
        case Action.WAIT:
            seconds = max(1.0, means.backoff(waiting.troubles, trouble))
            means.traffic.polled_too_often(seconds)
            means.tally.say_sometimes(f"polls are slowed down: {said}", about="slow polls")
        case Action.PAUSE:
            means.pause(Phase.FETCH, trouble)
        case _:
            means.tally.say_sometimes(f"poll: {said}; trying again")
            await means.clock.sleep(means.backoff(waiting.troubles, trouble))
    means.check_outage()
    waiting.troubles += 1
    return True


async def _fail(means: Means, waiting: "_Waiting", cause: Cause, code: str, message: str) -> None:
    await means.ledger.failed(
        waiting.record.task_id, cause, code, message, at=means.clock.now(), polls=waiting.asked
    )
    means.failed(waiting.record, Status.IN_FLIGHT, message, free=cause is Cause.GENERATION)


class _Waiting:
    """What the polling of one generation has seen so far.

    Attributes:
        asked: Polls.
        faults: Polls in a row that were refused for the task's own reasons.
        troubles: Polls in a row that were not answered as hoped.
        watched: Seconds of waiting in this run that ended with an answer: what a generation is
            judged by. So no clock, outage or suspend ends it, and each run gives it its whole time.
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
        self.watched = 0.0
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

    def hears(self, wait: float, *, answered: bool) -> None:
        """Note a poll, the seconds that were to be waited for it, and whether it was answered."""
        now = self._clock.monotonic()
        self._unseen = now - self._heard_at > wait + BESIDES_SECONDS
        if answered:
            self.watched += min(now - self._asked_at, wait + BESIDES_SECONDS)
            self._heard_at = now
        self._asked_at = now
        self.asked += 1

    def runs(self) -> None:
        """Note that a poll found it not done yet."""
        self.faults = self.troubles = 0
        age = self.seconds
        if self._known_to_run is not None:
            self.table.runs(self._known_to_run, age)
        self._known_to_run = age

    def ended(self) -> None:
        """Note that a poll found it done."""
        if self._known_to_run is not None:
            self.table.ended(self._known_to_run, self.seconds)

    def began(self) -> None:
        """Note when a status first said that work has begun."""
        if self._left_queue is None:
            self._left_queue = self.seconds

    def without_video(self) -> float:
        """Note a completed status without a video; return for how many seconds it has been so."""
        if self._no_video is None:
            self._no_video = self.watched
        return self.watched - self._no_video

    def split(self) -> tuple[float | None, float | None]:
        """Return seconds in the queue and seconds generating, as far as polls could see them.

        What ended in an outage or a suspend would pass for slow, in this run and in those to come.
        """
        if self.generation.resumed or self._unseen:
            return None, None
        queue = self._left_queue if self._left_queue is not None else 0.0
        return round(queue, 3), round(self.seconds - queue, 3)
