"""Asks the provider about an id before a task is given it: a slip of the pen is never a video."""

from collections.abc import Mapping

import anyio

from batchgen.errors import BatchgenError, ProviderRefused, UsageError
from batchgen.job import Job
from batchgen.outcomes import (
    Completed,
    FetchOutcome,
    GenerationFailed,
    NoVideo,
    Pending,
    Trouble,
    describe,
)
from batchgen.policy import Action, Phase, decide
from batchgen.providers.opening import open_provider
from batchgen.rundir import RunDirectory
from batchgen.terminal import printable


def check_id(
    job: Job,
    directory: RunDirectory,
    environment: Mapping[str, str],
    generation_id: str,
    model: str,
) -> str:
    """Ask the provider once whether it knows a generation. Blocks.

    Args:
        job: Whose provider is asked.
        directory: The run directory.
        environment: Where the provider's key stands.
        generation_id: The generation.
        model: The model that the task was submitted to.

    Returns:
        How the generation stands, in words.

    Raises:
        UsageError: The provider does not know it.
        ProviderRefused: The provider could not be asked, or not with this key.
    """

    async def ask() -> FetchOutcome:
        async with open_provider(job, directory, environment) as provider:
            return await provider.fetch(generation_id, model)

    outcome = anyio.run(ask)
    if (error := objection(generation_id, outcome)) is not None:
        raise error
    return standing(outcome)


def objection(generation_id: str, outcome: FetchOutcome) -> BatchgenError | None:
    """Say why an id is not to be adopted, from what came of asking about it; None where it is."""
    if not isinstance(outcome, Trouble):
        return None
    said = describe(outcome)
    if decide(Phase.FETCH, outcome) in (Action.GRACE, Action.RETRY_COUNTED):
        return UsageError(
            f"the provider does not know the generation {generation_id} ({said}): "
            "nothing was changed"
        )
    return ProviderRefused(
        f"the provider could not be asked about {generation_id} ({said}): nothing was changed; "
        "run the same command when it answers"
    )


def standing(outcome: FetchOutcome) -> str:
    """Say how a generation stands that the provider knows."""
    match outcome:
        case Completed():
            return "its video is there"
        case GenerationFailed(message=message):
            return f"it failed: {printable(message)}"
        case NoVideo(reason=reason):
            return f"completed without a video: {printable(reason)}"
        case Pending(status=status):
            return printable(status)
        case _:
            return describe(outcome)
