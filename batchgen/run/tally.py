"""What a run keeps count of while it goes on, and tells its watcher."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from batchgen.clock import Clock
from batchgen.events import Counted, Level, Notice, Observer, TaskMoved
from batchgen.ledger.tables import Record
from batchgen.policy import Phase
from batchgen.task import Status

SAY_AGAIN_SECONDS: Final = 60.0


class Tally:
    """Counts by status, failures in a row, and the time of the last good answer.

    Attributes:
        submitted: Submits begun in this run.
        failures_in_a_row: Tasks that failed since one succeeded.
        last_good: Monotonic seconds of the provider's last good answer, or of the start.
        welcomed: Whether the provider has taken our key in this run.
        troubled: Ids of tasks whose requests have failed several times in a row, or whose file's
            host is out of order.
        against: What the provider has said against the key, the account or the settings since its
            last good answer; None where nothing.
        last_failure: Why the latest task failed; empty while none has.
        carried: Tasks whose generation is waited for, and whose file is fetched or waits for that.
        files_wait: Why downloads were last paused since a file arrived; empty while they were not.
    """

    def __init__(
        self,
        counts: Mapping[Status, int],
        *,
        clock: Clock,
        observer: Observer,
    ) -> None:
        self._counts = Counter(counts)
        self._clock = clock
        self._observer = observer
        self._began = clock.monotonic()
        self.submitted = 0
        self.failures_in_a_row = 0
        self.last_good = self._began
        self.welcomed = False
        self.troubled: set[str] = set()
        self.against: str | None = None
        self.last_failure = ""
        self.files_wait = ""
        self.carried: Counter[Phase] = Counter()
        self._said: dict[str, float] = {}

    @contextmanager
    def during(self, phase: Phase) -> Iterator[None]:
        """Count a task as carried through a phase while the block runs."""
        self.carried[phase] += 1
        try:
            yield
        finally:
            self.carried[phase] -= 1

    @property
    def counts(self) -> dict[Status, int]:
        """Return the job's tasks by status."""
        return {status: count for status, count in self._counts.items() if count}

    @property
    def seconds(self) -> float:
        """Return how long the run has gone on."""
        return self._clock.monotonic() - self._began

    def recount(self, counts: Mapping[Status, int]) -> None:
        """Put the ledger's word in place of what was counted on the way."""
        self._counts = Counter(counts)

    def good(self) -> None:
        """Note an answer from the provider that was no refusal."""
        self.last_good = self._clock.monotonic()
        self.welcomed = True
        self.against = None

    def moved(
        self,
        record: Record,
        before: Status,
        now: Status,
        *,
        message: str | None = None,
        in_a_row: bool = True,
    ) -> None:
        """Note that a task changed its status, and tell the watcher.

        Args:
            record: The task.
            before: Its status until now.
            now: Its new status.
            message: Why, where there is something to say.
            in_a_row: Whether a failure counts among those in a row.
        """
        if not record.gone:
            self._counts[before] -= 1
            self._counts[now] += 1
        if now is Status.SUCCEEDED:
            self.failures_in_a_row = 0
            self.files_wait = ""
        elif now is Status.FAILED and in_a_row:
            self.failures_in_a_row += 1
            self.last_failure = message or ""
        done = now is Status.SUCCEEDED
        task = record.task
        self._observer(
            TaskMoved(
                task_id=record.task_id,
                index=record.idx,
                status=now,
                prompt=task.prompt,
                file_name=record.file_name if done else None,
                message=message,
            )
        )

    def say(self, message: str, level: Level = Level.INFO) -> None:
        """Tell the watcher something in a sentence."""
        self._observer(Notice(message, level))

    def say_sometimes(self, message: str, *, about: str | None = None) -> None:
        """Warn in a sentence, but about the same thing at most once a minute.

        Args:
            message: The sentence.
            about: What it is about, where the sentence differs from time to time.
        """
        now, about = self._clock.monotonic(), about or message
        if now - self._said.get(about, float("-inf")) >= SAY_AGAIN_SECONDS:
            self._said[about] = now
            self.say(message, Level.WARNING)

    def tell_counts(self) -> None:
        """Tell the watcher how the run stands."""
        self._observer(Counted(self.counts, self.seconds))
