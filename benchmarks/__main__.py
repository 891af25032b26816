"""`python -m benchmarks [NAME ...] [--quick]`."""

import argparse
import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from benchmarks.processes import REPO

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
    """Run benchmarks; those that ran in full take their place on the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*NAMES, []], help="all where left out")
    parser.add_argument("--quick", action="store_true", help="small sizes: shows that they run")
    options = parser.parse_args()
    found = {name: _in_a_process(name, quick=options.quick) for name in options.names or NAMES}
    if not options.quick:
        old = PAGE.read_text("utf-8") if PAGE.exists() else ""
        today = f"{datetime.now(UTC):%Y-%m-%d}, {_machine()}"
        measured = {name: f"{today}\n\n{tables}" for name, tables in found.items()}
        PAGE.write_text(page(sections(old) | measured), encoding="utf-8")
        print(f"wrote {PAGE}", file=sys.stderr)


def _in_a_process(name: str, *, quick: bool) -> str:
    """Run a benchmark in a process of its own, and print what it prints.

    The most memory a child is said to have held is at least what its parent has: one benchmark must
    not show in the next one's figures.
    """
    command = [sys.executable, "-m", "benchmarks.one", name, *(["--quick"] if quick else [])]
    done = subprocess.run(command, cwd=REPO, stdout=subprocess.PIPE, text=True, check=True)
    print(done.stdout, flush=True)
    return done.stdout


_MARK: Final = re.compile(r"^<!-- (\w+) -->\n\n", re.MULTILINE)


def sections(text: str) -> dict[str, str]:
    """Take a page apart into what each benchmark left there, by its name."""
    _, *parts = _MARK.split(text)
    return {name: part.strip() for name, part in zip(parts[::2], parts[1::2], strict=True)}


def page(found: Mapping[str, str]) -> str:
    """Put the page together; each benchmark's part says when and on what it was measured."""
    heading = (
        "# Performance\n\n"
        "Written by `python -m benchmarks` (with the extra `bench` installed). Figures are ratios\n"
        "to a baseline measured in the same run, or are counted; what stands there in seconds is\n"
        "this machine's, for a sense of scale."
    )
    parts = [f"<!-- {name} -->\n\n{found[name].strip()}" for name in NAMES if name in found]
    return "\n\n".join([heading, *parts]) + "\n"


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
