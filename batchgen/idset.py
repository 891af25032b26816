"""A set of task ids in few bytes each, for the one place where every id of a job is held.

Pure. A Python set takes some 120 bytes an id; this takes 12 to 33.
"""

from array import array
from typing import Final

_FEWEST_SLOTS: Final = 1023
_FREE: Final = 0
"""No id's number: that would be twelve zeros, which base 32 does not write."""


class IdSet:
    """Ids as numbers in open addressing: each lies in the first free slot from its own place on."""

    def __init__(self) -> None:
        self._slots = array("Q", bytes(8 * _FEWEST_SLOTS))
        self._held = 0

    def __len__(self) -> int:
        """Count the ids."""
        return self._held

    def add(self, task_id: str) -> bool:
        """Take an id in; return False where it was there already."""
        # Exact, not a digest: 12 signs of base 36 are below 2^63.
        if not _put(self._slots, int(task_id, 36)):
            return False
        self._held += 1
        if 3 * self._held > 2 * len(self._slots):
            self._grow()
        return True

    def _grow(self) -> None:
        # Odd, so that a place depends on all signs of an id.
        slots = array("Q", bytes(8 * (2 * len(self._slots) + 1)))
        for number in self._slots:
            if number != _FREE:
                _put(slots, number)
        self._slots = slots


def _put(slots: "array[int]", number: int) -> bool:
    """Put a number into its slot; return False where it is there already."""
    place = number % len(slots)
    while (there := slots[place]) != _FREE:
        if there == number:
            return False
        place = place + 1 if place + 1 < len(slots) else 0
    slots[place] = number
    return True
