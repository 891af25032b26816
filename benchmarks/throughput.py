"""What batchgen costs over the requests themselves: tasks that take no time, a ledger that does."""

import statistics
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from benchmarks.account import Terms
from benchmarks.jobs import Wanted, batchgen
from benchmarks.processes import Usage, in_turns, measure, median_ratio, python
from benchmarks.server import serving
from benchmarks.tables import Table

AT_ONCE: Final = 64
BARE: Final = "bare loop"
SAME: Final = "bare loop, a connection a POST"
OURS: Final = "batchgen run"
FREE: Final = Terms(pending=2)
"""Two answers that say it is not done yet, and a third that it is: three polls a task."""


def tables(quick: bool) -> Sequence[Table]:  # noqa: FBT001  # the signature of all benchmarks
    """Compare `batchgen run`, ledger and all, with a bare loop of the same requests."""
    sizes, times = ((50,), 1) if quick else ((10_000, 100_000), 3)
    return [_table(tasks, times if tasks < 100_000 else 1) for tasks in sizes]


def _table(tasks: int, times: int) -> Table:
    wanted = Wanted(
        tasks, AT_ONCE, run=", submits: 16, downloads: 16, poll: {first: 1ms, every: 1ms}"
    )
    found = in_turns(
        {
            BARE: lambda: _in_a_folder(lambda folder, url: _bare(folder, url, wanted)),
            SAME: lambda: _in_a_folder(lambda folder, url: _bare(folder, url, wanted, "close")),
            OURS: lambda: _in_a_folder(lambda folder, url: batchgen(folder, url, wanted)),
        },
        times,
    )
    rows = [
        [
            name,
            f"{statistics.median(tasks / usage.wall for usage in usages):.0f}",
            f"{median_ratio(found[BARE], usages, lambda usage: usage.wall):.2f}",
            f"{median_ratio(usages, found[BARE], lambda usage: usage.cpu):.2f}",
            f"{statistics.median(usage.peak_mib for usage in usages):.0f}",
            "1.25" if name == OURS else "",
        ]
        for name, usages in found.items()
    ]
    return Table(
        f"Throughput: {tasks:,} tasks of no service time",
        ["", "tasks/s", "tasks/s, ratio", "CPU a task, ratio", "peak MiB", "goal: CPU at most"],
        rows,
        [
            (
                f"A task is 1 POST, 3 polls and a file of {FREE.clip_bytes // 1000} kB, {AT_ONCE} "
                f"at once, from a server in a process of its own; {times} rounds, medians of pairs."
            ),
            (
                "The bare loop keeps nothing, checks nothing and forces nothing to disk. batchgen "
                "commits five steps a task and forces each file and its name to disk."
            ),
            (
                "batchgen makes a connection for each POST, since one on a kept connection may be "
                "lost; the second row is a bare loop that does so, too."
            ),
        ],
    )


def _bare(folder: Path, url: str, wanted: Wanted, posts: str = "keep") -> Usage:
    script = "benchmarks.scripts.bare_loop"
    prompts = wanted.prompts(folder)
    return measure(python("-m", script, url, prompts, folder / "out", str(AT_ONCE), posts))


def _in_a_folder(run: Callable[[Path, str], Usage]) -> Usage:
    """Give a contender a new folder and a server with empty books."""
    with tempfile.TemporaryDirectory() as folder, serving(FREE) as server:
        return run(Path(folder), server.url)
