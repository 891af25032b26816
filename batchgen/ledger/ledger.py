"""The steps of a task, each checked and durable, and what reports read.

It never talks to a provider and decides nothing: it checks that a step is allowed and keeps it.
"""

import json
import secrets
import sqlite3
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property, partial
from pathlib import Path, PurePosixPath
from typing import Self, TypeVar

from batchgen.column_types import ColumnType
from batchgen.errors import LedgerError, RunDirectoryError
from batchgen.evidence import Log
from batchgen.ledger import between, moves, questions, sightings
from batchgen.ledger.admission import Admission, admit, column_types
from batchgen.ledger.catch_up import KnownSubmit, TakenIn, strange, take_in, unknown
from batchgen.ledger.questions import Ending
from batchgen.ledger.rescue import Rescue, rescued
from batchgen.ledger.sightings import Sightings
from batchgen.ledger.tables import SELECT, Record, file_name
from batchgen.ledger.writer import Step, Writer
from batchgen.models import Scalar
from batchgen.rundir import RunDirectory
from batchgen.spending import Booking, Spent
from batchgen.task import Cause, Status, Task
from batchgen.urls import host_of

T = TypeVar("T")


class Ledger:
    """The durable state of one run directory, held against other processes while it is open.

    Attributes:
        when_full: Awaited before a step is tried again on a full disk; None raises instead.
        last_entry: Unix seconds of the latest submit that it knew by itself when it was bound; 0
            without any. What it learns from others says nothing of its own age.
        sightings: What is known of the provider's log.
    """

    def __init__(
        self,
        directory: RunDirectory,
        descriptor: int,
        writer: Writer,
        rescue: Rescue,
        held: ExitStack,
    ) -> None:
        """Put the parts together; `open` is the way in."""
        self.directory = directory
        self.when_full: Callable[[LedgerError], Awaitable[None]] | None = None
        self.last_entry = 0.0
        self._descriptor = descriptor
        self._rescue = rescue
        self._writer = writer
        self._held = held
        self._broken = False
        self.sightings = Sightings(self._record)

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Open the ledger of a run directory, which is made where there is none.

        Raises:
            RunDirectoryError: It cannot be written, is damaged, is newer than this version, or
                holds results without a ledger.
            RunLocked: Another process holds it.
        """
        directory = RunDirectory(Path(path))
        directory.create()
        with ExitStack() as held:
            descriptor = held.enter_context(directory.lock())
            try:
                known = directory.has_results() or bool(rescued(directory.rescued_ids))
                writer = Writer(directory.ledger, may_begin=not known)
                held.callback(writer.close)
                rescue = Rescue(directory.rescued_ids)
            except OSError as error:
                raise RunDirectoryError(
                    f"cannot use {directory.state}: {error.strerror or error}"
                ) from None
            held.callback(rescue.close)
            return cls(directory, descriptor, writer, rescue, held.pop_all())

    @property
    def is_new(self) -> bool:
        """Tell whether it was made by this opening, so that no submit can be older."""
        return self._writer.is_new

    @property
    def in_place(self) -> bool:
        """Tell whether the run directory still is where it was opened, and the same one."""
        return self.directory.is_at(self._descriptor)

    def close(self) -> None:
        """Finish the steps that wait, close the file, give the directory back."""
        self._held.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Before and after a run: these block.

    def bind(self, provider_kind: str) -> None:
        """Give the directory to one provider, for good.

        Raises:
            RunDirectoryError: It holds another provider's tasks.
        """

        def step(db: sqlite3.Connection) -> tuple[str, float]:
            db.execute("INSERT OR IGNORE INTO about VALUES ('provider', ?)", (provider_kind,))
            row = db.execute("SELECT value FROM about WHERE key = 'provider'").fetchone()
            return str(row[0]), questions.last_entry(db)

        holder, self.last_entry = self._writer.ask(step)
        if holder != provider_kind:
            raise RunDirectoryError(
                f"{self.directory.path} holds tasks of the provider {holder}, not {provider_kind}; "
                "choose another directory with --output"
            )

    @cached_property
    def run_id(self) -> str:
        """The run directory's own id, which tells its submits from those of the same job elsewhere.

        12 hexadecimal digits, drawn when the ledger was made.
        """
        sql = "SELECT value FROM about WHERE key = 'run_id'"
        return str(self._writer.ask(lambda db: db.execute(sql).fetchone())[0])

    def new_client_request_id(self, task_id: str) -> str:
        """Make up what a submit is sent with: task, run directory and 64 bits of chance."""
        return f"{task_id}.{self.run_id}.{secrets.token_hex(8)}"

    def admit(self, tasks: Iterable[tuple[Task, int, str]]) -> Admission:
        """Take in a job's tasks: new ones join, known ones keep their state and their name.

        Args:
            tasks: Each task with its order of submission and the stem of its file's name.

        Raises:
            LedgerError: The ledger cannot be written.
        """
        return self._writer.ask(lambda db: admit(db, tasks))

    def unknown(self, submits: Iterable[KnownSubmit]) -> list[KnownSubmit]:
        """Return the submits that the ledger knows nothing of, or not what became of them."""
        return self._writer.ask(lambda db: list(unknown(db, submits)))

    def catch_up(self, submits: Iterable[KnownSubmit], source: str, *, at: float) -> TakenIn:
        """Take in submits that others know of and the ledger does not, at Unix seconds `at`.

        Args:
            submits: What they know.
            source: Who they are, for the record.
            at: Unix seconds.

        Raises:
            LedgerError: The ledger cannot be written.
        """
        return self._writer.ask(lambda db: take_in(db, submits, source, at))

    def recover(self) -> int:
        """Take in rescued ids, then mark submits that were cut off as in doubt.

        Returns:
            How many are in doubt.
        """
        rescued = [(generation_id, task_id) for task_id, generation_id in self._rescue.found]

        doubtful = self._writer.ask(lambda db: between.recover(db, rescued))
        if rescued:
            try:
                self._rescue.clear()
            except OSError as error:
                # What stays in it would be given to a later submit of the same task.
                path = self.directory.rescued_ids
                raise LedgerError(f"cannot write to {path}: {error.strerror or error}") from error
        return doubtful

    def resume_paid(self, reasons: Sequence[str] = (), *, forgotten: bool = True) -> int:
        """Put tasks that have an id worth asking about back in flight; return how many.

        A poll that timed out and a download that failed are free to try again: the id was paid for.

        Args:
            reasons: Only tasks that ended for one of these, as `Ending.matches` has it; all where
                empty.
            forgotten: Whether an id that the provider did not know any more is asked about again;
                if not, it is left to `retry`.
        """
        return self._writer.ask(lambda db: between.resume_paid(db, reasons, forgotten=forgotten))

    def refetch_missing(self) -> int:
        """Put tasks whose file has vanished back in flight, to be fetched by their id; count them.

        Their videos are paid for: what they cost and when they were made stays.
        """
        folder = self.directory.path
        return self._writer.ask(lambda db: between.refetch_missing(db, folder))

    def retry(self, reasons: Sequence[str] = (), *, at: float) -> list[str]:
        """Make failed tasks pending again, so that they are submitted anew.

        Those with an id worth asking about are left to `resume_paid`. One whose id the provider
        forgot is submitted anew, on record; what it has cost stays counted.

        Args:
            reasons: Only tasks that failed for one of these, as `Ending.matches` has it; all where
                empty.
            at: Unix seconds.

        Returns:
            The ids of all tasks that wait to be submitted anew, also those that an earlier retry
            did not come to.
        """
        return self._writer.ask(lambda db: between.retry(db, reasons, at))

    def replace(
        self, another: Callable[[Record, int], tuple[Task, str]], reasons: Sequence[str] = ()
    ) -> list[str]:
        """Put another task in the place of each failed one that `retry` would submit anew.

        The failed one stays as it is, for good, and is no longer the job's: a job that is admitted
        with it has the other one instead.

        Args:
            another: Makes the n-th task that may replace a failed one, n from 1, and the stem of
                its file's name; asked again while the ledger has such a task already.
            reasons: As for `retry`.

        Returns:
            As `retry` does.
        """
        return self._writer.ask(lambda db: between.replace(db, reasons, another))

    def doubts(self) -> list[tuple[Record, float | None]]:
        """Return the tasks whose submit is in doubt, oldest first, each with its reserved cost.

        The cost is in US dollars; None where nobody knows it.
        """
        return self._writer.ask(between.in_doubt)

    def forgotten(self) -> list[tuple[Record, float | None]]:
        """Return the tasks whose id the provider forgot, oldest first, each with what it cost.

        In US dollars, or what was reserved for it; None where nobody knows.
        """
        return self._writer.ask(between.forgotten)

    def repeats(self) -> list[tuple[str, str, str | None]]:
        """Return the tasks that runs submitted again on evidence, first ones first.

        Each with that evidence, and the generation of the first submit if it turned up after all.
        """
        return self._writer.ask(sightings.evidence_of_repeats)

    def log_of(self, base_url: str | None, now: float) -> Log:
        """Return what runs saw of a server's log in the days before Unix seconds `now`."""
        return self._writer.ask(lambda db: sightings.log(db, base_url, now))

    def adopt(self, task_id: str, generation_id: str, *, at: float) -> bool:
        """Give a submit in doubt the id that a person found for it, at Unix seconds `at`.

        Returns:
            False where another task has this id: then nothing was changed.

        Raises:
            LedgerError: The task is unknown, or its submit is not in doubt.
        """
        return self._writer.ask(lambda db: between.adopt(db, task_id, generation_id, at))

    def submit_again(self, task_ids: Sequence[str], *, at: float) -> None:
        """Decide, on record, that tasks are submitted a second time: all or none of them.

        Raises:
            LedgerError: A task is unknown, or its submit is neither in doubt nor forgotten.
        """

        def step(db: sqlite3.Connection) -> None:
            for task_id in task_ids:
                between.resubmit(db, task_id, at)

        self._writer.ask(step)

    def abandon(self, task_ids: Sequence[str], *, at: float) -> None:
        """Give tasks in doubt up, all or none of them; what they may have cost stays counted.

        Raises:
            LedgerError: A task is unknown, or its submit is not in doubt.
        """

        def step(db: sqlite3.Connection) -> None:
            for task_id in task_ids:
                between.abandon(db, task_id, at)

        self._writer.ask(step)

    def counts(self) -> dict[Status, int]:
        """Count the job's tasks by status; a status without tasks is left out."""
        rows = self._writer.ask(
            lambda db: db.execute(
                "SELECT status, count(*) FROM tasks WHERE NOT gone GROUP BY status"
            ).fetchall()
        )
        return {Status(status): count for status, count in rows}

    def endings(self) -> list[Ending]:
        """Return how tasks of the job failed or timed out, most first."""
        return self._writer.ask(questions.endings)

    def spent(self, model: str) -> Spent:
        """Return what is spent or reserved, and what a video of this model was billed at most."""
        return self._writer.ask(lambda db: questions.spent(db, model))

    def changes(self) -> int:
        """Return a number that grows with every row that is changed while the ledger is open."""
        return self._writer.ask(lambda db: db.total_changes)

    def cost(self) -> tuple[float | None, bool]:
        """Return the sum of known costs in US dollars (None where none is known), and whether part
        of it is an estimate."""  # noqa: D205, D209
        total, estimated = self._writer.ask(
            lambda db: db.execute(
                "SELECT sum(cost_usd), max(cost_is_estimate) FROM submits"
            ).fetchone()
        )
        return total, bool(estimated)

    def records(self, page: int = 500) -> Iterator[Record]:
        """Yield every task in the job's order, those it no longer has last, a page at a time.

        Each row is whole; rows may change between pages while a run goes on.
        """
        place: tuple[int, int, str] = (0, -1, "")
        while rows := self._writer.ask(partial(_page, place=place, size=page)):
            yield from rows
            place = (rows[-1].gone, rows[-1].idx, rows[-1].task_id)

    def statuses(self, task_ids: Sequence[str]) -> dict[str, Status]:
        """Return the status of each of these tasks that is known."""
        marks = ", ".join("?" * len(task_ids))
        sql = f"SELECT task_id, status FROM tasks WHERE task_id IN ({marks})"
        rows = self._writer.ask(lambda db: db.execute(sql, tuple(task_ids)).fetchall())
        return {task_id: Status(status) for task_id, status in rows}

    def durations(self, limit: int) -> list[tuple[Mapping[str, Scalar], float]]:
        """Return the parameters of tasks that were made last, and the seconds each took.

        At most `limit` of them, the last one at the end: by the order of submission, for which
        there is an index.
        """
        sql = (
            "SELECT params, queue_s + generate_s FROM tasks WHERE status = 'succeeded' AND gone = 0"
            " AND queue_s + generate_s > 0 ORDER BY position DESC LIMIT ?"
        )
        rows = self._writer.ask(lambda db: db.execute(sql, (limit,)).fetchall())
        return [(json.loads(params), seconds) for params, seconds in reversed(rows)]

    def longest_name(self) -> str:
        """Return the longest name that a video has or will have, in bytes; empty without tasks."""
        sql = "SELECT stem FROM tasks ORDER BY length(CAST(stem AS BLOB)) DESC LIMIT 1"
        row = self._writer.ask(lambda db: db.execute(sql).fetchone())
        return PurePosixPath(file_name(row[0])).name if row else ""

    def file_hosts(self, limit: int) -> set[str]:
        """Return the hosts of the files that arrived last, at most `limit` of them looked at.

        Those of files that have vanished since count too.
        """
        sql = (
            "SELECT video_url FROM (SELECT video_url FROM tasks WHERE status = 'succeeded'"
            " AND gone = 0 ORDER BY position DESC LIMIT ?) UNION SELECT video_url FROM tasks"
            " WHERE status IN ('in_flight', 'completed') AND downloaded_at IS NOT NULL"
        )
        rows = self._writer.ask(lambda db: db.execute(sql, (limit,)).fetchall())
        return {host_of(video_url) for (video_url,) in rows if video_url}

    def column_types(self) -> tuple[Mapping[str, set[ColumnType]], Mapping[str, set[ColumnType]]]:
        """Return the names of all parameters and of all variables that any task has, and the types
        of their values."""  # noqa: D205, D209
        return self._writer.ask(
            lambda db: (column_types(db, "types:params"), column_types(db, "types:variables"))
        )

    def under_way(self) -> list[Record]:
        """Return the tasks the provider has and whose file is not here yet, oldest first."""
        return self._with_status(Status.IN_FLIGHT, Status.COMPLETED)

    def unresolved(self) -> list[Record]:
        """Return the tasks whose submit is in doubt, oldest first."""
        return self._with_status(Status.UNRESOLVED)

    def _with_status(self, *statuses: Status) -> list[Record]:
        marks = ", ".join("?" * len(statuses))
        sql = f"{SELECT} WHERE status IN ({marks}) ORDER BY submitted_at"
        return self._writer.ask(lambda db: [Record(*row) for row in db.execute(sql, statuses)])

    # During a run: each of these returns when the step is durable.

    async def _record(self, step: Step[T]) -> T:
        """Do a step and wait until it is durable; where the disk is full, wait until it is not."""
        while True:
            try:
                return await self._writer.record(step)
            except LedgerError as error:
                if not error.full or self.when_full is None:
                    raise
                await self.when_full(error)

    async def pending(self, after: int, limit: int) -> list[Record]:
        """Return the next tasks to submit, in order, behind the position `after`."""
        sql = (
            f"{SELECT} WHERE status = 'pending' AND gone = 0 AND position > ?"
            " ORDER BY position LIMIT ?"
        )
        return await self._record(
            lambda db: [Record(*row) for row in db.execute(sql, (after, limit))]
        )

    async def latest_done(self, base_url: str | None) -> tuple[str, str] | None:
        """Return id and model of the generation that was last seen to be done at a server."""
        return await self._record(lambda db: questions.latest_done(db, base_url))

    async def intend(
        self,
        task_id: str,
        *,
        client_request_id: str,
        body_sha256: str,
        reserved_usd: float | None,
        at: float,
        base_url: str | None = None,
    ) -> None:
        """Note that a submit is about to leave. Without it no POST is made.

        Args:
            task_id: The task.
            client_request_id: What the submit is sent with.
            body_sha256: Hash of what is sent.
            reserved_usd: US dollars it may cost; None where nobody knows.
            at: Unix seconds.
            base_url: Where it goes; None for the sandbox inside the run.

        Raises:
            LedgerError: It could not be made durable, or an id could not, earlier.
        """
        if self._broken:
            raise LedgerError("an id could not be kept, so nothing more is submitted")

        def step(db: sqlite3.Connection) -> None:
            moves.move(
                db,
                task_id,
                Status.SUBMITTING,
                client_request_id=client_request_id,
                submitted_at=at,
                base_url=base_url,
            )
            db.execute(
                "INSERT INTO submits (client_request_id, task_id, attempt, body_sha256,"
                " reserved_usd, intended_at) SELECT ?, ?, attempts, ?, ?, ? FROM tasks"
                " WHERE task_id = ?",
                (client_request_id, task_id, body_sha256, reserved_usd, at, task_id),
            )

        await self._writer.record(step)

    async def accepted(
        self, task_id: str, generation_id: str, *, at: float, found_after: float | None = None
    ) -> bool:
        """Keep the id a submit was given, also one found later in the provider's log.

        Args:
            task_id: The task.
            generation_id: The id.
            at: Unix seconds.
            found_after: Seconds after the submit at which a look-up in the log found it; None if
                the submit itself was answered with it.

        Returns:
            False where another task has this id already: then nothing was kept.

        Raises:
            LedgerError: It could not be made durable; the text says where the id is now.
        """

        def step(db: sqlite3.Connection) -> bool:
            if found_after is None:
                return moves.take_id(db, task_id, generation_id, at)
            return sightings.adopt(db, task_id, generation_id, at, found_after)

        try:
            return await self._writer.record(step)
        except LedgerError as error:
            told = LedgerError(f"{error}; {self._keep_aside(task_id, generation_id)}")
            told.full = error.full
            if not error.full or self.when_full is None:
                self._broken = isinstance(error.__cause__, sqlite3.Error)
                raise told from error
            await self.when_full(told)
        return await self._record(step)

    def _keep_aside(self, task_id: str, generation_id: str) -> str:
        """Write down an id that the ledger could not keep; say in a sentence where it is.

        What is paid for must be found again: room was set aside for just this.
        """
        path = self.directory.rescued_ids
        try:
            self._rescue.keep(task_id, generation_id)
        except OSError as error:
            return (
                f"nor could {path} ({error.strerror or error}). Write this down, it is paid for: "
                f"batchgen resolve {self.directory.path} {task_id} --adopt {generation_id}"
            )
        return f"the id {generation_id} of task {task_id} is kept in {path} for the next run"

    async def holder(self, generation_id: str) -> Record | None:
        """Return the task that has a generation; None where none has."""
        sql = f"{SELECT} WHERE generation_id = ?"

        def step(db: sqlite3.Connection) -> Record | None:
            row = db.execute(sql, (generation_id,)).fetchone()
            return None if row is None else Record(*row)

        return await self._record(step)

    async def exchange(
        self, holder_id: str, own_id: str, task_id: str, generation_id: str, *, at: float
    ) -> bool:
        """Give a generation to the task it is of, and the task that had it the one of its own.

        Args:
            holder_id: The task that has the generation.
            own_id: The generation that was made for that task.
            task_id: The task in doubt that the generation was made for.
            generation_id: The generation.
            at: Unix seconds.

        Returns:
            False where a third task has `own_id`: then nothing was changed.
        """
        return await self._record(
            lambda db: moves.exchange(db, holder_id, own_id, task_id, generation_id, at)
        )

    async def not_taken(self, task_id: str, outcome: str, detail: str, *, at: float) -> None:
        """Put back a task whose submit took nothing, as far as anybody says.

        What was refused keeps the name it was sent with: it is looked up before it is repeated.

        Args:
            task_id: The task.
            outcome: `not_sent` or `refused`.
            detail: Why.
            at: Unix seconds.
        """

        def step(db: sqlite3.Connection) -> None:
            db.execute("UPDATE tasks SET attempts = attempts - 1 WHERE task_id = ?", (task_id,))
            moves.settle_submit(db, task_id, outcome, at, detail=detail)
            if outcome == "refused":
                moves.move(db, task_id, Status.PENDING)
            else:
                moves.move(db, task_id, Status.PENDING, client_request_id=None, submitted_at=None)

        await self._record(step)

    async def in_doubt(self, task_id: str, detail: str, *, at: float) -> Record:
        """Hold a task whose submit may have been taken; return it as it is now."""

        def step(db: sqlite3.Connection) -> Record:
            moves.reopen_refused(db, task_id)
            moves.settle_submit(db, task_id, "ambiguous", at, detail=detail)
            moves.move(
                db,
                task_id,
                Status.UNRESOLVED,
                error_code="ambiguous_submit",
                error_message=moves.short(detail),
                cause=Cause.SUBMIT,
            )
            return moves.record(db, task_id)

        return await self._record(step)

    async def learn(self, submits: Sequence[KnownSubmit], source: str, *, at: float) -> TakenIn:
        """As `catch_up`, while a run goes on."""
        return await self._record(lambda db: take_in(db, submits, source, at))

    async def strange(self, client_request_ids: Collection[str]) -> list[str]:
        """Return those that name a task, not in doubt itself, and no submit that is known."""
        return await self._record(lambda db: strange(db, client_request_ids))

    async def tasks(self, task_ids: Sequence[str]) -> list[Record]:
        """Return tasks as they are.

        Raises:
            LedgerError: One is unknown.
        """
        return await self._record(lambda db: [moves.record(db, name) for name in task_ids])

    async def resubmit(self, task_id: str, *, at: float) -> Record:
        """Decide, on record, to submit a task in doubt a second time; return it as it is now."""

        def step(db: sqlite3.Connection) -> Record:
            between.resubmit(db, task_id, at)
            return moves.record(db, task_id)

        return await self._record(step)

    async def completed(
        self,
        task_id: str,
        *,
        video_url: str,
        at: float,
        polls: int,
        queue_s: float | None,
        generate_s: float | None,
        cost_usd: float | None,
        cost_is_estimate: bool,
    ) -> Booking | None:
        """Note that the provider is done. An address asked for afresh changes no times.

        Args:
            task_id: The task.
            video_url: Where its file is, without the signature.
            at: Unix seconds.
            polls: How often it was asked about since the last step.
            queue_s: Seconds in the queue, if seen.
            generate_s: Seconds generating, if seen.
            cost_usd: US dollars.
            cost_is_estimate: Whether the cost is not the provider's word.

        Returns:
            What was booked; None where nothing was.
        """

        def step(db: sqlite3.Connection) -> Booking | None:
            sql = "SELECT completed_at FROM tasks WHERE task_id = ?"
            before = db.execute(sql, (task_id,)).fetchone()
            if before is not None and before[0] is not None:
                moves.move(db, task_id, Status.COMPLETED, polls=polls, video_url=video_url)
            else:
                moves.move(
                    db,
                    task_id,
                    Status.COMPLETED,
                    polls=polls,
                    video_url=video_url,
                    completed_at=at,
                    more_videos=None,
                    queue_s=queue_s,
                    generate_s=generate_s,
                )
            return moves.book(db, task_id, cost_usd, is_estimate=cost_is_estimate)

        return await self._record(step)

    async def expired(self, task_id: str) -> None:
        """Go back from a video whose address no longer works to asking for a new one."""
        await self._record(lambda db: moves.move(db, task_id, Status.IN_FLIGHT))

    async def verified(self, task_id: str, *, size: int, sha256: str) -> None:
        """Keep a checked file's size and hash before it gets its final name."""

        def step(db: sqlite3.Connection) -> None:
            changed = db.execute(
                "UPDATE tasks SET bytes = ?, sha256 = ? WHERE task_id = ? AND status = 'completed'",
                (size, sha256, task_id),
            ).rowcount
            if changed != 1:
                raise LedgerError(f"task {task_id} has no video whose file could be kept")

        await self._record(step)

    async def verified_beside(
        self, task_id: str, videos: Sequence[tuple[str, int, str]], stem: str
    ) -> bool:
        """Keep names, sizes and hashes of a task's further videos before the last is named so.

        Args:
            task_id: The task.
            videos: Name without its ending, bytes and SHA-256 of each.
            stem: The name of the last one.

        Returns:
            Whether they are kept: no task's own video has that name.
        """

        def step(db: sqlite3.Connection) -> bool:
            sql = "SELECT 1 FROM tasks WHERE stem = ?"
            if db.execute(sql, (stem,)).fetchone() is not None:
                return False
            sql = "UPDATE tasks SET more_videos = ? WHERE task_id = ? AND status = 'completed'"
            if db.execute(sql, (json.dumps(videos), task_id)).rowcount != 1:
                raise LedgerError(f"task {task_id} has no video beside which one could be kept")
            return True

        return await self._record(step)

    async def renamed(self, task_id: str) -> Record:
        """Give a task's video another name, since another file has its own; return the task."""
        return await self._record(lambda db: moves.rename(db, task_id))

    async def succeeded(
        self,
        task_id: str,
        *,
        at: float,
        download_s: float | None,
        width: int | None,
        height: int | None,
        fps: float | None,
        duration_s: float | None,
    ) -> None:
        """Note that the file lies under its final name."""
        await self._record(
            lambda db: moves.move(
                db,
                task_id,
                Status.SUCCEEDED,
                downloaded_at=at,
                download_s=download_s,
                width=width,
                height=height,
                fps=fps,
                duration_s=duration_s,
                error_code=None,
                error_message=None,
                cause=None,
            )
        )

    async def failed(
        self,
        task_id: str,
        cause: Cause,
        code: str,
        message: str,
        *,
        at: float,
        polls: int = 0,
        bill_usd: float | None = None,
    ) -> Booking | None:
        """Note that a task failed, in which phase and why.

        Args:
            task_id: The task.
            cause: The phase.
            code: The error code.
            message: Why.
            at: Unix seconds.
            polls: How often it was asked about since the last step.
            bill_usd: US dollars that the provider charges all the same; None where nothing.

        Returns:
            What was booked; None where nothing was.
        """

        def step(db: sqlite3.Connection) -> Booking | None:
            if cause is Cause.SUBMIT:
                moves.settle_submit(db, task_id, "refused", at, detail=message)
            moves.move(
                db,
                task_id,
                Status.FAILED,
                polls=polls,
                error_code=code,
                error_message=moves.short(message),
                cause=cause,
            )
            return moves.book(db, task_id, bill_usd, is_estimate=False)

        return await self._record(step)

    async def timed_out(self, task_id: str, message: str, *, polls: int) -> None:
        """Note that a generation took too long; its id stays, the next run asks again."""

        def step(db: sqlite3.Connection) -> None:
            moves.move(
                db,
                task_id,
                Status.TIMED_OUT,
                polls=polls,
                error_code="timed_out",
                error_message=message,
                cause=Cause.FETCH,
            )

        await self._record(step)


def _page(db: sqlite3.Connection, *, place: tuple[int, int, str], size: int) -> list[Record]:
    sql = f"{SELECT} WHERE (gone, idx, task_id) > (?, ?, ?) ORDER BY gone, idx, task_id LIMIT ?"
    return [Record(*row) for row in db.execute(sql, (*place, size))]
