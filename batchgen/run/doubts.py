"""Submits whose fate is unknown: looked up in the provider's log until found or left for people."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from batchgen import evidence
from batchgen.events import Level
from batchgen.evidence import Ruling, Verdict
from batchgen.job import OnAmbiguous
from batchgen.ledger.tables import Record
from batchgen.outcomes import LookUp
from batchgen.run.means import Generation, Means
from batchgen.run.witnesses import SAMPLE_SECONDS, Wanted, Witnesses
from batchgen.task import UNDER_WAY, Status

LOOK_UPS: Final = (10.0, 60.0, 600.0)
"""Seconds after a submit at which it is looked up; later ones come hourly, or sooner if they may
show how long the provider's log takes."""
HOUR: Final = 3600.0
FIRST_LOOK_UPS: Final = 2
"""A run that is otherwise done waits for so many look-ups of each doubt."""

GoingOn = list[tuple[Record, Generation | None]]


@dataclass(slots=True)
class Doubt:
    """One submit in doubt.

    Attributes:
        record: Its task.
        at: Wall-clock seconds of the submit.
        known_since: Monotonic seconds at which this run took it in.
        due: Monotonic seconds of the next look-up.
        repeated: Whether its task was submitted again before.
        tries: Look-ups tried, also those that were not answered.
        looked_up: Look-ups that were answered, without finding it.
        seen: What look-ups showed, for the rule.
        verdict: What the rule says of it; None before the first look-up.
    """

    record: Record
    at: float
    known_since: float
    due: float
    tries: int = 0
    looked_up: int = 0
    seen: evidence.Doubt = field(default_factory=evidence.Doubt)
    verdict: Verdict | None = None

    @property
    def is_open(self) -> bool:
        """Tell whether known submits may still settle it."""
        return self.verdict is None or self.verdict.ruling is not Ruling.HOLD

    def is_awaited(self, until: float) -> bool:
        """Tell whether a finished run should still wait for it.

        Args:
            until: Monotonic seconds at which the run ends in any case.
        """
        if self.tries < FIRST_LOOK_UPS:
            return True
        if self.verdict is None or self.verdict.ruling is not Ruling.WAIT:
            return False
        return self.known_since + (self.verdict.due or 0.0) <= until


class Doubts:
    """The submits in doubt, by client request id.

    Args:
        on_ambiguous: What is done about those that no look-up finds.

    Attributes:
        handed_out: Tasks that are submitted a second time, which nobody else may start.
    """

    def __init__(self, on_ambiguous: OnAmbiguous) -> None:
        self._on_ambiguous = on_ambiguous
        self._doubts: dict[str, Doubt] = {}
        self._witnesses = Witnesses()
        self._unstudied = False
        self.handed_out: set[str] = set()

    def add(
        self,
        record: Record,
        client_request_id: str,
        at: float,
        *,
        now: float,
        wait: float = 0.0,
        tries: int = 0,
    ) -> None:
        """Take one in.

        Args:
            record: Its task.
            client_request_id: What it was sent with.
            at: Wall-clock seconds of the submit.
            now: Monotonic seconds.
            wait: Seconds until the first look-up.
            tries: Look-ups that earlier runs may be taken to have made.
        """
        self._doubts[client_request_id] = Doubt(record, at, now, now + wait, tries)
        self._unstudied = True

    def awaited(self, until: float) -> int:
        """Count those that a finished run should still wait for, to the end of its patience."""
        return sum(doubt.is_awaited(until) for doubt in self._doubts.values())

    def next_due(self) -> float:
        """Return monotonic seconds of the next look-up."""
        due = [doubt.due for doubt in self._doubts.values()]
        if self._learning:
            due.append(self._witnesses.next_due())
        return min(due, default=0.0)

    @property
    def left(self) -> str | None:
        """Say why those that are left are not settled; None where there is nothing to say."""
        reasons = {doubt.verdict.reason for doubt in self._doubts.values() if doubt.verdict}
        if not reasons:
            return None
        count = len(self._doubts)
        return (
            f"{count} {'submit stays' if count == 1 else 'submits stay'} unresolved: "
            f"{'; '.join(sorted(reasons)[:3])}"
        )

    @property
    def _learning(self) -> bool:
        """Whether known submits are looked for, from the first doubt on.

        Until enough is known of the log, for the doubts to come; then while there are any that it
        may settle.
        """
        return self._on_ambiguous is OnAmbiguous.EVIDENCE and (
            self._unstudied or any(doubt.is_open for doubt in self._doubts.values())
        )

    async def look_up(self, means: Means) -> GoingOn:
        """Look up what is due.

        Returns:
            Tasks to go on with: from the generation that was found, or, where the job's
            `on_ambiguous` allows it, from the beginning. Their slots are still to be taken.
        """
        now = means.clock.monotonic()
        due = {sent: doubt for sent, doubt in self._doubts.items() if doubt.due <= now}
        times = {sent: doubt.at for sent, doubt in due.items()}
        wanted = await self._witnesses.wanted(means, times, learning=self._learning)
        everything = {**wanted.all, **times}
        if not everything:
            return []
        asked = means.clock.now()
        log = await means.look_up(everything.keys(), min(everything.values()))
        for sent, doubt in due.items():
            self._looked_for(sent, doubt, wanted, log, now, asked)
        await self._witnesses.note(means, wanted, times, log, asked)
        going_on = await self._adopt_found(means, due, log)
        going_on += await self._repeat_lost(means, due, log)
        return going_on

    def is_last_look_due(self, now: float) -> bool:
        """Tell whether a run that is done must look once more for what it repeated on evidence.

        Args:
            now: Monotonic seconds.
        """
        return self._witnesses.is_last_look_due(now)

    def _looked_for(
        self, sent: str, doubt: Doubt, wanted: Wanted, log: LookUp, now: float, asked: float
    ) -> None:
        """Note what a look-up showed of a doubt, and when to look again."""
        doubt.tries += 1
        doubt.due = now + self._gap(doubt, now)
        if not log.lacks(sent, doubt.at):
            return
        doubt.looked_up += 1
        doubt.seen = evidence.Doubt(
            # By both clocks: one of them may have been set, the other does not count sleep.
            absent=max(0.0, min(now - doubt.known_since, asked - doubt.at)),
            before=_is_found(wanted.before.get(sent), log),
            after=_is_found(wanted.after.get(sent), log),
        )

    def _gap(self, doubt: Doubt, now: float) -> float:
        """Return seconds until a doubt is looked up again."""
        if self._learning:
            # One that is found tells how long the log takes, by a fifth too long at most.
            return min(HOUR, max(SAMPLE_SECONDS, (now - doubt.known_since) / 5))
        tries = doubt.tries
        return LOOK_UPS[tries] - LOOK_UPS[tries - 1] if tries < len(LOOK_UPS) else HOUR

    async def _adopt_found(self, means: Means, due: Mapping[str, Doubt], log: LookUp) -> GoingOn:
        going_on: GoingOn = []
        for sent, doubt in due.items():
            if (generation_id := log.found.get(sent)) is None:
                continue
            now = means.clock.now()
            if await means.ledger.accepted(
                doubt.record.task_id,
                generation_id,
                at=now,
                found_after=max(0.0, now - doubt.at),
            ):
                del self._doubts[sent]
                means.tally.moved(doubt.record, Status.UNRESOLVED, Status.IN_FLIGHT)
                going_on.append((doubt.record, Generation(generation_id, doubt.at, resumed=True)))
            elif moved := await self._exchanged(means, doubt.record, generation_id):
                del self._doubts[sent]
                going_on += moved
        return going_on

    @staticmethod
    async def _exchanged(means: Means, record: Record, generation_id: str) -> GoingOn:
        """Give a generation to its own task by the log, and its own one to the task that has it.

        Some answer gave that other task an id that was not its own. As long as it is on its way
        with it, or the log does not name its own, nothing is done: the next look-up sees.
        """
        holder = await means.ledger.holder(generation_id)
        if holder is None or holder.client_request_id is None or holder.status in UNDER_WAY:
            return []
        sent = holder.client_request_id
        log = await means.provider.find([sent], holder.submitted_at or 0.0, means.traffic.poll)
        if (own := log.found.get(sent)) in (None, generation_id):
            return []
        before = Status(holder.status)
        if not await means.ledger.exchange(
            holder.task_id, str(own), record.task_id, generation_id, at=means.clock.now()
        ):
            return []
        means.tally.moved(record, Status.UNRESOLVED, Status.IN_FLIGHT)
        means.tally.moved(holder, before, Status.IN_FLIGHT)
        means.tally.say(
            f"the provider's log says that generation {generation_id} is of task {record.task_id} "
            f"and not of {holder.task_id}: each is fetched by its own id"
            + (f"; {holder.file_name} is the other's video" if before is Status.SUCCEEDED else ""),
            Level.WARNING,
        )
        now = means.clock.now()
        return [
            (record, Generation(generation_id, record.submitted_at or now, resumed=True)),
            (holder, Generation(str(own), holder.submitted_at or now, resumed=True)),
        ]

    async def _repeat_lost(self, means: Means, due: Mapping[str, Doubt], log: LookUp) -> GoingOn:
        """Submit again what may be, by the job's word."""
        match self._on_ambiguous:
            case OnAmbiguous.HOLD:
                return []
            case OnAmbiguous.EVIDENCE:
                return await self._repeat_on_evidence(means, due, log)
            case OnAmbiguous.RESUBMIT:
                going_on: GoingOn = []
                for sent, doubt in due.items():
                    if sent in self._doubts and _may_resubmit(means, doubt):
                        record = await means.ledger.resubmit(
                            doubt.record.task_id, at=means.clock.now()
                        )
                        why = "its first submit was not found in the provider's log"
                        going_on.append(self._again(means, sent, record, why))
                return going_on

    async def _repeat_on_evidence(
        self, means: Means, due: Mapping[str, Doubt], log: LookUp
    ) -> GoingOn:
        """Judge all doubts by what is known of the log now, oldest first."""
        going_on: GoingOn = []
        ledger = means.ledger.sightings
        known = await ledger.log(means.base_url, means.clock.now())
        self._unstudied = not known.is_studied
        for sent, doubt in sorted(self._doubts.items(), key=lambda each: each[1].at):
            verdict = await self._judge(means, known, doubt)
            fresh = sent in due and log.lacks(sent, doubt.at)
            if verdict.ruling is Ruling.AGAIN and (refusal := means.spending.refusal()) is not None:
                verdict = Verdict(Ruling.LEARN, refusal)
            elif verdict.ruling is Ruling.AGAIN and not fresh:
                # Only what is not in the log at this very moment is submitted again.
                verdict = Verdict(Ruling.WAIT, "it is looked for once more")
                doubt.due = means.clock.monotonic()
            doubt.verdict = verdict
            self._look_in_time(doubt, means.clock.monotonic())
            if verdict.ruling is Ruling.AGAIN and not means.stopping.asked:
                record = await ledger.repeat(
                    doubt.record.task_id, verdict.reason, at=means.clock.now()
                )
                self._witnesses.repeat(sent, doubt.at, means.clock.monotonic())
                going_on.append(self._again(means, sent, record, verdict.reason))
                known = await ledger.log(means.base_url, means.clock.now())
        return going_on

    async def _judge(self, means: Means, known: evidence.Log, doubt: Doubt) -> Verdict:
        if doubt.record.base_url != means.base_url:
            return Verdict(Ruling.HOLD, "nothing says to which server it went")
        repeated = await means.ledger.sightings.was_repeated(doubt.record.task_id)
        return known.judge(replace(doubt.seen, repeated=repeated))

    @staticmethod
    def _look_in_time(doubt: Doubt, now: float) -> None:
        """Look a doubt up when it can be judged, if that is before it is due."""
        if doubt.verdict is not None and doubt.verdict.due is not None:
            # A second later, so that rounding does not make it too soon.
            when = doubt.known_since + doubt.verdict.due + 1.0
            doubt.due = min(doubt.due, when if when > now else now + SAMPLE_SECONDS)

    def _again(
        self, means: Means, sent: str, record: Record, why: str
    ) -> tuple[Record, Generation | None]:
        del self._doubts[sent]
        self.handed_out.add(record.task_id)
        # The first one may be billed, too.
        means.spending.keep(record.task_id, as_name=sent)
        means.spending.reserve(record.task_id)
        means.tally.moved(record, Status.UNRESOLVED, Status.PENDING)
        means.tally.say(
            f"task {record.task_id} is submitted again, as on_ambiguous says: {why}",
            Level.WARNING,
        )
        return record, None


def _is_found(neighbour: str | None, log: LookUp) -> bool | None:
    """Tell whether a look-up found a neighbour; None where there is none."""
    return None if neighbour is None else neighbour in log.found


def _may_resubmit(means: Means, doubt: Doubt) -> bool:
    return (
        doubt.looked_up >= FIRST_LOOK_UPS
        and doubt.record.attempts < means.settings.retry.attempts
        and _may_submit(means)
    )


def _may_submit(means: Means) -> bool:
    return not means.stopping.asked and means.spending.refusal() is None
