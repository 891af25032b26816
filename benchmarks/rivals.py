"""What people use today, against the same server: what it takes, what it loses, what it pays twice.

Each is a script as its own documentation has it (`benchmarks/scripts/`), with its own defaults.
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from benchmarks.account import Terms
from benchmarks.jobs import Wanted, batchgen
from benchmarks.processes import Usage, measure, python
from benchmarks.server import serving
from benchmarks.tables import Table

OURS: Final = "batchgen run"


@dataclass(frozen=True, slots=True)
class Rival:
    """Something that makes videos.

    Attributes:
        name: What it is called in the table.
        script: Its module.
        needs: The package it needs; empty where it needs none.
    """

    name: str
    script: str
    needs: str = ""


RIVALS: Final = (
    Rival("the API's example, a loop of 10 s", "vendor_loop"),
    Rival("gather, semaphore, 3 tries, 5 s", "semaphore"),
    Rival("openai, videos.create_and_poll", "openai_client", "openai"),
    Rival("fal-client, subscribe", "fal_queue", "fal_client"),
    Rival("replicate, async_run", "replicate_run", "replicate"),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a batch.

    Attributes:
        usage: What the process took.
        done: Videos on disk.
        counts: The server's books.
    """

    usage: Usage
    done: int
    counts: Mapping[str, int]


def tables(quick: bool) -> Sequence[Table]:  # noqa: FBT001  # the signature of all benchmarks
    """Run each of them in plain weather, under lost answers, under a cap, and 200 at once."""
    jobs, at_once, many, service = (4, 4, 4, 0.2) if quick else (40, 20, 200, 2.0)
    weather = {
        "plain": (Terms(service), Wanted(jobs, at_once)),
        "lost": (Terms(service, lost=0.2), Wanted(jobs, at_once)),
        "cap": (Terms(service, cap=5), Wanted(jobs, at_once)),
        "many": (Terms(service), Wanted(many, many)),
    }
    here = [rival for rival in RIVALS if not rival.needs or find_spec(rival.needs)]
    rows = []
    for name, script in [(OURS, ""), *((rival.name, rival.script) for rival in here)]:
        found = {kind: _outcome(script, terms, wanted) for kind, (terms, wanted) in weather.items()}
        rows.append(_row(name, found, bound=jobs / at_once * service))
    missing = [
        f"{rival.name}: not installed, comes with the extra `bench`"
        for rival in RIVALS
        if rival not in here
    ]
    return [
        Table(
            f"Against what people use: {jobs} jobs, {at_once} at once, {service:g} s each",
            [
                "",
                "wall, ratio to the bound",
                "polls a job",
                f"peak MiB, {many} at once",
                "20% lost answers: done",
                "paid twice",
                "paid and lost",
                "wall, s",
                "cap of 5: done",
                "paid twice there",
                "refusals",
            ],
            rows,
            [
                (
                    "The server, the jobs and their number are the same for all; retries, waits "
                    "and polls are each one's own defaults. A lost answer is a submit that is "
                    "taken and whose connection is then reset; over the cap, 429 is answered."
                ),
                (
                    "The bound is the service time of all jobs over the places. Under lost answers "
                    "batchgen looks a submit up in the provider's log 10 s after it, and where "
                    "half of the latest are lost it holds submits back for 30 s."
                ),
                *missing,
            ],
        )
    ]


def _row(name: str, found: Mapping[str, Outcome], *, bound: float) -> list[str]:
    plain, lost, cap = found["plain"], found["lost"], found["cap"]
    return [
        name,
        f"{plain.usage.wall / bound:.1f}",
        f"{plain.counts['polls'] / max(1, plain.done):.1f}",
        f"{found['many'].usage.peak_mib:.0f}",
        str(lost.done),
        str(lost.counts["duplicates"]),
        str(lost.counts["submits"] - lost.counts["duplicates"] - lost.done),
        f"{lost.usage.wall:.0f}",
        str(cap.done),
        str(cap.counts["duplicates"]),
        str(cap.counts["refusals"]),
    ]


def _outcome(script: str, terms: Terms, wanted: Wanted) -> Outcome:
    with tempfile.TemporaryDirectory() as scratch, serving(terms) as server:
        folder = Path(scratch)
        if script:
            out = folder / "videos"
            module = f"benchmarks.scripts.{script}"
            prompts = wanted.prompts(folder)
            usage = measure(
                python("-W", "ignore", "-m", module, server.url, prompts, out, str(wanted.at_once))
            )
        else:
            out = folder / "run" / "videos"
            usage = batchgen(folder, server.url, wanted)
        return Outcome(usage, len(list(out.glob("*.mp4"))), server.counts())
