"""`python -m benchmarks [NAME ...] [--quick]`."""

import argparse
import os
import platform
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Final

from benchmarks.processes import REPO
from benchmarks.tables import Benchmark, Table

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
    shown = []
    for table in _tables(options.names or NAMES, quick=options.quick):
        print(table, flush=True)
        shown.append(table)
    if not options.names and not options.quick:
        PAGE.write_text(_page(shown), encoding="utf-8")
        print(f"wrote {PAGE.relative_to(Path.cwd())}", file=sys.stderr)


def _tables(names: Sequence[str], *, quick: bool) -> Iterator[Table]:
    for name in names:
        run: Benchmark = import_module(f"benchmarks.{name}").tables
        yield from run(quick)


def _page(tables: list[Table]) -> str:
    heading = (
        "# Performance\n\n"
        "Written by `python -m benchmarks` (with the extra `bench` installed). All figures are\n"
        "ratios to a baseline measured in the same run, or are counted, not timed.\n\n"
        f"{datetime.now(UTC):%Y-%m-%d}, {_machine()}\n\n"
    )
    return heading + "\n".join(map(str, tables))


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
