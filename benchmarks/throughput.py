"""What batchgen costs over the requests themselves: tasks that take no time, a ledger that does."""

import statistics
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from benchmarks.account import Terms
from benchmarks.jobs import Wanted, grid, run
from benchmarks.processes import Usage, measure, median_ratio, python
from benchmarks.server import serving
from benchmarks.tables import Table

AT_ONCE: Final = 200
BARE: Final = "bare loop"
SAME: Final = "bare loop, a connection a POST"
FORCED: Final = "the same, files forced to disk"
OURS: Final = "batchgen run"
AGAIN: Final = "the same command again"
GOALS: Final = {OURS: "1.25, 90 MiB", AGAIN: "seconds"}
FREE: Final = Terms(pending=2)
"""Two answers that say it is not done yet, and a third that it is: three polls a task."""


def tables(quick: bool) -> Sequence[Table]:  # noqa: FBT001  # the signature of all benchmarks
    """Compare `batchgen run`, ledger and all, with a bare loop of the same requests."""
    return [
        _table(tasks, times)
        for tasks, times in ([(50, 1)] if quick else [(10_000, 2), (100_000, 1)])
    ]


def _table(tasks: int, times: int) -> Table:
    found = _measured(tasks, times)
    rows = [
        [
            name,
            f"{statistics.median(usage.wall for usage in usages):.0f}",
            f"{median_ratio(found[BARE], usages, lambda usage: usage.wall):.2f}",
            f"{median_ratio(usages, found[BARE], lambda usage: usage.cpu):.2f}",
            f"{statistics.median(usage.peak_mib for usage in usages):.0f}",
            GOALS.get(name, ""),
        ]
        for name, usages in found.items()
    ]
    return Table(
        f"Throughput: {tasks:,} tasks of no service time, {AT_ONCE} at once",
        ["", "seconds here", "tasks/s, ratio", "CPU a task, ratio", "peak MiB", "goal"],
        rows,
        [
            (
                f"A task is 1 POST, 3 polls and a file of {FREE.clip_bytes // 1000} kB, from a "
                f"server in a process of its own; rounds in turns: {times}; medians of pairs."
            ),
            (
                "The bare loop keeps nothing, checks nothing and forces nothing to disk. batchgen "
                "commits five steps a task and forces each file and its name to disk; the third "
                "row is a bare loop that forces them, too."
            ),
            (
                "batchgen makes a connection for each POST, since one on a kept connection may be "
                "lost; the second row is a bare loop that does so, too."
            ),
            "Again, it finds all tasks and files there, and writes manifest and page anew.",
        ],
    )


def _measured(tasks: int, times: int) -> Mapping[str, Sequence[Usage]]:
    """Give each contender a new folder and a server with empty books, in turns.

    Folders go when all is done: where thousands of files were deleted, ext4 looks for minutes past
    each inode that was theirs, at the cost of whoever makes files next.
    """
    wanted = Wanted(tasks, AT_ONCE)
    found: dict[str, list[Usage]] = {BARE: [], SAME: [], FORCED: [], OURS: [], AGAIN: []}
    with tempfile.TemporaryDirectory() as folders:
        for _ in range(times):
            for name, how in ((BARE, "keep"), (SAME, "close"), (FORCED, "force")):
                with _place(folders) as (folder, url):
                    found[name].append(_bare(folder, url, wanted, how))
            with _place(folders) as (folder, url):
                job = grid(folder, tasks, url, AT_ONCE)
                found[OURS].append(run(job))
                found[AGAIN].append(run(job))
    return found


@contextmanager
def _place(folders: str) -> Iterator[tuple[Path, str]]:
    with serving(FREE) as server:
        yield Path(tempfile.mkdtemp(dir=folders)), server.url


def _bare(folder: Path, url: str, wanted: Wanted, how: str) -> Usage:
    script = "benchmarks.scripts.bare_loop"
    prompts = wanted.prompts(folder)
    return measure(python("-m", script, url, prompts, folder / "out", str(wanted.at_once), how))
