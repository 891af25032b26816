"""A job and its run directory brought together: ledger, provider, run, and the files it leaves.

The whole of `batchgen run` without the command line.
"""

import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from datetime import UTC, datetime
from typing import Final

import anyio
import anyio.abc
import anyio.to_thread

from batchgen import names
from batchgen.again import Again, paid_twice, tried_again, unmatched_reasons
from batchgen.clock import Clock, SystemClock
from batchgen.connection_errors import certificates_objection
from batchgen.deadline import in_words
from batchgen.descriptors import narrowed
from batchgen.errors import BatchgenError, RunDirectoryError, first_error
from batchgen.events import (
    Counted,
    Event,
    Level,
    Notice,
    Observer,
    Reason,
    Summary,
    Watchers,
    nobody,
)
from batchgen.expansion import expand, order_key
from batchgen.job import Job
from batchgen.ledger.admission import Admission
from batchgen.ledger.catch_up import KnownSubmit, TakenIn
from batchgen.ledger.ledger import Ledger
from batchgen.ledger.questions import MANIFEST
from batchgen.naming import prepared
from batchgen.providers.base import Provider
from batchgen.providers.opening import described, open_provider
from batchgen.proxies import announcement
from batchgen.report.known import known_submits
from batchgen.report.log import RunLog
from batchgen.report.reports import write_reports
from batchgen.report.status import RUNNING, RunStatus, write_status
from batchgen.run import Run
from batchgen.savedjob import save_job
from batchgen.task import UNDER_WAY, Status
from batchgen.transfer import open_transfer

PUBLISH_SECONDS: Final = 5.0
PUBLISH_SHARE: Final = 50
"""Reports are written so seldom that they take a fiftieth of the time, at most."""
SECONDS_A_ROW: Final = 1e-4
"""What a task takes in manifest and page, about, until a first writing has told."""
STATUS_SECONDS: Final = 1.0


class Session:
    """One run of a job in its directory. Made by `open_session`.

    Attributes:
        job: The job.
        admission: What the job brought to the ledger; None where it only tries again.
        run: The run, whose `stopping` ends it.
    """

    def __init__(
        self,
        job: Job,
        ledger: Ledger,
        admission: Admission | None,
        run: Run,
        watchers: Watchers,
        clock: Clock,
    ) -> None:
        self.job = job
        self.admission = admission
        self.run = run
        self._ledger = ledger
        self._clock = clock
        self._started_at = clock.now()
        self._counted = Counted(ledger.counts(), 0.0)
        self._done_before = self._counted.counts.get(Status.SUCCEEDED, 0)
        self._watchers = watchers
        self._said = ""
        self._reported: int | None = None
        watchers.add(self._remember)

    def _remember(self, event: Event) -> None:
        if isinstance(event, Counted):
            self._counted = event

    @property
    def counts(self) -> Mapping[Status, int]:
        """Return the job's tasks by status."""
        return self._counted.counts

    async def go(self) -> Summary:
        """Run, and leave manifest, page and status as they are at the end, whatever that was.

        Raises:
            BatchgenError: The run could not go on.
        """
        state, detail = "failed", ""
        try:
            async with anyio.create_task_group() as background:
                background.start_soon(self._publish_status)
                background.start_soon(self._publish_reports)
                try:
                    summary = await self.run.go()
                finally:
                    background.cancel_scope.cancel()
            state, detail = summary.reason.value, summary.detail
        except BaseExceptionGroup as group:
            error = first_error(group)
            detail = str(error) if isinstance(error, BatchgenError) else ""
            raise error from group
        finally:
            with anyio.CancelScope(shield=True):
                await self._written(self._write_reports)
                await self._written(self._write_status, state, detail)
        return summary

    async def _publish_status(self) -> None:
        while True:
            if not self._ledger.in_place:
                path = self._ledger.directory.path
                self.run.stopping.leave(
                    Reason.MOVED,
                    f"{path} was moved or replaced; go on from where it is now: --output DIR",
                )
            took = await self._written(self._write_status, RUNNING, "")
            await self._clock.sleep(max(STATUS_SECONDS, PUBLISH_SHARE * took))

    async def _publish_reports(self) -> None:
        took = SECONDS_A_ROW * sum(self._counted.counts.values())
        while True:
            # First a while of work: what is over before that writes them once, at its end.
            await self._clock.sleep(max(PUBLISH_SECONDS, PUBLISH_SHARE * took))
            took = await self._written(self._write_reports)

    def _write_status(self, state: str, detail: str) -> None:
        cost, _ = self._ledger.cost()
        counts = {status.value: count for status, count in self._counted.counts.items()}
        status = RunStatus(
            state=state,
            counts=counts,
            total=sum(counts.values()),
            started_at=self._started_at,
            updated_at=self._clock.now(),
            seconds=self._counted.seconds,
            done_before=self._done_before,
            cost_usd=cost,
            detail=detail,
            ends_at=self.run.ends_at,
        )
        write_status(self._ledger.directory, status)

    def _write_reports(self) -> None:
        changes = self._ledger.changes()
        if changes != self._reported:
            write_reports(self.job, self._ledger)
            self._reported = changes

    async def _written(self, write: Callable[..., None], *arguments: str) -> float:
        """Write a report; a full disk must not end a run whose ledger still holds.

        Returns:
            Seconds it took.
        """
        if not self._ledger.in_place:
            return 0.0  # what lies at this path now is not ours
        began = self._clock.monotonic()
        try:
            await anyio.to_thread.run_sync(write, *arguments)
        except OSError as error:
            said = f"a report could not be written: {error.strerror or error}"
            if said != self._said:
                self._watchers(Notice(said, Level.WARNING))
            self._said = said
        else:
            self._said = ""
        return self._clock.monotonic() - began


@asynccontextmanager
async def open_session(
    job: Job,
    *,
    observer: Observer = nobody,
    limit: int | None = None,
    again: Again | None = None,
    provider: Provider | None = None,
    clock: Clock | None = None,
    environment: Mapping[str, str] = os.environ,
) -> AsyncIterator[Session]:
    """Open everything a run of the job needs, and close it at the end.

    Args:
        job: The job.
        observer: Is told what happens; must return at once.
        limit: New tasks to submit, at most; None for all.
        again: Which failed tasks are tried again; None for none.
        provider: Who makes the videos; None opens the one the job names.
        clock: Time.
        environment: Where the provider's key stands.

    Raises:
        RunDirectoryError: The run directory cannot be used.
        RunLocked: Another process works in it.
        ProviderRefused: There is no key.
        UsageError: An extra is missing, or no task ended for any of the reasons.
    """
    clock = clock or SystemClock()
    async with AsyncExitStack() as stack:
        ledger = stack.enter_context(Ledger.open(job.output.dir))
        ledger.bind(job.provider.kind)
        if provider is None:
            provider = await stack.enter_async_context(
                open_provider(job, ledger.directory, environment, clock.now)
            )
        at_once, few_descriptors = narrowed(job) or (None, "")
        transfer = await stack.enter_async_context(
            open_transfer(
                base_url=provider.base_url,
                seconds=job.run.timeout.download,
                at_once=at_once.downloads if at_once else job.run.downloads,
            )
        )
        with _placed(ledger):
            log = stack.enter_context(RunLog(ledger.directory.log, clock.now))
        watchers = Watchers(log, observer)
        _tell_surroundings(watchers, job, provider, few_descriptors)
        with _placed(ledger):
            news = await anyio.to_thread.run_sync(_unknown_submits, ledger, clock.now())
        # Before the job comes too: what it does not have any more may have been bought.
        learned = _catch_up(ledger, news, clock.now())
        admission = None
        if again is None or not again.alone:
            with _placed(ledger):
                save_job(ledger.directory, job)
            admission = await anyio.to_thread.run_sync(admit, job, ledger)
        if news:
            learned += _catch_up(ledger, news, clock.now())
            manifest = ledger.directory.manifest
            watchers(Notice(f"the ledger is older than {manifest}: {learned}", Level.WARNING))
        ledger.recover()
        missing = ledger.refetch_missing()
        if missing:
            watchers(Notice(f"{missing} videos are no longer on disk; fetching them by their ids"))
        if again is not None and (unmatched := unmatched_reasons(ledger, again.reasons)):
            watchers(Notice(f"no task ended with {', '.join(unmatched)}"))
        retried: list[str] = []
        if again is None:
            ledger.resume_paid()
        else:
            ledger.resume_paid(again.reasons, forgotten=False)
            if (said := paid_twice(ledger, again)) is not None:
                watchers(Notice(said, Level.WARNING))
            retried = tried_again(job, ledger, again, at=clock.now())
        with _placed(ledger):
            ledger.directory.clear_parts()
            if _has_work(ledger):
                ledger.directory = prepared(ledger.directory, ledger.longest_name())
                ledger.directory.clear_parts()
        run = Run(
            job,
            ledger,
            provider,
            transfer,
            observer=watchers,
            limit=limit,
            only=frozenset(retried) if again is not None and again.alone else None,
            at_once=at_once,
            clock=clock,
        )
        if run.ends_at is not None:
            watchers(Notice(f"nothing new is submitted after {in_words(run.ends_at)} (stop_at)"))
        yield Session(job, ledger, admission, run, watchers, clock)


def _tell_surroundings(
    watchers: Watchers, job: Job, provider: Provider, few_descriptors: str
) -> None:
    """Say whom the run talks to, over what, and what this machine is short of."""
    watchers(Notice(f"provider: {described(job.provider, provider.base_url)}"))
    if few_descriptors:
        watchers(Notice(few_descriptors, Level.WARNING))
    if (said := announcement(provider.base_url)) is not None:
        watchers(Notice(said))
    if provider.base_url.startswith("https:") and (said := certificates_objection()):
        watchers(Notice(said, Level.WARNING))


@contextmanager
def _placed(ledger: Ledger) -> Iterator[None]:
    """Put trouble with the run directory into a sentence."""
    try:
        yield
    except OSError as error:
        raise RunDirectoryError(
            f"cannot write to {error.filename or ledger.directory.path}: {error.strerror or error}"
        ) from None


def _has_work(ledger: Ledger) -> bool:
    counts = ledger.counts()
    return any(status in counts for status in (Status.PENDING, *UNDER_WAY, Status.UNRESOLVED))


def _unknown_submits(ledger: Ledger, at: float) -> list[KnownSubmit]:
    """Return the submits that a manifest knows of and the ledger beside it, an older one, does not.

    Then the manifest is kept aside as it is, since the next one is written from the ledger. Blocks.

    Raises:
        OSError: It cannot be read, or not be kept.
    """
    directory = ledger.directory
    news = ledger.unknown(known_submits(directory.manifest))
    if news:
        when = datetime.fromtimestamp(at, UTC)
        kept = directory.state / f"manifest-{when:%Y%m%dT%H%M%SZ}.jsonl"
        shutil.copyfile(directory.manifest, kept)
    return news


def _catch_up(ledger: Ledger, news: Sequence[KnownSubmit], at: float) -> TakenIn:
    return ledger.catch_up(news, MANIFEST, at=at)


def admit(job: Job, ledger: Ledger) -> Admission:
    """Bring a job's tasks to its ledger. Blocks.

    Raises:
        LedgerError: The ledger cannot be written.
    """
    prompts = len(job.prompts) + sum("prompt" in row for row in job.include)
    return ledger.admit(
        (
            task,
            order_key(job.run.order, task, prompts),
            names.stem(job.output.name, task, job.name),
        )
        for task in expand(job)
    )


async def run_job(
    job: Job,
    *,
    observer: Observer = nobody,
    limit: int | None = None,
    again: Again | None = None,
    provider: Provider | None = None,
) -> Summary:
    """Do what a job asks and is not done yet; return how it ended.

    Cancelling it leaves the ledger as it stands: the next call goes on from there.

    Args:
        job: The job.
        observer: Is told what happens; must return at once.
        limit: New tasks to submit, at most; None for all.
        again: Which failed tasks are tried again; None for none.
        provider: Who makes the videos; None opens the one the job names.

    Raises:
        BatchgenError: The run could not begin, or could not go on.
    """
    async with open_session(
        job, observer=observer, limit=limit, again=again, provider=provider
    ) as session:
        return await session.go()


class Events:
    """A run's events, to be iterated over while it goes on.

    Attributes:
        summary: How the run ended; there once the iteration is over.
    """

    def __init__(self, events: anyio.abc.ObjectReceiveStream[Event]) -> None:
        self._events = events
        self.summary: Summary | None = None

    def __aiter__(self) -> AsyncIterator[Event]:
        return self._events.__aiter__()


@asynccontextmanager
async def watch_job(
    job: Job,
    *,
    limit: int | None = None,
    again: Again | None = None,
    provider: Provider | None = None,
) -> AsyncIterator[Events]:
    """Run a job in the background of the block and iterate over its events.

    Leaving the block early drops what is in flight; the ledger knows it, the next run goes on.

    Raises:
        BatchgenError: The run could not begin, or could not go on.
    """
    send, receive = anyio.create_memory_object_stream[Event](max_buffer_size=float("inf"))
    events = Events(receive)

    async def work() -> None:
        with send:
            events.summary = await run_job(
                job, observer=send.send_nowait, limit=limit, again=again, provider=provider
            )

    try:
        async with anyio.create_task_group() as background:
            with receive:
                background.start_soon(work)
                yield events
                background.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        raise first_error(group) from group
