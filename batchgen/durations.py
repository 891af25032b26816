"""How long generations take, learned from those that were watched.

Pure. An actuary's life table: for each bin of time, how much of it was watched and how much of what
was watched ended there. So a generation that still runs counts as well as one that is done, and
what gets slower is noticed before the first slow one has ended.
"""

import math
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Final

from batchgen.models import Scalar

_SHORTEST: Final = 0.25
_LONGEST: Final = 7200.0
_RATIO: Final = 1.06
"""Bins grow with time: what takes 100 s need not be known to the second."""
EDGES: Final = (
    0.0,
    *(
        _SHORTEST * _RATIO**step
        for step in range(math.ceil(math.log(_LONGEST / _SHORTEST, _RATIO)) + 1)
    ),
)
"""Where bins begin and end, in seconds since the submit."""
_WIDTHS: Final = tuple(end - begin for begin, end in pairwise(EDGES))

MEMORY: Final = 100.0
"""Generations that count: the one that ended so many ends ago counts 1/e."""
_PRIOR_CHANCE: Final = 0.25 * math.log(_RATIO)
"""Of ending in a bin, before anything is known: at any age, a fifth of what still runs ends before
it is 2.4 times as old."""
_PRIOR_WEIGHT: Final = 0.1
"""Generations that the prior counts for: it speaks where nothing else was seen."""
_EVEN_SHARE: Final = 0.1
"""How much of one that was done at its first poll may have ended at any time before."""
_NEWS_SHARE: Final = 0.05
"""Beliefs are worked out again when there is so much news, as a share of what is counted."""
_STILL_RUNNING: Final = 0.1
"""How much news it is that one has not ended yet."""
_SEEN_LATE: Final = 0.05
"""A duration from the ledger ends with the poll that saw it: so much of it may be lag."""

Kind = tuple[tuple[str, Scalar], ...]
"""What generations have in common that take about as long: names and values."""

_DRIVE_TIME: Final = frozenset(
    {
        "model",
        "inference_steps",
        "num_inference_steps",
        "steps",
        "sampler",
        "resolution",
        "size",
        "width",
        "height",
        "aspect_ratio",
        "duration",
        "seconds",
        "num_frames",
        "frames",
        "fps",
        "quality",
        "enhance_prompt",
        "enable_prompt_expansion",
    }
)
MOST_KINDS: Final = 64
"""Kinds that are told apart; those met later share one table, so that memory stays bounded."""


def kind_of(params: Mapping[str, Scalar]) -> Kind:
    """Return what of a request decides how long its generation takes."""
    return tuple(sorted((name, params[name]) for name in _DRIVE_TIME & params.keys()))


@dataclass(frozen=True, slots=True)
class Rates:
    """What is believed of a kind of generation.

    Attributes:
        per_second: For each bin, the hazard: ends a second, of those that still run.
        sums: For each edge, the hazard added up from the submit until there.
    """

    per_second: tuple[float, ...]
    sums: tuple[float, ...]

    def sum_at(self, age: float) -> float:
        """Return the hazard added up until `age` seconds."""
        place = place_of(age)
        return self.sums[place] + self.per_second[place] * (min(age, EDGES[-1]) - EDGES[place])


def place_of(age: float) -> int:
    """Return which bin an age in seconds falls into; the last one has no end."""
    return max(0, min(bisect_right(EDGES, age), len(_WIDTHS)) - 1)


class LifeTable:
    """What was seen of one kind of generation, the last of them counting most."""

    def __init__(self) -> None:
        self._watched = [0.0] * len(_WIDTHS)
        self._ended = [0.0] * len(_WIDTHS)
        self._counted = 0.0
        self._ends = 0
        self._news = 0.0
        self._rates = self._work_out()

    def rates(self) -> Rates:
        """Return what is believed now."""
        if self._news > _NEWS_SHARE * self._counted:
            self._forget()
            self._rates = self._work_out()
            self._news = 0.0
        return self._rates

    def runs(self, since: float, until: float) -> None:
        """Note that one which ran at age `since` still ran at `until`, in seconds."""
        for place, share in _spread(since, until):
            self._watched[place] += share
        self._news += _STILL_RUNNING

    def ended(self, since: float, until: float) -> None:
        """Note that one which ran at age `since` was done at `until`, in seconds.

        When it was done in between is nowhere said: it is shared out over the bins as is believed
        so far, a step of the EM method for what is known to lie in an interval only.
        """
        spread = _spread(since, until)
        if not spread:
            return
        rates, left, parts = self.rates(), 1.0, []
        for place, share in spread:
            stays = left * math.exp(-rates.per_second[place] * _WIDTHS[place] * share)
            parts.append(left - stays)
            left = stays
        # Where what is believed is wrong, only this lets an end be seen early.
        even = _EVEN_SHARE if since <= 0 else 0.0
        believed, length, left = 1.0 - left, until - since, 1.0
        for (place, share), part in zip(spread, parts, strict=True):
            evenly = share * _WIDTHS[place] / length
            ends = (1.0 - even) * part / believed + even * evenly if believed > 0 else evenly
            self._ended[place] += ends
            self._watched[place] += share * (left - ends / 2)
            left -= ends
        self._ends += 1
        self._news += 1.0

    def took(self, seconds: float) -> None:
        """Note one of an earlier run, by the seconds from its submit to the poll that saw it."""
        seen = seconds * (1.0 - _SEEN_LATE)
        self.runs(0.0, seen)
        self.ended(seen, seconds)

    def _forget(self) -> None:
        """Let older generations count less, by as much as new ones ended."""
        keep = math.exp(-self._ends / MEMORY)
        self._counted = self._counted * keep + self._ends
        if self._ends:
            self._watched = [amount * keep for amount in self._watched]
            self._ended = [amount * keep for amount in self._ended]
        self._ends = 0

    def _work_out(self) -> Rates:
        chances = [
            (ended + _PRIOR_WEIGHT * _PRIOR_CHANCE) / (watched + _PRIOR_WEIGHT)
            for ended, watched in zip(_smooth(self._ended), _smooth(self._watched), strict=True)
        ]
        return Rates(
            per_second=tuple(
                chance / width for chance, width in zip(chances, _WIDTHS, strict=True)
            ),
            sums=tuple(accumulate(chances, initial=0.0)),
        )


class Durations:
    """A life table for each kind of generation."""

    def __init__(self) -> None:
        self._tables: dict[Kind, LifeTable] = {}
        self._others = LifeTable()

    def of(self, params: Mapping[str, Scalar]) -> LifeTable:
        """Return the table of a request's kind."""
        kind = kind_of(params)
        table = self._tables.get(kind)
        if table is None and len(self._tables) < MOST_KINDS:
            table = self._tables[kind] = LifeTable()
        return table or self._others


def _spread(since: float, until: float) -> list[tuple[int, float]]:
    """Return the bins between two ages in seconds, each with the share of it that lies there."""
    since, until = max(0.0, since), min(until, EDGES[-1])
    if until <= since:
        return []
    first, last = place_of(since), place_of(until)
    if first == last:
        return [(first, (until - since) / _WIDTHS[first])]
    return [
        (first, (EDGES[first + 1] - since) / _WIDTHS[first]),
        *((place, 1.0) for place in range(first + 1, last)),
        (last, (until - EDGES[last]) / _WIDTHS[last]),
    ]


def _smooth(amounts: list[float]) -> list[float]:
    """Let each bin learn from two neighbours on either side: a hundred generations are few."""
    padded = [0.0, 0.0, *amounts, 0.0, 0.0]
    return [
        (far + 2 * near + 3 * here + 2 * next_ + farther) / 9
        for far, near, here, next_, farther in zip(
            padded, padded[1:], padded[2:], padded[3:], padded[4:], strict=False
        )
    ]
