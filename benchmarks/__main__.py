"""`python -m benchmarks [NAME ...] [--quick]`."""

import argparse
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Final

from benchmarks.processes import REPO
from benchmarks.tables import Benchmark

NAMES: Final[tuple[str, ...]] = (
    "polling",
    "slots",
    "throughput",
    "downloads",
    "rivals",
    "scale",
    "loading",
    "startup",
)
"""Modules of this package, each with a `tables(quick)`, in the order in which they are shown."""
PAGE: Final = REPO / "docs" / "performance.md"


def main() -> None:
    """Run benchmarks; write the page where all of them ran in full."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*NAMES, []], help="all where left out")
    parser.add_argument("--quick", action="store_true", help="small sizes: shows that they run")
    options = parser.parse_args()
    if options.names:
        for name in options.names:
            run: Benchmark = import_module(f"benchmarks.{name}").tables
            for table in run(options.quick):
                print(table, flush=True)
        return
    sections = [_in_a_process(name, quick=options.quick) for name in NAMES]
    if not options.quick:
        PAGE.write_text(_page(sections), encoding="utf-8")
        print(f"wrote {PAGE}", file=sys.stderr)


def _in_a_process(name: str, *, quick: bool) -> str:
    """Run a benchmark in a process of its own, and print what it prints.

    The most memory a child is said to have held is at least what its parent has: one benchmark must
    not show in the next one's figures.
    """
    command = [sys.executable, "-m", "benchmarks", name, *(["--quick"] if quick else [])]
    done = subprocess.run(command, cwd=REPO, stdout=subprocess.PIPE, text=True, check=True)
    print(done.stdout, flush=True)
    return done.stdout


def _page(sections: Sequence[str]) -> str:
    heading = (
        "# Performance\n\n"
        "Written by `python -m benchmarks` (with the extra `bench` installed). Figures are ratios\n"
        "to a baseline measured in the same run, or are counted; what stands there in seconds is\n"
        "this machine's, for a sense of scale.\n\n"
        f"{datetime.now(UTC):%Y-%m-%d}, {_machine()}\n\n"
    )
    return heading + "\n".join(sections)


def _machine() -> str:
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    return f"{os.cpu_count()} cores of {model}, Python {platform.python_version()}"


if __name__ == "__main__":
    main()
