"""Submits of known fate that are looked for beside doubts: what they show of the provider's log."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from batchgen.events import Level
from batchgen.outcomes import LookUp
from batchgen.run.means import Means

SAMPLE_SECONDS: Final = 60.0
"""While doubts are open, known submits are looked for this often: t is hardly known any better.

One request a minute, of one page most often; none in a run without doubts.
"""
REPEAT_SECONDS: Final = 600.0
"""How often submits that were repeated on evidence are looked for: they should never turn up."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for beside doubts: client request ids and Unix seconds of the submits.

    Attributes:
        known: Those whose generation is known and that no look-up has found yet.
        neighbours: Those that left just before and just after a doubt.
        repeats: Those that were repeated on evidence.
        before: The one that left before each doubt, by the doubt's client request id.
        after: The one that left after it.
    """

    known: Mapping[str, float] = field(default_factory=dict)
    neighbours: dict[str, float] = field(default_factory=dict)
    repeats: Mapping[str, float] = field(default_factory=dict)
    before: dict[str, str] = field(default_factory=dict)
    after: dict[str, str] = field(default_factory=dict)

    @property
    def all(self) -> dict[str, float]:
        """Return all of them."""
        return {**self.known, **self.neighbours, **self.repeats}


class Witnesses:
    """What a run does to learn how soon and how completely the log lists its submits."""

    def __init__(self) -> None:
        self._sample_due = 0.0
        self._repeats: dict[str, float] | None = None
        self._repeats_due = 0.0

    def next_due(self) -> float:
        """Return monotonic seconds of the next look at known submits."""
        return self._sample_due

    async def wanted(self, means: Means, due: Mapping[str, float], *, learning: bool) -> Wanted:
        """Choose what to look for.

        Args:
            means: The run.
            due: The doubts that are looked up now, and when they left.
            learning: Whether there are doubts that known submits may settle.
        """
        ledger, where = means.ledger.sightings, means.base_url
        now, wall = means.clock.monotonic(), means.clock.now()
        if self._repeats is None:
            self._repeats = await ledger.repeated(where, wall)
        repeats: dict[str, float] = {}
        if self._repeats and now >= self._repeats_due:
            repeats, self._repeats_due = self._repeats, now + REPEAT_SECONDS
        if not learning or (not due and now < self._sample_due):
            return Wanted(repeats=repeats)
        self._sample_due = now + SAMPLE_SECONDS
        found = Wanted(known=await ledger.to_look_for(where, wall), repeats=repeats)
        for sent, at in due.items():
            before, after = await ledger.neighbours(where, at)
            for neighbour, side in ((before, found.before), (after, found.after)):
                if neighbour is not None:
                    name, left = neighbour
                    side[sent], found.neighbours[name] = name, left
        return found

    async def note(
        self, means: Means, wanted: Wanted, doubts: Mapping[str, float], log: LookUp, asked: float
    ) -> None:
        """Keep what a look-up showed.

        Args:
            means: The run.
            wanted: What was looked for.
            doubts: Doubts that were looked for, too, and when they left.
            log: What was found.
            asked: Unix seconds at which the look-up began.
        """
        answered = means.clock.now()
        # Ages are measured late where they speak for a log and early where they speak against
        # one; a clock that was set back between submit and look-up says nothing.
        listed = {
            sent: answered - at
            for sent, at in wanted.known.items()
            if (sent in log.found or sent in log.without_id) and answered >= at
        }
        absent = {
            sent: asked - at
            for sent, at in {**wanted.known, **wanted.repeats, **doubts}.items()
            if log.lacks(sent, at) and asked >= at
        }
        await means.ledger.sightings.note(listed, absent)
        for sent, at in wanted.repeats.items():
            if (generation_id := log.found.get(sent)) is not None:
                await self._turned_up(means, sent, generation_id, answered - at)

    def repeat(self, client_request_id: str, at: float, now: float) -> None:
        """Look from now on for a submit that is repeated on evidence.

        Args:
            client_request_id: The submit.
            at: Unix seconds at which it left.
            now: Monotonic seconds.
        """
        self._repeats = {**(self._repeats or {}), client_request_id: at}
        self._repeats_due = min(self._repeats_due, now + SAMPLE_SECONDS)

    def is_last_look_due(self, now: float) -> bool:
        """Tell whether those that were repeated were not looked for lately; they are due then.

        Args:
            now: Monotonic seconds.
        """
        if not self._repeats or now < self._repeats_due - REPEAT_SECONDS + SAMPLE_SECONDS:
            return False
        self._repeats_due = now
        return True

    async def _turned_up(self, means: Means, sent: str, generation_id: str, after: float) -> None:
        self._repeats = {each: at for each, at in (self._repeats or {}).items() if each != sent}
        record = await means.ledger.sightings.turned_up(sent, generation_id, max(0.0, after))
        means.tally.say(
            f"task {record.task_id} is paid for twice: its first submit is in the provider's log "
            f"now, as {generation_id}, which the manifest has as its duplicate; nothing more is "
            "submitted again on evidence",
            Level.WARNING,
        )
