"""What a person or a script waits for before a verb begins."""

import os
import pty
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.processes import REPO, Usage, in_turns, measure, median_ratio, python
from benchmarks.tables import Table

NOTHING: Final = "python -c pass"
GOALS: Final = {"batchgen --help": "at most 6.0"}


def tables(quick: bool) -> Sequence[Table]:  # noqa: FBT001  # the signature of all benchmarks
    """Compare the start of some verbs with that of Python."""
    times = 1 if quick else 15
    job = REPO / "jobs" / "seed-guidance-grid.yaml"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = in_turns(
            {
                NOTHING: lambda: measure(python("-c", "pass")),
                "import click": lambda: measure(python("-c", "import click")),
                "batchgen --help": lambda: measure(python("-m", "batchgen", "--help")),
                "batchgen --help, at a terminal": _help_at_a_terminal,
                "batchgen validate": lambda: measure(python("-m", "batchgen", "validate", job)),
                "batchgen plan": lambda: measure(python("-m", "batchgen", "plan", job), cwd=folder),
                "import aiohttp": lambda: measure(python("-c", "import aiohttp")),
            },
            times,
        )
    return [
        Table(
            "Start-up",
            ["", "CPU, ratio", "goal"],
            [
                [
                    what,
                    f"{median_ratio(usages, found[NOTHING], lambda usage: usage.cpu):.1f}",
                    GOALS.get(what, ""),
                ]
                for what, usages in found.items()
            ],
            [
                f"{times} rounds, medians of pairs.",
                "At a terminal help is drawn by rich-click; pipes, scripts and CI get click's.",
            ],
        )
    ]


def _help_at_a_terminal() -> Usage:
    """Ask for help as a person does: stderr is a terminal, which is enough for a look at it."""
    ours, theirs = pty.openpty()
    try:
        return measure(
            [
                "/bin/sh",
                "-c",
                'exec "$@" 2<>"$TERMINAL"',
                "sh",
                *python("-m", "batchgen", "--help"),
            ],
            environment={"TERMINAL": os.ttyname(theirs)},
        )
    finally:
        os.close(ours)
        os.close(theirs)
