"""When to ask for a generation's status next. Pure: told the time, it answers with a wait.

A poll costs a request, a late one the seconds for which a slot stands idle. Where the hazard is h
(ends a second, of what still runs), polls sqrt(2 c / h) apart cost least, c being what a poll may
cost in seconds (J. B. Keller, "Optimum checking schedules for systems subject to random failure",
Management Science 21, 1974). Where the hazard is low now and higher later, as it is before the
first generation can be done, that asks too often; the exact schedule (Barlow, Hunter and Proschan,
"Optimum checking procedures", 1963) waits until the chance that there is something to see makes up
for a poll. So does this one, with Keller's answer for what comes after the next poll.
"""

import math
import random
from typing import Final

from batchgen.durations import EDGES, Rates, place_of
from batchgen.job import PollSettings

POLL_COST: Final = 0.3
"""Seconds of lag that are worth a poll. With 0.3 generations of a minute or two are asked about
some 9 times and seen within 2.5 s, with 1.0 some 5 times and within 4.5 s, on average:
`benchmarks/polling.py`."""
SHORTEST_WAIT: Final = 0.3
"""Seconds. However sure it is that a generation is done any moment, nobody asks more often."""
LATEST_FIRST: Final = 600.0
"""Seconds. What was slow last night may be fast today, and only a poll can tell."""
JITTER: Final = 0.05


def next_wait(
    settings: PollSettings,
    rates: Rates,
    waited: float,
    rng: random.Random,
    *,
    cost: float = POLL_COST,
) -> float:
    """Return seconds until the next poll.

    The first poll comes when the first generations of this kind may be done, later ones as often as
    is worth it, and at least every `max`. 5% of jitter keeps generations that began together from
    being asked about together.

    Args:
        settings: The job's wishes: `first` and `every` outweigh what was learned.
        rates: What is believed of generations of this kind.
        waited: Seconds since the generation was taken; 0 before its first poll.
        rng: Where chance comes from.
        cost: What a poll may cost, in seconds.
    """
    chosen = settings.every if waited > 0 else settings.first
    if chosen is not None:
        wait = min(chosen, settings.max) if waited > 0 else chosen
    else:
        wait = max(SHORTEST_WAIT, worth_asking(rates, waited, cost) - waited)
        # Generations may be known to take longer than `max`: it bounds what comes after.
        wait = min(wait, settings.max if waited > 0 else LATEST_FIRST)
    return wait * rng.uniform(1 - JITTER, 1 + JITTER)


def worth_asking(rates: Rates, waited: float, cost: float) -> float:
    """Return the age in seconds at which it is worth a poll to ask again; infinity if never.

    At age x a poll is worth it when, of what runs now, enough has ended: when the share that has,
    set against what still runs, reaches sqrt(2 c h(x)).
    """
    known, begin = rates.sum_at(waited), place_of(waited)
    hazards, sums, double_cost = rates.per_second, rates.sums, 2 * cost
    for place in range(begin, len(hazards)):
        rate = hazards[place]
        due = known + math.log1p(math.sqrt(double_cost * rate))
        if sums[place + 1] >= due:
            # A bin of a lower hazard than the one before may be due at its very beginning.
            return max(waited, EDGES[place], EDGES[place] + (due - sums[place]) / rate)
    return math.inf
