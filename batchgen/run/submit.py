"""A task's submit: intent made durable, POST, outcome made durable. Never repeated unasked."""

import hashlib
from contextlib import nullcontext
from http import HTTPStatus
from typing import Literal

from anyio.lowlevel import checkpoint_if_cancelled

from batchgen.errors import LedgerError
from batchgen.events import Level
from batchgen.ledger.tables import Record
from batchgen.outcomes import Accepted, Answered, NotSent, Trouble, Unusable, describe, failure_code
from batchgen.policy import Action, Phase, decide
from batchgen.run.means import Generation, Means
from batchgen.run.refused import LOOK_AGAIN_SECONDS, Refused
from batchgen.task import Cause, Status, task_id


async def submit(means: Means, record: Record) -> Generation | None:
    """Submit a task until the provider takes it, refuses it, or nobody can tell.

    When the run drains, a submit that has not left is given up and the task stays pending; one
    that has left is waited for.

    Returns:
        The generation; None where there is none to wait for.
    """
    generation: Generation | None = None
    with means.stopping.new_work():
        generation = await _until_taken(means, record)
    return generation  # noqa: RET504  # None where the run drained in the block above


async def _until_taken(means: Means, record: Record) -> Generation | None:
    if (refused := _refused_earlier(means, record)) is not None:
        with means.refusals.waiting(refused):
            found = await _found(means, record, refused)
        if found is not Status.PENDING:
            return _to_wait_for(found)
    tries = 0
    while True:
        name = means.ledger.new_client_request_id(record.task_id)
        try:
            async with means.traffic.post():
                if means.spending.give_up(record.task_id):
                    # A bill has raised the price since it was reserved; the task stays pending.
                    return None
                taken = means.clock.now()
                outcome = await _post(means, record, name, taken)
        except LedgerError as error:
            if not error.full:
                raise
            # Here and not in the ledger: who waits behind a shield cannot be told to stop.
            await means.wait_for_room(error)
            continue
        if isinstance(outcome, Accepted):
            return Generation(outcome.generation_id, taken)
        if outcome is None:
            return None
        means.check_outage()
        found = await _before_repeat(means, record, Refused(name, taken), outcome, tries)
        if found is not Status.PENDING:
            return _to_wait_for(found)
        tries += 1


def _to_wait_for(found: "_Found") -> Generation | None:
    return found if isinstance(found, Generation) else None


def _refused_earlier(means: Means, record: Record) -> Refused | None:
    """Return the submit of an earlier run that was refused here and was not repeated yet."""
    if record.client_request_id is None or record.submitted_at is None:
        return None
    if means.is_elsewhere(record):
        return None
    return Refused(record.client_request_id, record.submitted_at)


async def _before_repeat(
    means: Means, record: Record, refused: Refused, trouble: Trouble, tries: int
) -> "_Found":
    """Wait until a submit may be repeated; return what it became in spite of its refusal."""
    action = decide(Phase.SUBMIT, trouble)
    with nullcontext() if isinstance(trouble, NotSent) else means.refusals.waiting(refused):
        seconds = means.backoff(tries, trouble)
        if isinstance(trouble, Answered) and not trouble.from_api:
            # Less than the API's word: the log gets time to show what was taken all the same.
            seconds = max(seconds, LOOK_AGAIN_SECONDS)
        await means.clock.sleep(seconds)
        await means.traffic.repeat(Phase.SUBMIT)
        # A key that is refused opens no log either.
        locked = action is Action.PAUSE and means.traffic.breaker(Phase.FETCH).is_open
        if isinstance(trouble, NotSent) or locked:
            return Status.PENDING
        return await _found(means, record, refused)


_Found = Generation | Literal[Status.PENDING, Status.UNRESOLVED]
"""What a refused submit became: a generation, nothing (it is repeated), or nobody can tell."""


async def _found(means: Means, record: Record, refused: Refused) -> _Found:
    """Look a refused submit up before it is repeated; go on with what it became, if anything.

    A log that cannot be read stands against no repeat for long: the answer was a refusal, and a
    provider that is too busy for submits may be too busy for its log.
    """
    while True:
        await means.traffic.wait(means.traffic.submits)
        look = await means.refusals.look_up(refused, means.look_up, means.clock.now())
        if look.generation_id is not None and await means.ledger.accepted(
            record.task_id, look.generation_id, at=means.clock.now()
        ):
            means.tally.moved(record, Status.PENDING, Status.IN_FLIGHT)
            means.tally.say(
                f"task {record.task_id} was refused, but the provider's log shows that it was "
                "taken: it is not submitted again",
                Level.WARNING,
            )
            return Generation(look.generation_id, refused.at, resumed=True)
        if look.listed:
            said = "refused, but the provider's log has it without an id that could be its own"
            held = await means.ledger.in_doubt(record.task_id, said, at=means.clock.now())
            means.tally.moved(held, Status.PENDING, Status.UNRESOLVED, message=said)
            means.doubt(held, refused.client_request_id, refused.at)
            return Status.UNRESOLVED
        if look.whole or means.refusals.unreadable:
            return Status.PENDING
        await means.clock.sleep(LOOK_AGAIN_SECONDS)


async def _post(
    means: Means, record: Record, client_request_id: str, at: float
) -> Accepted | Trouble | None:
    """Make one submit, with its intent before it and its outcome behind it.

    Returns:
        What came of it; None where the task has ended or is held.
    """
    body = _request(means, record)
    outcome: Accepted | Trouble | None = None
    # A run that was told to end in this very turn makes no new POST behind the shield.
    await checkpoint_if_cancelled()
    with means.stopping.posting():
        await means.ledger.intend(
            record.task_id,
            client_request_id=client_request_id,
            body_sha256=hashlib.sha256(body).hexdigest(),
            reserved_usd=means.spending.price,
            base_url=means.base_url,
            at=at,
        )
        means.tally.submitted += 1
        outcome = await means.provider.submit(body, client_request_id)
        means.heard(Phase.SUBMIT, outcome)
        if isinstance(outcome, Accepted) and not await means.ledger.accepted(
            record.task_id, outcome.generation_id, at=means.clock.now()
        ):
            outcome = Unusable(f"the id {outcome.generation_id} was given to another task before")
        if isinstance(outcome, Accepted):
            means.tally.good()
            means.traffic.taken()
            means.tally.moved(record, Status.PENDING, Status.IN_FLIGHT)
        else:
            outcome = await _not_accepted(means, record, outcome, client_request_id)
    return outcome


def _request(means: Means, record: Record) -> bytes:
    """Return what is to be sent.

    Raises:
        LedgerError: It is not what the task's id was made of: the ledger is damaged.
    """
    task = record.task
    if task_id(means.provider_kind, task.params, task.repeat) != task.task_id:
        raise LedgerError(
            f"the request of task {task.task_id} is not what it was: the ledger is damaged; "
            "restore it from a copy, or run with another --output"
        )
    return task.body


async def _not_accepted(
    means: Means, record: Record, trouble: Trouble, client_request_id: str
) -> Trouble | None:
    """Record a submit that was not taken, or may have been; return it if it is to be repeated."""
    name, now, said = record.task_id, means.clock.now(), describe(trouble)
    action = decide(Phase.SUBMIT, trouble)
    if action is Action.HOLD:
        held = await means.ledger.in_doubt(name, said, at=now)
        means.tally.moved(held, Status.PENDING, Status.UNRESOLVED, message=said)
        # From when it left, not from when its answer was given up: the log has it at that time.
        means.doubt(held, client_request_id, held.submitted_at or now)
        if isinstance(trouble, Answered) and trouble.status == HTTPStatus.SERVICE_UNAVAILABLE:
            # Nothing proves that it was refused, but fewer submits will leave fewer in doubt.
            means.busy(trouble)
        return None
    if action is Action.FAIL:
        code = failure_code(said, "rejected")
        await means.ledger.failed(name, Cause.SUBMIT, code, said, at=now)
        means.failed(record, Status.PENDING, said, free=True)
        return None
    outcome = "not_sent" if isinstance(trouble, NotSent) else "refused"
    await means.ledger.not_taken(name, outcome, said, at=now)
    match action:
        case Action.WAIT:
            means.busy(trouble)
        case Action.PAUSE:
            means.pause(Phase.SUBMIT, trouble)
        case _:
            means.tally.say_sometimes(f"submit: {said}; trying again")
    return trouble
