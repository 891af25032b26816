"""What tasks are carried with, and the troubles that are everyone's and not one task's."""

import random
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Final

from batchgen.account import Against, against
from batchgen.clock import Clock
from batchgen.durations import Durations
from batchgen.errors import LedgerError
from batchgen.events import Level, Reason
from batchgen.job import RunSettings
from batchgen.ledger.ledger import Ledger
from batchgen.ledger.tables import Record
from batchgen.limits import PROBE_SECONDS, Control
from batchgen.outcomes import (
    Answered,
    FetchOutcome,
    LookUp,
    NotSent,
    SubmitOutcome,
    Trouble,
    describe,
)
from batchgen.policy import Action, Health, Phase, backoff, decide, health
from batchgen.providers.base import Provider
from batchgen.run.refused import Refusals
from batchgen.run.stopping import Stopping
from batchgen.run.tally import Tally
from batchgen.run.traffic import Traffic
from batchgen.spending import Booking, Spending
from batchgen.task import Status
from batchgen.terminal import dollars
from batchgen.transfer import Transfer

KEY_PROBE_SECONDS: Final = 180.0
"""How often a refused key, an empty account or a bad certificate is tried again."""
ODD_PROBE_SECONDS: Final = 15.0
"""After how long an answer that the API never gives is tried again; each time after twice as long,
up to `KEY_PROBE_SECONDS`."""
DISK_PROBE_SECONDS: Final = 30.0


_REFUSALS: Final = {
    Against.KEY: "refused the key",
    Against.CREDITS: "says that the account's credits are used up",
    Against.ACCOUNT: "refused the account",
}
_REMEDIES: Final = {
    Against.CREDITS: "; look at the balance and the plan of the account",
    Against.ACCOUNT: "; look at the balance of the account, and at what it may use",
}
_REQUESTS: Final = {Phase.SUBMIT: "submits", Phase.FETCH: "polls", Phase.DOWNLOAD: "downloads"}


@dataclass(frozen=True, slots=True)
class Generation:
    """The provider's work on a task.

    Attributes:
        id: The provider's name for it.
        taken: Wall-clock seconds of the submit.
        resumed: Whether it may be done already when it is first asked about: its submit was not
            answered in this run, or only a new address is wanted.
        once: Whether it is asked about once only: its task is no longer in the job.
    """

    id: str
    taken: float
    resumed: bool = False
    once: bool = False


@dataclass(frozen=True, slots=True)
class Means:
    """What tasks are carried with.

    Attributes:
        settings: How the run behaves.
        spending: What was spent and reserved, and the price of a video.
        ledger: Where every step is kept.
        provider: Who makes the videos.
        transfer: What fetches their files.
        clock: Time.
        rng: Chance.
        model: The model that new tasks are made with.
        provider_kind: What the ids of tasks were made with.
        key_hint: Where the key is read from, as the end of a sentence.
        base_url: Where submits go, as later runs will find it; None for the sandbox inside a run.
        durations: How long generations take, as far as was seen.
        traffic: The limits.
        tally: The counts.
        stopping: Whether the run is ending.
        doubt: Told of a task whose submit may have been taken: the task, the submit's client
            request id, Unix seconds.
        control: A generation by which failing polls are told from a failing provider.
        refusals: Submits that were refused and wait to be repeated.
    """

    settings: RunSettings
    spending: Spending
    ledger: Ledger
    provider: Provider
    transfer: Transfer
    clock: Clock
    rng: random.Random
    durations: Durations
    model: str
    provider_kind: str
    key_hint: str
    base_url: str | None
    traffic: Traffic
    tally: Tally
    stopping: Stopping
    doubt: Callable[[Record, str, float], None]
    control: Control = field(default_factory=Control)
    refusals: Refusals = field(default_factory=Refusals)

    def is_elsewhere(self, record: Record) -> bool:
        """Tell whether a task was submitted at another server than this run talks to.

        Only that server knows its generation, and only a job may say where the key goes.
        """
        return record.base_url not in (None, self.base_url)

    def book(self, record: Record, booking: Booking | None) -> None:
        """Count what a submit cost; a bill higher than the price raises what is reserved."""
        if booking is None:
            return
        before = self.spending.price
        if not self.spending.book(record.task_id, booking) or before is None:
            return
        said = (
            f"the provider billed {dollars(booking.usd)} for a video, where {dollars(before)} were "
            "reserved: from now on that is reserved for each"
        )
        if excess := self.spending.excess:
            said += (
                f"; the {self.spending.open} in flight or unresolved may pass the budget by up to "
                f"{dollars(excess)}"
            )
        self.tally.say(said, Level.WARNING)

    def backoff(self, tries: int, trouble: Trouble) -> float:
        """Return seconds to wait before the next try."""
        retry = self.settings.retry
        return backoff(
            tries,
            self.rng,
            base=retry.backoff_base,
            cap=retry.backoff_cap,
            retry_after=trouble.retry_after if isinstance(trouble, Answered) else None,
        )

    def failed(
        self, record: Record, before: Status, said: str, *, free: bool, earlier: bool = False
    ) -> None:
        """Count a failed task; too many in a row drain the run.

        Args:
            record: The task.
            before: Its status until now.
            said: Why.
            free: Whether it cost nothing, unless there was a bill.
            earlier: Whether it failed in an earlier run, really: it says nothing of this one.
        """
        self.tally.moved(record, before, Status.FAILED, message=said, in_a_row=not earlier)
        if free:
            self.spending.release(record.task_id)
        limit = self.settings.stop_if_failures
        if limit is not None and self.tally.failures_in_a_row >= limit:
            self.stopping.drain(
                Reason.FAILURES, f"{limit} tasks failed in a row, the last one with: {said}"
            )

    def busy(self, trouble: Trouble) -> None:
        """Wait as a busy provider asks, and go on with fewer at once."""
        asked = trouble.retry_after if isinstance(trouble, Answered) else None
        pause = self.traffic.submits
        seconds = max(1.0, self.backoff(pause.closings, trouble))
        limit = self.traffic.busy(asked)
        if pause.close(self.clock.monotonic(), seconds):
            self.tally.say_sometimes(
                f"the provider is busy: {describe(trouble)}; going on with {limit} at once",
                about="the provider is busy",
            )

    def heard(
        self, phase: Phase, outcome: SubmitOutcome | FetchOutcome | None, host: str = ""
    ) -> None:
        """Judge a host by what came of a request to it.

        Args:
            phase: Which request it was.
            outcome: What came of it; None stands for a success of any kind.
            host: Which host; no name means the provider's.
        """
        if isinstance(outcome, Trouble):
            action = decide(phase, outcome)
            if action is Action.PAUSE or (action is Action.WAIT and phase is Phase.DOWNLOAD):
                return  # an answer, but no sign that requests are welcome again
        now, breaker = self.clock.monotonic(), self.traffic.breaker(phase, host)
        what = _REQUESTS[phase] + (f" at {host}" if host else "")
        if (state := health(phase, outcome)) is Health.WELL:
            if breaker.went_well(now):
                self.tally.say(f"{what}: answered again, going on")
        elif breaker.went_wrong(now, reached=state is Health.BROKEN):
            often = f"every {PROBE_SECONDS:.0f} s" + (", then less often" if breaker.costly else "")
            self.tally.say(
                f"{what}: out of order; they wait and are tried {often}, no task is failed by it",
                Level.WARNING,
            )

    async def look_up(self, client_request_ids: Collection[str], since: float) -> LookUp:
        """Look submits up in the provider's log, at the pace of polls.

        Args:
            client_request_ids: What they were sent with.
            since: Unix seconds of the earliest.
        """
        log = await self.provider.find(client_request_ids, since, self.traffic.poll)
        if log.whole:
            self.heard(Phase.FETCH, None)
        return log

    def pause(self, phase: Phase, trouble: Trouble) -> None:
        """Keep requests back that a key, an account, a certificate or wrong settings stand against.

        Before the provider's first good answer it ends the run: someone may still be there.
        """
        first, requests = KEY_PROBE_SECONDS, _REQUESTS[phase]
        remedy = ""
        match trouble:
            case NotSent(proxy=True):
                problem, remedy = "cannot be reached", "; look at HTTPS_PROXY in the environment"
            case NotSent():
                problem = "has a certificate that cannot be trusted"
            case Answered(status=400 | 401 | 402 | 403 | 422 | 429):
                about = against(trouble)
                problem = _REFUSALS[about]
                remedy = self.key_hint if about is Against.KEY else _REMEDIES[about]
            case _:
                problem, first = f"does not answer {requests} here", ODD_PROBE_SECONDS
                remedy = "; look at base_url and model"
        said = f"the provider {problem}: {describe(trouble).rstrip('.')}{remedy}"
        self.tally.against = said
        if not self.tally.welcomed:
            self.stopping.leave(Reason.REFUSED, said)
            return
        now = self.clock.monotonic()
        self.traffic.breaker(phase).trip(now, first, longest=KEY_PROBE_SECONDS)
        self.tally.say_sometimes(
            f"{said}; {requests} wait and are tried again, at least every "
            f"{KEY_PROBE_SECONDS / 60:.0f} minutes, no task is failed by it"
        )

    def host_trouble(self, host: str, trouble: Trouble, tries: int) -> None:
        """Keep downloads back from a host that is busy or cannot prove who it is, and no others."""
        seconds = max(1.0, self.backoff(tries, trouble))
        if isinstance(trouble, NotSent):
            seconds = KEY_PROBE_SECONDS
            self.traffic.first_wave.doubt(host)
        self.traffic.breaker(Phase.DOWNLOAD, host).trip(self.clock.monotonic(), seconds)
        self.tally.files_wait = f"downloads at {host} wait: {describe(trouble)}"
        self.tally.say_sometimes(f"{self.tally.files_wait}; no task is failed by it")

    async def wait_for_room(self, error: LedgerError) -> None:
        """Wait a while for a disk on which the ledger can be written again."""
        self.tally.say_sometimes(f"{error}; the run waits until there is room")
        self._leave_if_draining()
        self.check_outage()
        await self.clock.sleep(DISK_PROBE_SECONDS)

    def disk_trouble(self, error: OSError) -> None:
        """Pause the downloads until there is room again."""
        path = self.ledger.directory.path
        self.tally.files_wait = f"cannot write to {path}: {error.strerror or error}"
        self.tally.say_sometimes(
            f"{self.tally.files_wait}; trying again every {DISK_PROBE_SECONDS:.0f} s"
        )
        self.traffic.first_wave.doubt_all()
        self._leave_if_draining()
        self.traffic.disk.close(self.clock.monotonic(), DISK_PROBE_SECONDS)

    def _leave_if_draining(self) -> None:
        """End a run that is to end: without room nothing in flight can be finished."""
        if self.stopping.reason is not None:
            self.stopping.leave(self.stopping.reason)

    def check_outage(self) -> None:
        """End a run that has had no good answer for very long; nothing is lost by it."""
        silent = self.clock.monotonic() - self.tally.last_good
        if silent <= self.settings.give_up_after:
            return
        said = f"no good answer for {silent / 3600:.1f} hours"
        if self.tally.against is None:
            why = f": {self.tally.files_wait}" if self.tally.files_wait else ""
            self.stopping.leave(Reason.GAVE_UP, f"{said}{why}")
        else:
            self.stopping.leave(Reason.REFUSED, f"{said}: {self.tally.against}")
