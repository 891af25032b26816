"""One run of a job in a process that may die of it."""

import faulthandler
import json
import os
import resource
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import anyio

from batchgen.errors import BatchgenError
from batchgen.events import Event, Notice
from batchgen.job import Job, Output, PollSettings, Prompt, ProviderSettings, RunSettings
from batchgen.providers.opening import open_provider
from batchgen.rundir import RunDirectory
from batchgen.session import open_session
from tests.sweeps.points import UNHARMED, Plan, PointedProvider, Points, install

HANGS: Final = 60.0
"""Seconds after which a run is taken to hang: it says where, and ends."""


@dataclass(frozen=True, slots=True)
class Order:
    """A run that is wanted.

    Attributes:
        directory: The run directory.
        base_url: Where the provider is.
        plan: What is to happen to it.
        tasks: How many tasks the job has.
        factor: How many seconds of the run pass in one.
        more_files: How many files it may open at once; 0 for as many as the machine allows.
        downloads: How many videos may come at once.
        log: A file to which its notices are appended as they come.
    """

    directory: Path
    base_url: str
    plan: Plan = UNHARMED
    tasks: int = 20
    factor: float = 50.0
    more_files: int = 0
    downloads: int = 4
    log: Path | None = None


class FastClock:
    """A clock whose seconds are short. The time on the wall is the true one."""

    def __init__(self, factor: float) -> None:
        self._factor = factor

    def monotonic(self) -> float:
        """Return seconds of the run."""
        return time.monotonic() * self._factor

    def now(self) -> float:
        """Return Unix seconds."""
        return time.time()

    async def sleep(self, seconds: float) -> None:
        """Wait for seconds of the run."""
        await anyio.sleep(seconds / self._factor)


def job(order: Order) -> Job:
    """Return the job, the same for the same order."""
    return Job(
        name="sweep",
        prompts=tuple(Prompt(f"prompt {number}") for number in range(order.tasks)),
        output=Output(order.directory),
        provider=ProviderSettings(base_url=order.base_url),
        run=RunSettings(poll=PollSettings(first=0.1, every=0.1), downloads=order.downloads),
        # Kept beside the results: one more file to be replaced.
        source="version: 1\n",
    )


def carry_out(order: Order, pipe: int) -> None:
    """Run the job; write to the pipe how that ended, a JSON object a line."""
    faulthandler.dump_traceback_later(HANGS, exit=True)
    if order.more_files:
        highest = max(int(path.name) for path in Path("/proc/self/fd").iterdir())
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1 + order.more_files, most))
    said: list[str] = []

    def tell(**words: Any) -> None:
        os.write(pipe, json.dumps(words).encode() + b"\n")

    points = Points(order.plan, lambda name: tell(killed_at=name))
    install(points)

    def observe(event: Event) -> None:
        if isinstance(event, Notice):
            said.append(event.message)
            if order.log is not None:
                with order.log.open("a", encoding="utf-8") as log:
                    log.write(f"{event.message}\n")

    async def go() -> dict[str, int]:
        made = job(order)
        async with (
            open_provider(made, RunDirectory(order.directory)) as provider,
            open_session(
                made,
                observer=observe,
                provider=PointedProvider(provider, points),
                clock=FastClock(order.factor),
            ) as session,
        ):
            summary = await session.go()
        return {str(status): count for status, count in summary.counts.items()}

    counts: dict[str, int] = {}
    error = trace = ""
    clean = True
    try:
        counts = anyio.run(go)
    except Exception as raised:  # noqa: BLE001  # whatever it is, the sweep judges it
        error, clean = str(raised), isinstance(raised, BatchgenError)
        trace = "".join(traceback.format_exception(raised))
    tell(
        counts=counts,
        error=error,
        clean=clean,
        trace=trace,
        said=said,
        points=points.names,
        harmed=points.harmed,
    )
