"""What a job of many tasks costs, however few of them are made."""

import statistics
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks.account import Terms
from benchmarks.jobs import grid, run
from benchmarks.processes import Usage, in_turns, measure, median_ratio, python
from benchmarks.scripts.expand import SHAPES
from benchmarks.server import serving
from benchmarks.tables import Table

IN_FLIGHT: Final = 200
ROWS: Final = "building and hashing a row"
PLAN: Final = "`batchgen plan` of one prompt, three axes"


def tables(quick: bool) -> Sequence[Table]:  # noqa: FBT001  # the signature of all benchmarks
    """Expand, plan and admit 1,000,000 tasks."""
    return [
        _expansion(*((10_000, 1) if quick else (1_000_000, 3))),
        _admission(1_000 if quick else 1_000_000),
    ]


def _expansion(tasks: int, times: int) -> Table:
    with tempfile.TemporaryDirectory() as folder:
        job = grid(Path(folder), tasks, "http://127.0.0.1:9", IN_FLIGHT)
        found = in_turns(
            {
                ROWS: lambda: measure(python("-m", "benchmarks.scripts.rows", str(tasks))),
                **{shape: partial(_expand, shape, tasks) for shape in SHAPES},
                PLAN: lambda: measure(python("-m", "batchgen", "plan", "--json", job)),
            },
            times,
        )
    return Table(
        f"Expansion: {tasks:,} tasks",
        ["", "CPU, ratio", "tasks/s", "peak MiB", "goal"],
        [
            [
                name,
                f"{median_ratio(usages, found[ROWS], lambda usage: usage.cpu):.2f}",
                f"{tasks / statistics.median(usage.cpu for usage in usages):,.0f}",
                f"{statistics.median(usage.peak_mib for usage in usages):.0f}",
                {ROWS: "", PLAN: "at most 3.0, 100 MiB"}.get(name, "at most 3.0"),
            ]
            for name, usages in found.items()
        ],
        [
            f"{times} rounds, medians of pairs; whole processes, start-up included.",
            (
                "The goal of 3.0 is 150,000 tasks/s on the machine where a row takes 2.2 us. Many "
                "prompts are held as the job is; of the rest only a variable needs memory, 8 bytes "
                "a slot, since two of its values may ask for the same."
            ),
        ],
    )


def _expand(shape: str, tasks: int) -> Usage:
    return measure(python("-m", "benchmarks.scripts.expand", shape, str(tasks)))


def _admission(tasks: int) -> Table:
    made = 2 * IN_FLIGHT
    with tempfile.TemporaryDirectory() as name, serving(Terms(service=2.0)) as server:
        job = grid(Path(name), tasks, server.url, IN_FLIGHT)
        rows = [
            [what, f"{usage.peak_mib:.0f}", f"{usage.wall:.1f}", "99 MiB"]
            for what, usage in (
                (f"all admitted, {made} made", run(job, "--limit", str(made))),
                (f"the same command again: {made} more", run(job, "--limit", str(made))),
            )
        ]
    return Table(
        f"Memory: a run of {tasks:,} tasks, {IN_FLIGHT} in flight",
        ["", "peak MiB", "seconds here", "goal"],
        rows,
        [
            (
                "Once each, not a ratio: memory does not grow with the job. The time is that of "
                "taking all tasks in, and of manifest and page, which list them."
            ),
        ],
    )
