"""A job's life in its run directory: tasks are taken from the ledger until none is left to do."""

import math
import random
from collections import Counter
from collections.abc import AsyncGenerator, Collection, Mapping
from contextlib import aclosing
from typing import Final

import anyio
from anyio.abc import TaskGroup

from batchgen.clock import Clock, SystemClock
from batchgen.clock_offset import objection
from batchgen.deadline import in_words, next_deadline
from batchgen.descriptors import AtOnce
from batchgen.durations import Durations
from batchgen.errors import UsageError, first_error
from batchgen.events import Level, Observer, Reason, Summary, nobody
from batchgen.first_wave import FirstWave
from batchgen.job import Job, OnAmbiguous
from batchgen.ledger.ledger import Ledger
from batchgen.ledger.tables import Record
from batchgen.limits import PROBE_SECONDS
from batchgen.outcomes import Trouble, describe
from batchgen.policy import Phase
from batchgen.providers.base import Provider, lasting_base_url
from batchgen.providers.opening import key_hint
from batchgen.run.carry import carry, resume
from batchgen.run.catch_up import catch_up
from batchgen.run.doubts import FIRST_LOOK_UPS, LOOK_UPS, Doubts
from batchgen.run.means import Generation, Means
from batchgen.run.stopping import Stopping
from batchgen.run.tally import Tally
from batchgen.run.traffic import Traffic
from batchgen.spending import Spending
from batchgen.transfer import Transfer

PAGE: Final = 64
"""Tasks taken from the ledger at once: only these and those in flight are in memory."""
BACKLOG: Final = 256
"""Tasks whose video may wait for its download before no more are submitted."""
LEARNED_FROM: Final = 500
"""Tasks of earlier runs whose durations, and the hosts of whose files, a run begins with."""
DRAIN_SECONDS: Final = 60
"""For how long a run that is to end waits for what cannot be finished now."""
TELL_SECONDS: Final = 0.5
PLACE_SECONDS: Final = 2.0
"""How often a held back submit sees whether an unknown id has given up its place."""
LOOK_SECONDS: Final = 5.0
"""How often a run that goes on sees whether a look-up is due."""
SETTLE_SECONDS: Final = 3600.0
"""How long a run that is otherwise done waits for look-ups that may settle a doubt."""


class Run:
    """One run of a job. The ledger must hold the job's tasks.

    Args:
        job: The job.
        ledger: Its ledger, open.
        provider: Who makes the videos.
        transfer: What fetches their files.
        observer: Is told what happens; must return at once.
        limit: New tasks to submit, at most; None for all.
        only: Ids of the pending tasks that may be submitted; None for all.
        at_once: As many requests as there are descriptors for; None if those are plenty.
        clock: Time.
        rng: Chance, for jitter only.

    Attributes:
        stopping: Ends it.
        ends_at: Unix seconds of `stop_at`, after which nothing new is submitted; None for never.
    """

    def __init__(
        self,
        job: Job,
        ledger: Ledger,
        provider: Provider,
        transfer: Transfer,
        *,
        observer: Observer = nobody,
        limit: int | None = None,
        only: Collection[str] | None = None,
        at_once: AtOnce | None = None,
        clock: Clock | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self._job = job
        self._ledger = ledger
        self._provider = provider
        self._transfer = transfer
        self._observer = observer
        self._limit = limit
        self._only = only
        self._at_once = at_once
        self._clock = clock or SystemClock()
        self._rng = rng or random.Random()  # noqa: S311  # jitter, no secret
        self._carrying = 0
        self._beside = 0
        # What still starts tasks: what earlier runs left, what is new, each that a look-up settled.
        self._sources = 2
        self._settling = False
        self._changed = anyio.Event()
        self._doubts = Doubts(job.run.on_ambiguous)
        self._traffic: Traffic | None = None
        self._tally: Tally | None = None
        self.stopping = Stopping()
        stop_at = job.run.stop_at
        self.ends_at = None if stop_at is None else next_deadline(stop_at, self._clock.now())

    def under_way(self) -> str:
        """Say what a run that drains still finishes: `2 in flight and 1 download`.

        What waits for its submit is given up, and what waits for its download is not.
        """
        carried: Mapping[Phase, int] = self._tally.carried if self._tally else {}
        in_flight = self.stopping.posts + carried.get(Phase.FETCH, 0)
        downloads = carried.get(Phase.DOWNLOAD, 0)
        words = [f"{in_flight} in flight"] if in_flight or not downloads else []
        if downloads:
            words.append("1 download" if downloads == 1 else f"{downloads} downloads")
        return " and ".join(words)

    @property
    def is_settling(self) -> bool:
        """Tell whether all is done but for submits that the provider's log may still settle."""
        return self._settling

    @property
    def parked(self) -> bool:
        """Tell whether nothing in flight can be finished now.

        The provider cannot be asked, or each task that is left has failed several times in a row.
        """
        if self._traffic is None or self._tally is None or self._traffic.is_downloading:
            return False
        stuck = 0 < self._carrying <= len(self._tally.troubled)
        return stuck or self._traffic.breaker(Phase.FETCH).is_open

    async def go(self) -> Summary:
        """Do what is not done yet.

        Cancelling it leaves the ledger as it stands, which is all the next run needs; `stopping`
        ends it more kindly.

        Raises:
            LedgerError: A step could not be made durable.
            UsageError: The job bounds its cost, and nobody knows what a video costs.
        """
        quoted = await self._quoted()
        spent = self._ledger.spent(self._job.provider.model)
        price = None if isinstance(quoted, Trouble) else quoted
        spending = Spending(self._job.budget, spent, price)
        if quoted is None and spending.price is None and self._job.budget.max_usd is not None:
            raise UsageError(
                "budget.max_usd is set, but the provider quotes no price for "
                f"{self._job.provider.model}: set budget.usd_per_video too"
            )
        tally = self._tally = Tally(
            self._ledger.counts(),
            clock=self._clock,
            observer=self._observer,
        )
        self._traffic = Traffic(self._job.run, self._clock, self._first_wave(), self._at_once)
        means = Means(
            settings=self._job.run,
            spending=spending,
            ledger=self._ledger,
            provider=self._provider,
            transfer=self._transfer,
            clock=self._clock,
            rng=self._rng,
            durations=self._earlier_durations(),
            traffic=self._traffic,
            tally=tally,
            stopping=self.stopping,
            model=self._job.provider.model,
            provider_kind=self._job.provider.kind,
            key_hint=key_hint(self._job.provider),
            base_url=lasting_base_url(self._job.provider),
            doubt=self._doubt,
        )
        self._ledger.when_full = means.wait_for_room
        try:
            async with anyio.create_task_group() as watchers:
                watchers.start_soon(self._tell, tally)
                watchers.start_soon(self._watch_deadline)
                watchers.start_soon(self._watch_drain, tally)
                watchers.start_soon(self._part_when_cancelled)
                with self.stopping.all_work():
                    await self._carry_all(means)
                watchers.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            raise first_error(group) from group
        tally.recount(self._ledger.counts())
        tally.tell_counts()
        cost, estimated = self._ledger.cost()
        reason, detail = self.stopping.reason, self.stopping.detail
        if reason is None:
            over = spending.over
            reason, detail = (Reason.DONE, "") if over is None else (Reason.BUDGET, over)
        return Summary(
            reason=reason,
            counts=tally.counts,
            submitted=tally.submitted,
            cost_usd=cost,
            cost_is_estimate=estimated,
            seconds=tally.seconds,
            detail=detail,
        )

    async def _quoted(self) -> float | Trouble | None:
        """Return what the job says a video costs, or ask the provider; 0 is no price."""
        if self._job.budget.usd_per_video is not None:
            return self._job.budget.usd_per_video or None
        return await self._provider.price() or None

    def _first_wave(self) -> FirstWave:
        in_process = self._job.provider.in_process
        size = math.inf if in_process else self._job.run.concurrency
        return FirstWave(size, self._ledger.file_hosts(LEARNED_FROM))

    def _earlier_durations(self) -> Durations:
        durations = Durations()
        for params, seconds in self._ledger.durations(LEARNED_FROM):
            durations.of(params).took(seconds)
        return durations

    async def _carry_all(self, means: Means) -> None:
        """Carry first what was paid for already, then what is new."""
        elsewhere = Counter[str]()
        for record in self._ledger.unresolved():
            if means.is_elsewhere(record):
                elsewhere[str(record.base_url)] += 1
            elif record.client_request_id is not None:
                # Submits of an earlier run: old enough to be looked up at once, and to end with,
                # unless a look-up more is what it takes to submit them again.
                now, sent = self._clock.monotonic(), record.client_request_id
                at = record.submitted_at or self._clock.now()
                guesses = self._job.run.on_ambiguous is OnAmbiguous.RESUBMIT
                tries = 0 if guesses else FIRST_LOOK_UPS - 1
                self._doubts.add(record, sent, at, now=now, tries=tries)
        async with anyio.create_task_group() as carriers:
            carriers.start_soon(self._look_up_doubts, means, carriers)
            left: list[tuple[Record, Generation]] = []
            for record in self._ledger.under_way():
                if means.is_elsewhere(record):
                    elsewhere[str(record.base_url)] += 1
                elif record.generation_id is not None:
                    taken = record.submitted_at or self._clock.now()
                    once = bool(record.gone)
                    generation = Generation(record.generation_id, taken, resumed=True, once=once)
                    if self._may_still_run(record):
                        await self._start(carriers, means, record, generation)
                    else:
                        left.append((record, generation))
            _count_made(means, left)
            carriers.start_soon(self._take_up, means, carriers, left)
            for base_url, count in elsewhere.items():
                means.tally.say(
                    f"{count} submitted at {base_url}, where this job does not go now: they are "
                    "kept, and asked for by a run that does; the key is sent nowhere unasked",
                    Level.WARNING,
                )
            with self.stopping.new_work():
                if means.spending.price is None and self._job.budget.max_usd is not None:
                    await self._priced(means)
                for record, generation in await catch_up(means):
                    await self._start(carriers, means, record, generation)
                async with aclosing(self._new_tasks(means)) as new_tasks:
                    async for record in new_tasks:
                        await self._start(carriers, means, record)
            self._sources -= 1
            self._tell_change()

    def _may_still_run(self, record: Record) -> bool:
        """Tell whether the provider may be at work on what an earlier run left: it takes a slot."""
        age = self._clock.now() - (record.submitted_at or -math.inf)
        return record.completed_at is None and age < self._job.run.timeout.generation

    async def _take_up(
        self, means: Means, carriers: TaskGroup, left: list[tuple[Record, Generation]]
    ) -> None:
        """Go on with what earlier runs left and nobody works at, beside what is new."""
        with self.stopping.new_work():
            for record, generation in left:
                while self._beside >= BACKLOG:
                    await self._clock.sleep(TELL_SECONDS)
                self._carry(carriers, means, record, generation, None)
        self._sources -= 1
        self._tell_change()

    async def _priced(self, means: Means) -> None:
        """Wait until the provider says what a video costs: the budget must be held against it."""
        while isinstance(quoted := await self._provider.price(), Trouble):
            means.tally.say_sometimes(
                f"no price yet: {describe(quoted)}; nothing is submitted before it is known, "
                "as budget.max_usd is set"
            )
            means.check_outage()
            await self._clock.sleep(PROBE_SECONDS)
        means.spending.raise_price(quoted)

    async def _start(
        self,
        carriers: TaskGroup,
        means: Means,
        record: Record,
        generation: Generation | None = None,
    ) -> None:
        """Start a coroutine for a task once there is a slot for it."""
        if generation is None:
            await self._first_file(means)
        means.traffic.first_wave.begins(record.task_id)
        while self._carrying - self._beside >= self._job.run.concurrency + BACKLOG:
            await self._clock.sleep(TELL_SECONDS)
        slot = await means.traffic.take_slot()
        self._carry(carriers, means, record, generation, slot)

    def _carry(
        self,
        carriers: TaskGroup,
        means: Means,
        record: Record,
        generation: Generation | None,
        slot: object | None,
    ) -> None:
        self._carrying += 1
        self._beside += slot is None
        carriers.start_soon(self._carried, means, record, generation, slot)

    async def _first_file(self, means: Means) -> None:
        """Hold a submit back that would begin a second wave before a first file has arrived."""
        wave, began = means.traffic.first_wave, self._clock.monotonic()
        while not wave.is_open and not self.stopping.asked:
            if not self._carrying and self._sources <= 1:
                hosts = " and ".join(sorted(filter(None, wave.unproven))) or "anywhere"
                self.stopping.drain(
                    Reason.FAILURES,
                    f"{sum(wave.unproven.values())} videos were made and none could be fetched "
                    f"from {hosts}, so no more are submitted; the last one failed with: "
                    f"{means.tally.last_failure}",
                )
            # A place is given back where a task ends, and where its id turns out to be unknown.
            with anyio.move_on_after(PLACE_SECONDS):
                await self._changed.wait()
            if wave.unproven and self._clock.monotonic() > began + LOOK_SECONDS:
                waiting = ", ".join(f"{n} at {host}" for host, n in wave.unproven.items())
                means.tally.say_sometimes(
                    "no more are submitted before a first video has arrived whole; "
                    f"waiting for files: {waiting}",
                    about="first wave",
                )

    async def _carried(
        self, means: Means, record: Record, generation: Generation | None, slot: object | None
    ) -> None:
        try:
            if generation is None:
                await carry(means, record, slot)
            else:
                await resume(means, record, generation, slot)
        finally:
            self._carrying -= 1
            self._beside -= slot is None
            means.tally.troubled.discard(record.task_id)
            means.traffic.first_wave.over(record.task_id)
            self._tell_change()

    async def _new_tasks(self, means: Means) -> AsyncGenerator[Record, None]:
        """Yield pending tasks in order, as far as limit and budget allow."""
        left = math.inf if self._limit is None else self._limit
        after = -1
        while page := await self._ledger.pending(after, PAGE):
            for record in page:
                after = record.position
                if self._only is not None and record.task_id not in self._only:
                    continue
                if record.task_id in self._doubts.handed_out:
                    continue
                if left < 1:
                    return
                if (refusal := means.spending.refusal()) is not None:
                    # What was started before is inside the budget and goes on.
                    means.spending.over = refusal
                    return
                left -= 1
                means.spending.reserve(record.task_id)
                yield record

    def _doubt(self, record: Record, client_request_id: str, at: float) -> None:
        now = self._clock.monotonic()
        self._doubts.add(record, client_request_id, at, now=now, wait=LOOK_UPS[0])

    async def _look_up_doubts(self, means: Means, carriers: TaskGroup) -> None:
        """Look doubts up while the run lasts, and after it while time alone may settle one."""
        until = math.inf
        while True:
            now = self._clock.monotonic()
            if self._sources or self._carrying:
                until = math.inf
            elif self.stopping.asked:
                return
            else:
                until = min(until, now + SETTLE_SECONDS)
                over = now >= until or not self._doubts.awaited(until)
                if over and not self._doubts.is_last_look_due(now):
                    break
            for record, generation in await self._doubts.look_up(means):
                self._sources += 1
                carriers.start_soon(self._return, carriers, means, record, generation)
            if self._sources or self._carrying:
                with anyio.move_on_after(LOOK_SECONDS):
                    await self._changed.wait()
            elif (awaited := self._doubts.awaited(until)) and until != math.inf:
                await self._wait_for_doubts(means, awaited, until)
        if (said := self._doubts.left) is not None:
            means.tally.say(said, Level.WARNING)

    async def _return(
        self, carriers: TaskGroup, means: Means, record: Record, generation: Generation | None
    ) -> None:
        """Start a task that a look-up settled, without keeping other look-ups waiting."""
        try:
            await self._start(carriers, means, record, generation)
        finally:
            self._sources -= 1
            self._tell_change()

    async def _wait_for_doubts(self, means: Means, awaited: int, until: float) -> None:
        """Wait for the next look-up of a run that is otherwise done."""
        now = self._clock.monotonic()
        one = awaited == 1
        means.tally.say_sometimes(
            f"all else is done: {awaited} {'submit' if one else 'submits'} whose answer was lost "
            f"{'is' if one else 'are'} looked for in the provider's log, for up to "
            f"{SETTLE_SECONDS / 60:.0f} minutes; Ctrl-C leaves {'it' if one else 'them'} to the "
            "next run"
        )
        due = min(self._doubts.next_due(), until)
        self._settling = True
        with self.stopping.new_work():
            await self._clock.sleep(max(0.1, due - now))
        self._settling = False

    def _tell_change(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    async def _tell(self, tally: Tally) -> None:
        clocks_differ = False
        while True:
            tally.tell_counts()
            if not clocks_differ and (said := objection(self._provider.clock_offset)):
                tally.say(said, Level.WARNING)
                clocks_differ = True
            await self._clock.sleep(TELL_SECONDS)

    async def _part_when_cancelled(self) -> None:
        """Give POSTs in the air two seconds when the run is cancelled from outside."""
        try:
            await anyio.sleep_forever()
        finally:
            self.stopping.part()

    async def _watch_drain(self, tally: Tally) -> None:
        """Leave a run that is to end once, for a while, nothing in flight could be finished."""
        await self.stopping.draining.wait()
        parked_for = 0
        while parked_for < DRAIN_SECONDS:
            await self._clock.sleep(1.0)
            parked_for = parked_for + 1 if self.parked else 0
        if self.stopping.reason is not None:
            tally.say(f"{self.under_way()} cannot be finished now: left to the next run")
            self.stopping.retire(self.stopping.reason)

    async def _watch_deadline(self) -> None:
        """Drain the run at `stop_at`, by the local clock on the wall."""
        if self.ends_at is None:
            return
        while self._clock.now() < self.ends_at:
            # In slices: a suspended machine's sleep ends late.
            await self._clock.sleep(min(30.0, max(0.1, self.ends_at - self._clock.now())))
        self.stopping.drain(Reason.DEADLINE, f"stop_at was reached: {in_words(self.ends_at)}")


def _count_made(means: Means, left: list[tuple[Record, Generation]]) -> None:
    """Count in the first wave what was made earlier and whose file has not arrived yet."""
    for record, _ in left:
        if record.completed_at is not None:
            means.traffic.first_wave.begins(record.task_id)
