"""Whole processes measured from outside, in turns, so that a machine's moods meet all alike."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

REPO: Final = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process took.

    Attributes:
        wall: Seconds from start to end.
        cpu: Seconds of processor time, user and system.
        peak_mib: Most memory it held at once, in MiB.
        stdout: What it printed.
    """

    wall: float
    cpu: float
    peak_mib: float
    stdout: str


def measure(
    command: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Usage:
    """Run a command to its end.

    Args:
        command: Program and arguments.
        cwd: Where it runs; this repository where left out.
        environment: What is added to this process's own.

    Raises:
        subprocess.CalledProcessError: It failed.
    """
    began = time.perf_counter()
    with subprocess.Popen(
        [str(part) for part in command],
        cwd=cwd or REPO,
        env={**os.environ, "PYTHONPATH": str(REPO), **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        stdout = process.stdout.read()
        # wait4 alone tells the usage of this child and of no other.
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - began
    if process.returncode != 0:
        raise subprocess.CalledProcessError(process.returncode, command, stdout)
    return Usage(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, stdout)


def python(*arguments: str | Path) -> list[str]:
    """Return a command for this very interpreter."""
    return [sys.executable, *map(str, arguments)]


def in_turns(contenders: Mapping[str, Callable[[], Usage]], times: int) -> dict[str, list[Usage]]:
    """Measure each contender once a round; the first round, which warms caches, is not counted."""
    found: dict[str, list[Usage]] = {name: [] for name in contenders}
    for round_ in range(times + 1):
        for name, run in contenders.items():
            usage = run()
            if round_:
                found[name].append(usage)
    return found


def median_ratio(
    those: Sequence[Usage], base: Sequence[Usage], figure: Callable[[Usage], float]
) -> float:
    """Return the median of the ratios, pair by pair: what drifts, drifts for both."""
    return statistics.median(
        figure(one) / figure(other) for one, other in zip(those, base, strict=True)
    )
