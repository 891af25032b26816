"""`python -m tests.campaign [--tasks N] [--kills K] [--seeds 1,2,3]`."""

import argparse
import signal
import sys
import tempfile
from pathlib import Path

from tests.campaign.faults import ROWS
from tests.campaign.invariants import EXAMPLES, SENTENCES
from tests.campaign.night import Night, NightReport
from tests.campaign.processes import NightSettings


def table(report: NightReport) -> str:
    """Write the invariants of one night, a line each, with the first breaches."""
    lines = []
    for code, found in report.findings.by_code.items():
        note = f"  ({found.note})" if found.note else ""
        lines.append(
            f"{code:>4}  {len(found.broken):>6} of {found.checked:>8}  {SENTENCES[code]}{note}"
        )
        lines += [f"        {breach}" for breach in found.broken[:EXAMPLES]]
    return "\n".join(lines)


def heading(settings: NightSettings, report: NightReport) -> str:
    """Say what kind of night it was."""
    kills = ", ".join(f"{count} at {moment}" for moment, count in report.kills.items())
    phases = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in report.phases.items())
    faults = ", ".join(f"{count} {name}" for name, count in report.faults.most_common())
    return (
        f"seed {settings.seed}: {settings.tasks} tasks, {sum(report.kills.values())} kills"
        f" ({kills}), {report.runs} runs that ended by themselves,"
        f" {report.seconds:.0f} s ({phases})"
        f"\n{sum(report.faults.values())} faults: {faults or 'none'}"
    )


def main() -> int:
    """Let one night pass for each seed; return 1 if an invariant is broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaign", description=__doc__)
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seeds", default="1,2,3,4,5")
    parser.add_argument("--rate", type=float, default=60.0, help="how fast the clock runs")
    parser.add_argument("--no-faults", action="store_true", help="kills only")
    parser.add_argument("--log", choices=ROWS, default="honest", help="what the log is like")
    parser.add_argument("--keep", type=Path, help="a new folder that keeps what the nights leave")
    options = parser.parse_args()
    # Ended from outside it ends its processes too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    broken = False
    for seed in map(int, options.seeds.split(",")):
        settings = NightSettings(
            options.tasks,
            options.kills,
            seed,
            options.rate,
            faults=not options.no_faults,
            log=options.log,
        )
        with tempfile.TemporaryDirectory(prefix="campaign-") as scratch:
            base = options.keep or Path(scratch)
            report = Night(base / f"seed-{seed}", settings).pass_()
        print(heading(settings, report), table(report), sep="\n", flush=True)
        broken = broken or bool(report.findings.broken)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
