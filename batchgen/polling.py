"""When to ask for a generation's status next. Pure: told the time, it answers with a wait."""

import random
from typing import Final

from batchgen.job import PollSettings

FIRST_SECONDS: Final = 1.0
GROWTH: Final = 0.2
"""Each wait is this share of the time waited so far: the lag stays a fifth of the duration."""
JITTER: Final = 0.1


def next_wait(settings: PollSettings, waited: float, rng: random.Random) -> float:
    """Return seconds until the next poll.

    Waits grow with the time already waited, from `first` (1 s where not set) to `max`, so that a
    generation of 5 seconds and one of 10 minutes are both seen soon after they are done. 10% of
    jitter keeps generations that began together from being asked about together.

    Args:
        settings: The job's wishes.
        waited: Seconds since the generation was taken.
        rng: Where chance comes from.
    """
    if waited <= 0:
        wait = settings.first if settings.first is not None else FIRST_SECONDS
    elif settings.every is not None:
        wait = settings.every
    else:
        wait = max(FIRST_SECONDS, waited * GROWTH)
    return min(wait, settings.max) * rng.uniform(1 - JITTER, 1 + JITTER)
