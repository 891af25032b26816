"""What a benchmark hands back: a table for a person to read."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Table:
    """Figures with the goal they are held against.

    Attributes:
        title: A heading.
        columns: Their names.
        rows: Their cells.
        notes: Sentences below it: what was measured, how often, and what was missing.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()

    def __str__(self) -> str:
        """Write it as Markdown, which terminals show as well."""
        cells = [self.columns, *self.rows]
        widths = [max(len(row[place]) for row in cells) for place in range(len(self.columns))]
        lines = [f"## {self.title}", ""]
        lines += [_line(self.columns, widths), _line(["-" * width for width in widths], widths)]
        lines += [_line(row, widths) for row in self.rows]
        if self.notes:
            lines += ["", *(f"- {note}" for note in self.notes)]
        return "\n".join(lines) + "\n"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    return f"| {' | '.join(padded)} |"


Benchmark = Callable[[bool], Sequence[Table]]
"""Takes whether it is to be quick (a small size that only shows that it runs)."""
