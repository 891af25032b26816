"""A generation's completion: asked for at the right times, until there is a video or never one."""

from typing import Final

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
from batchgen.run.control import ask_control
from batchgen.run.means import Generation, Means
from batchgen.run.waiting import Waiting
from batchgen.task import FORGOTTEN, Cause, Status
from batchgen.urls import without_secrets

STUCK_POLLS: Final = 3
"""Polls in a row without an answer, behind which a run that is to end waits no longer."""
NO_VIDEO_GRACE: Final = 600.0
"""Seconds for which a completed generation may lack its video."""
RESUMED_SPREAD: Final = 1.0
"""Seconds over which the first polls of a resumed run are spread."""


async def completion(
    means: Means, record: Record, generation: Generation, slot: object | None = None
) -> Completed | None:
    """Ask until the video exists, or never will.

    Cancelling it leaves the task in flight; the next run asks again.

    Args:
        means: What it is asked with.
        record: The task.
        generation: The provider's work on it.
        slot: Its place among those in flight, which is given back where the provider turns out not
            to know it; None where it has none.

    Returns:
        The video; None where the task has ended without one, or nobody waits for it.
    """
    try:
        return await _until_known(means, record, generation, slot)
    finally:
        means.traffic.beside.discard(record.task_id)


async def _until_known(
    means: Means, record: Record, generation: Generation, slot: object | None
) -> Completed | None:
    table = means.durations.of(record.task.params)
    waiting = Waiting(record, generation, table, means.clock)
    while True:
        outcome = await _asked(means, waiting, slot)
        match outcome:
            case Completed():
                waiting.ended()
                await _completed(means, waiting, outcome)
                return outcome
            case GenerationFailed(code=code, message=message, cost_usd=bill):
                waiting.ended()
                means.tally.good()
                means.traffic.polled()
                code = failure_code(f"{code} {message}", code)
                await _fail(means, waiting, Cause.GENERATION, code, message, bill)
                return None
            case Pending() | NoVideo():
                _still_runs(means, waiting, outcome)
                if isinstance(outcome, NoVideo) and waiting.without_video > NO_VIDEO_GRACE:
                    reason, bill = outcome.reason, outcome.cost_usd
                    await _fail(means, waiting, Cause.FETCH, "no_video", reason, bill)
                    return None
            case trouble:
                if not await _go_on(means, waiting, trouble, slot):
                    return None
        if generation.once:
            return None
        # By time that was watched: an outage or a suspend is not the generation's.
        if waiting.judged and waiting.watched >= means.settings.timeout.generation:
            await _out_of_time(means, waiting, outcome)
            return None


async def _asked(means: Means, waiting: Waiting, slot: object | None) -> FetchOutcome:
    """Ask once, when it is worth it; return what was answered."""
    record, generation = waiting.record, waiting.generation
    if beside := not means.traffic.holds(slot):
        means.traffic.beside.add(record.task_id)
    wait = _next_poll(means, waiting, beside=beside)
    await means.clock.sleep(wait)
    if waiting.lacks_a_control(means.traffic.polled_well_at):
        await ask_control(means)
    async with means.traffic.first_question(beside=beside and not waiting.asked):
        await means.traffic.poll()
        async with means.traffic.questions:
            outcome = await means.provider.fetch(generation.id, record.model)
    means.heard(Phase.FETCH, outcome)
    well_at = means.traffic.polled_well_at
    waiting.hears(wait, answered=_answered(outcome), others_well_at=well_at)
    return outcome


async def _out_of_time(means: Means, waiting: Waiting, outcome: FetchOutcome) -> None:
    last = ""
    if isinstance(outcome, Trouble):
        if decide(Phase.FETCH, outcome) is Action.GRACE:
            await _forgotten(means, waiting, outcome)
            return
        last = f"; the last poll: {describe(outcome)}"
    record, message = waiting.record, f"no video after {waiting.watched:.0f} s of waiting{last}"
    await means.ledger.timed_out(record.task_id, message, polls=waiting.asked)
    means.tally.moved(record, Status.IN_FLIGHT, Status.TIMED_OUT, message=message)


def _answered(outcome: FetchOutcome) -> bool:
    """Tell whether the provider spoke of this generation, if only to say it knows none."""
    match outcome:
        case Pending() | NoVideo():
            return True
        case Answered() as trouble:
            return decide(Phase.FETCH, trouble) is Action.GRACE
        case _:
            return False


def _next_poll(means: Means, waiting: Waiting, *, beside: bool) -> float:
    if waiting.generation.resumed and not waiting.asked:
        # It is likely done by now; a spread keeps a whole night from asking at once.
        return means.rng.uniform(0.0, RESUMED_SPREAD)
    age = waiting.seconds if waiting.asked else 0.0
    wait = next_wait(means.settings.poll, waiting.table.rates(), age, means.rng)
    if not beside or not means.traffic.is_at_work:
        return wait
    # However many there are, they are asked about no more often than the slots full of new ones.
    settings = means.settings
    return max(wait, settings.poll.max * len(means.traffic.beside) / settings.concurrency)


def _still_runs(means: Means, waiting: Waiting, outcome: Pending | NoVideo) -> None:
    means.tally.good()
    means.tally.troubled.discard(waiting.record.task_id)
    means.traffic.polled()
    waiting.runs()
    match outcome:
        case NoVideo():
            waiting.lacks_its_video()
        case Pending(status=word, known=known, queued=queued):
            if not queued:
                waiting.began()
            if not known:
                means.tally.say_sometimes(f"the unknown status {word!r} is taken for pending")


async def _completed(means: Means, waiting: Waiting, outcome: Completed) -> None:
    means.tally.good()
    means.traffic.polled()
    queue_s, generate_s = waiting.split()
    bill = outcome.cost_usd
    booking = await means.ledger.completed(
        waiting.record.task_id,
        video_url=without_secrets(outcome.url),
        at=means.clock.now(),
        polls=waiting.asked,
        queue_s=queue_s,
        generate_s=generate_s,
        cost_usd=bill if bill is not None else means.spending.price,
        cost_is_estimate=bill is None,
    )
    means.control.knows(waiting.generation.id, waiting.record.model)
    means.book(waiting.record, booking)
    means.tally.moved(waiting.record, Status.IN_FLIGHT, Status.COMPLETED)


async def _go_on(means: Means, waiting: Waiting, trouble: Trouble, slot: object | None) -> bool:
    """Deal with a poll that was not answered as hoped; return whether to ask again."""
    said = describe(trouble)
    action = decide(Phase.FETCH, trouble)
    if action is Action.PAUSE and waiting.singled_out:
        action = Action.RETRY_COUNTED  # others are answered: it stands against this one alone
    match action:
        case Action.RETRY_COUNTED:
            waiting.faults += 1
            if waiting.faults >= means.settings.retry.attempts:
                await _fail(means, waiting, Cause.FETCH, "fetch_refused", said)
                return False
        case Action.GRACE:
            waiting.unknown += 1
            if waiting.is_forgotten:
                await _forgotten(means, waiting, trouble)
                return False
            if waiting.generation.resumed or (waiting.singled_out and not waiting.may_be_unknown):
                means.traffic.give_slot_back(slot)
                means.traffic.first_wave.over(waiting.record.task_id)
            if not waiting.may_be_unknown:
                means.tally.say_sometimes(f"the provider does not know an id it gave: {said}")
                await means.clock.sleep(means.settings.poll.max)
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
    if waiting.troubles >= STUCK_POLLS:
        means.tally.troubled.add(waiting.record.task_id)
    return True


async def _forgotten(means: Means, waiting: Waiting, trouble: Trouble) -> None:
    """End a task whose id the provider no longer knows; the next run asks about it once more."""
    record, message = waiting.record, f"the provider no longer knows its id: {describe(trouble)}"
    await means.ledger.failed(
        record.task_id,
        Cause.FETCH,
        FORGOTTEN,
        message,
        at=means.clock.now(),
        polls=waiting.asked,
    )
    earlier = waiting.generation.resumed
    means.failed(record, Status.IN_FLIGHT, message, free=False, earlier=earlier)


async def _fail(
    means: Means,
    waiting: Waiting,
    cause: Cause,
    code: str,
    message: str,
    bill: float | None = None,
) -> None:
    booking = await means.ledger.failed(
        waiting.record.task_id,
        cause,
        code,
        message,
        at=means.clock.now(),
        polls=waiting.asked,
        bill_usd=bill,
    )
    means.book(waiting.record, booking)
    means.failed(waiting.record, Status.IN_FLIGHT, message, free=cause is Cause.GENERATION)
