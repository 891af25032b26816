"""Are slots ever idle? Whole runs in virtual time against the shortest that their tasks allow.

The run, the ledger, the polls and the downloads are real; only the provider is scripted, and the
night is over in seconds.
"""

import math
import random
import tempfile
from collections.abc import Collection, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from batchgen.job import Job, Output, Prompt, RunSettings
from batchgen.ledger.ledger import Ledger
from batchgen.outcomes import Accepted, Completed, FetchOutcome, LookUp, Pending, SubmitOutcome
from batchgen.providers.base import Pace, at_once
from batchgen.run import Run
from batchgen.sandbox.clips import ClipRequest, render
from batchgen.session import admit
from batchgen.task import Status
from batchgen.transfer import open_transfer
from benchmarks.polling import DURATIONS, SLOTS, TASKS, shortest
from benchmarks.tables import Table
from tests import virtual_time


@dataclass(frozen=True, slots=True)
class Night:
    """What came of a run.

    Attributes:
        makespan: Seconds from the first submit to the last completion seen.
        bound: Seconds of the same tasks in the same order, each slot given on without any lag.
        lag: Mean seconds from a generation's completion to the poll that saw it.
        polls: A generation, on average.
        succeeded: Tasks whose video is there.
    """

    makespan: float
    bound: float
    lag: float
    polls: float
    succeeded: int


class Provider:
    """A provider whose generations take as long as is written down."""

    base_url = "http://127.0.0.1"
    clock_offset: float | None = None

    def __init__(
        self, clock: virtual_time.NightClock, video_url: str, durations: Sequence[float]
    ) -> None:
        self._clock = clock
        self._video_url = video_url
        self._durations = durations
        self._done_at: list[float] = []
        self.lags: list[float] = []
        self.polls = 0
        self.last_seen = 0.0

    async def submit(self, body: bytes, client_request_id: str) -> SubmitOutcome:
        """Take it."""
        del body, client_request_id
        number = len(self._done_at)
        self._done_at.append(self._clock.outside() + self._durations[number])
        # Told apart from those of an earlier run of a smaller job.
        return Accepted(f"id:{len(self._durations)}:{number}")

    async def fetch(self, generation_id: str, model: str | None = None) -> FetchOutcome:
        """Say whether it is done."""
        del model
        self.polls += 1
        now = self._clock.outside()
        late = now - self._done_at[int(generation_id.rpartition(":")[2])]
        if late < 0:
            return Pending("generating")
        self.lags.append(late)
        self.last_seen = now
        return Completed(self._video_url, 0.06)

    async def find(
        self, client_request_ids: Collection[str] | None, since: float, pace: Pace = at_once
    ) -> LookUp:
        """Find nothing: no answer is lost here."""
        del client_request_ids, since, pace
        return LookUp({}, whole=True)

    async def price(self) -> float | None:
        """Quote none."""
        return None


def night(folder: Path, tasks: int, slots: int = SLOTS, seed: int = 1) -> Night:
    """Run a job of so many tasks in a folder, less those that were made there before.

    They take as long as in the first of the tables of `benchmarks/polling.py`.
    """
    rng = random.Random(seed)
    draw = next(iter(DURATIONS.values()))
    durations = [draw(rng, place / tasks) for place in range(tasks)]
    clip = render(ClipRequest("a slot", width=160, height=96))

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=clip, content_type="video/mp4")

    async def go() -> Night:
        clock = virtual_time.NightClock()
        job = Job(
            name="slots",
            prompts=tuple(Prompt(f"prompt {number}") for number in range(tasks)),
            output=Output(folder / "run"),
            run=RunSettings(concurrency=slots),
        )
        async with AsyncExitStack() as stack:
            application = web.Application()
            application.router.add_get("/clip.mp4", answer)
            runner = web.AppRunner(application, access_log=None)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            provider = Provider(
                clock, f"http://127.0.0.1:{runner.addresses[0][1]}/clip.mp4", durations
            )
            ledger = stack.enter_context(Ledger.open(job.output.dir))
            ledger.bind("sandbox")
            admit(job, ledger)
            transfer = await stack.enter_async_context(
                open_transfer(base_url=provider.base_url, seconds=60.0)
            )
            summary = await Run(
                job, ledger, provider, transfer, clock=clock, rng=virtual_time.dice()
            ).go()
        return Night(
            makespan=provider.last_seen,
            bound=shortest(durations, slots),
            lag=math.fsum(provider.lags) / len(provider.lags),
            polls=provider.polls / len(provider.lags),
            succeeded=summary.counts.get(Status.SUCCEEDED, 0),
        )

    return virtual_time.run(go)


def tables(quick: bool) -> Sequence[Table]:  # noqa: FBT001  # as all benchmarks
    """Show how much longer than the shortest possible a run is, and why."""
    tasks = 100 if quick else TASKS
    with tempfile.TemporaryDirectory() as folder:
        found = night(Path(folder), tasks)
    lag = found.lag * tasks / SLOTS
    rows = [
        (
            f"{tasks:,}",
            f"{found.bound / found.makespan:.1%} (goal >= 97.5%)",
            f"{found.makespan / (found.bound + lag) - 1:+.1%} (goal <= 2%)",
            f"{found.lag:.1f} s",
            f"{found.polls:.1f}",
        )
    ]
    return [
        Table(
            f"Slots: a whole run in virtual time, {SLOTS} at once",
            ("tasks", "bound / makespan", "over bound and lag", "mean lag", "polls a generation"),
            rows,
            (f"Durations: {next(iter(DURATIONS))}. The bound hands slots on without any lag.",),
        )
    ]
