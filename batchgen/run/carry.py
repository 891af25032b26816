"""The way of one task, as it reads: submit, wait for completion, download.

The slot is given back when the provider is done, not when the download is.
"""

from batchgen.ledger.tables import Record
from batchgen.outcomes import Completed
from batchgen.policy import Phase
from batchgen.run.completion import completion
from batchgen.run.download import adopt_file, download
from batchgen.run.means import Generation, Means
from batchgen.run.submit import submit
from batchgen.task import Status


async def carry(means: Means, record: Record, slot: object) -> None:
    """Carry a pending task, which holds a slot, as far as it goes.

    Cancelling it leaves every step that was made in the ledger.
    """
    try:
        generation = await submit(means, record)
        video = await _completed(means, record, generation, slot) if generation else None
    finally:
        means.traffic.give_slot_back(slot)
    if generation is not None and video is not None:
        await _downloaded(means, record, generation, video)


async def resume(means: Means, record: Record, generation: Generation, slot: object | None) -> None:
    """Go on with a task, which may hold a slot, from the id it was given earlier."""
    try:
        if record.status == Status.COMPLETED:
            if await adopt_file(means, record):
                return
            # Its address was signed for the run that was cut off.
            await means.ledger.expired(record.task_id)
            means.tally.moved(record, Status.COMPLETED, Status.IN_FLIGHT)
        video = await _completed(means, record, generation, slot)
    finally:
        means.traffic.give_slot_back(slot)
    if video is not None:
        await _downloaded(means, record, generation, video)


async def _completed(
    means: Means, record: Record, generation: Generation, slot: object | None
) -> Completed | None:
    with means.tally.during(Phase.FETCH):
        return await completion(means, record, generation, slot)


async def _downloaded(
    means: Means, record: Record, generation: Generation, video: Completed
) -> None:
    with means.tally.during(Phase.DOWNLOAD):
        await download(means, record, generation, video)
