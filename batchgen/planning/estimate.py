"""What new videos will take: money, requests, time, and where the budget ends. Pure."""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from batchgen.job import Budget

USUAL_POLLS: Final = 9.0
"""Polls of a generation where none is known: for one of a minute or two (design: at most 9)."""
_ROUNDING_USD: Final = 1e-6


class PriceSource(StrEnum):
    """Whose word a price is."""

    JOB = "budget.usd_per_video"
    PROVIDER = "provider"
    BILLS = "bills"
    """The highest of the latest bills, where it is higher than what was said."""


@dataclass(frozen=True, slots=True)
class Price:
    """What one video costs.

    Attributes:
        usd: US dollars.
        source: Whose word that is.
        play_money: Whether nobody pays it: the sandbox's is.
    """

    usd: float
    source: PriceSource
    play_money: bool


@dataclass(frozen=True, slots=True)
class Requests:
    """About how many requests a run makes.

    Attributes:
        submits: POSTs.
        polls: Questions how a generation stands.
        downloads: Files fetched.
    """

    submits: int
    polls: int
    downloads: int


def affordable(budget: Budget, price: Price | None, spent_usd: float, submits: int) -> int | None:
    """Return how many new videos the budget allows.

    Args:
        budget: What the run directory may cost in all.
        price: What one video costs; None where nobody knows.
        spent_usd: US dollars spent or reserved so far.
        submits: How many submits that were.

    Returns:
        The number; None where nothing bounds it that can be reckoned with.
    """
    bounds = []
    if budget.max_tasks is not None:
        bounds.append(budget.max_tasks - submits)
    if budget.max_usd is not None and price is not None and price.usd > 0:
        bounds.append(math.floor((budget.max_usd - spent_usd + _ROUNDING_USD) / price.usd))
    return max(0, min(bounds)) if bounds else None


def requests(new: int, to_fetch: int, polls_each: float) -> Requests:
    """Reckon the requests for new tasks, and for those whose generation is paid for already."""
    return Requests(new, math.ceil((new + to_fetch) * polls_each), new + to_fetch)


def seconds(new: int, concurrency: int, seconds_each: float) -> float:
    """Reckon how long new tasks take, `concurrency` at once.

    The last ones run alone: half a window more than the even share.
    """
    return seconds_each * max(1.0, new / concurrency + 0.5)
