"""The mistakes of a long file: the first ones of each kind, and how many more there are.

A hundred thousand bad rows are one slip, made once: they must not be a hundred thousand messages.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from batchgen.errors import Place, Problem

SHOWN: Final = 10
"""Mistakes of one kind that are shown."""


@dataclass(slots=True)
class _Kind:
    shown: list[Problem] = field(default_factory=list)
    more: int = 0
    first_line: int = 0
    last_line: int = 0


class Mistakes:
    """Collects mistakes by their kind."""

    def __init__(self) -> None:
        self._kinds: dict[str, _Kind] = {}

    def __bool__(self) -> bool:
        """Tell whether there are any."""
        return bool(self._kinds)

    def add(self, kind: str, line: int, draw: Callable[[], Problem]) -> None:
        """Note a mistake; it is drawn only where it will be shown.

        Args:
            kind: In a word or two, for "12 more mistakes of this kind (seed)".
            line: Its line, from 1.
            draw: Says what is wrong.
        """
        found = self._kinds.setdefault(kind, _Kind())
        if len(found.shown) < SHOWN:
            problem = draw()
            # The first one said of a place is the one that explains most.
            if not found.shown or found.shown[-1].place != problem.place:
                found.shown.append(problem)
            return
        found.more += 1
        found.first_line = found.first_line or line
        found.last_line = line

    def note(self, kind: str, problem: Problem) -> None:
        """Note a mistake that has been drawn already."""
        self.add(kind, problem.place.line, lambda: problem)

    def problems(self) -> list[Problem]:
        """Return those that are shown, and one for the rest of each kind."""
        problems = []
        for name, kind in self._kinds.items():
            problems += kind.shown
            if kind.more:
                problems.append(_rest(name, kind))
        return problems


def _rest(name: str, kind: _Kind) -> Problem:
    place = Place(kind.shown[0].place.file, kind.first_line)
    if kind.more == 1:
        return Problem(place, f"one more mistake of this kind ({name})")
    return Problem(
        place,
        f"{kind.more:,} more mistakes of this kind ({name})",
        hint=f"the last of them is in line {kind.last_line}",
    )
