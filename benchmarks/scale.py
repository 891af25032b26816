"""What a job of many tasks costs: expansion, plan, a run's memory, and going on with a night."""

import statistics
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks.account import Terms
from benchmarks.jobs import KEY
from benchmarks.processes import Usage, in_turns, measure, median_ratio, python
from benchmarks.scripts.expand import PROMPT, SHAPES
from benchmarks.server import serving
from benchmarks.tables import Table

IN_FLIGHT: Final = 200
ROWS: Final = "building and hashing a row"
PLAN: Final = "`batchgen plan` of one prompt, three axes"


def tables(quick: bool) -> Sequence[Table]:  # noqa: FBT001  # the signature of all benchmarks
    """Expand and plan 1,000,000 tasks; run 10,000 and 100,000 and go on with them."""
    return [
        _expansion(*((10_000, 1) if quick else (1_000_000, 3))),
        _nights(*(((100,), 1_000) if quick else ((10_000, 100_000), 1_000_000))),
    ]


def _expansion(tasks: int, times: int) -> Table:
    with tempfile.TemporaryDirectory() as folder:
        job = _job(Path(folder), tasks, "http://127.0.0.1:9")
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


def _nights(made: Sequence[int], admitted: int) -> Table:
    rows = [row for tasks in made for row in _night(tasks, None)]
    rows += _night(admitted, 1)
    return Table(
        f"A night's memory, {IN_FLIGHT} in flight",
        ["tasks", "", "peak MiB", "seconds", "goal"],
        rows,
        [
            (
                "A grid, from a server in a process of its own that takes no time; once each. "
                "Going on is the same command again: it finds all tasks and all files there and "
                "writes manifest and page anew."
            ),
            f"Of {admitted:,} tasks one is made: what is measured is to admit them all.",
        ],
    )


def _night(tasks: int, limit: int | None) -> Iterator[list[str]]:
    """Yield a row for a run and a row for the same command again."""
    with tempfile.TemporaryDirectory() as name, serving(Terms()) as server:
        folder = Path(name)
        job = _job(folder, tasks, server.url)
        goal = {100_000: "90 MiB", 1_000_000: "99 MiB"}.get(tasks, "")
        first = "all made" if limit is None else f"{limit} made"
        yield _row(tasks, first, _run(folder, job, limit), goal)
        yield _row(tasks, "gone on with", _run(folder, job, limit), f"{goal}, seconds".lstrip(", "))


def _row(tasks: int, what: str, usage: Usage, goal: str) -> list[str]:
    return [f"{tasks:,}", what, f"{usage.peak_mib:.0f}", f"{usage.wall:.1f}", goal]


def _run(folder: Path, job: Path, limit: int | None) -> Usage:
    bounds = [] if limit is None else ["--limit", str(limit)]
    return measure(
        python("-m", "batchgen", "run", job, "--display", "none", "--yes", *bounds),
        cwd=folder,
        environment={"AIMLAPI_KEY": KEY},
    )


def _job(folder: Path, tasks: int, url: str) -> Path:
    """Write a job whose file is small however many tasks it has."""
    job = folder / "job.yaml"
    job.write_text(
        "version: 1\n"
        f"prompts: ['{PROMPT}']\n"
        f"matrix: {{seed: 1-{tasks // 100}, guidance_scale: 1-10, shift: 1-10}}\n"
        f"provider: {{kind: aimlapi, base_url: '{url}'}}\n"
        f"run: {{concurrency: {IN_FLIGHT}, submits: 32, downloads: 32,"
        " poll: {first: 1ms, every: 1ms}}\n"
        f"output: {{dir: {folder / 'run'}}}\n"
    )
    return job
