"""How far another machine's clock is ahead of ours, from the Date headers of its answers.

Pure: takes the local time as an argument. Date has whole seconds and is when the answer was made
(RFC 9110, 6.6.1); of an answer out of a cache it is older by its Age (RFC 9111, 5.1).
"""

from collections import deque
from collections.abc import Mapping
from statistics import median
from typing import Final

from batchgen.headers import age, http_date
from batchgen.terminal import duration

SAMPLES: Final = 15
"""Answers remembered: a clock that was set is noticed after half as many."""
ENOUGH: Final = 3
"""With fewer samples nobody can tell the odd one."""
MAX_OFFSET: Final = 30 * 86_400.0
"""Seconds; a Date further off comes from a machine that does not know the time."""
WORTH_SAYING: Final = 60.0
"""Seconds; less is common, and harms nothing."""


def objection(offset: float | None) -> str | None:
    """Say that two clocks differ, by how much and which is ahead; None if it hardly matters.

    Args:
        offset: Seconds by which the provider's clock is ahead of ours; None while unknown.
    """
    if offset is None or abs(offset) <= WORTH_SAYING:
        return None
    side = "ahead of" if offset > 0 else "behind"
    return (
        f"the provider's clock is {duration(abs(offset))} {side} this machine's: check this "
        "machine's date and time. The provider's log and dates are read by its own clock; times in "
        "the manifest are this machine's"
    )


class ClockOffset:
    """Estimates the offset between one origin's clock and ours, from its latest answers.

    One answer whose Date is wrong (a cache that gives no Age, one bad machine of many) changes
    neither the estimate nor, once there are `ENOUGH`, the bounds.
    """

    def __init__(self) -> None:
        self._samples: deque[float] = deque(maxlen=SAMPLES)

    def observe(self, headers: Mapping[str, str], received: float) -> None:
        """Take in an answer's headers; one without a usable Date says nothing.

        Args:
            headers: The answer's headers.
            received: Unix seconds by our clock when they came.
        """
        date = http_date(headers.get("date"))
        if date is None:
            return
        # The Date is a whole second: on average half of one had passed.
        offset = date + age(headers) + 0.5 - received
        if abs(offset) <= MAX_OFFSET:
            self._samples.append(offset)

    @property
    def seconds(self) -> float | None:
        """Seconds by which the other clock is ahead; None while too little is known."""
        return median(self._samples) if len(self._samples) >= ENOUGH else None

    @property
    def bounds(self) -> tuple[float, float]:
        """Least and greatest offset that may hold now.

        The range of the samples but for the lowest and the highest, so that a clock that was just
        set, or several machines that disagree, are within. While too little is known, all samples
        and 0 are.
        """
        if len(self._samples) < ENOUGH:
            return min([0.0, *self._samples]), max([0.0, *self._samples])
        inner = sorted(self._samples)[1:-1]
        return inner[0], inner[-1]
