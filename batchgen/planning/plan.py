"""The plan: one walk over a job's tasks, each held against what its run directory knows of it."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Final

from batchgen.deadline import next_deadline
from batchgen.errors import RunDirectoryError
from batchgen.expansion import count, expand
from batchgen.grid import cells
from batchgen.job import Job, ProviderSettings
from batchgen.ledger.catch_up import KnownSubmit
from batchgen.ledger.snapshot import Past, Snapshot, Standing, read_ledger
from batchgen.models import Scalar
from batchgen.planning import estimate
from batchgen.planning.axes import Cut, Cuts, axis_values
from batchgen.planning.estimate import Price, PriceSource, Requests
from batchgen.report.known import known_submits
from batchgen.rundir import RunDirectory
from batchgen.spending import Spending, Spent
from batchgen.task import FORGOTTEN, Cause, Status, Task

FIRST_TASKS: Final = 5
_BATCH: Final = 500
_ASKED_AGAIN: Final = frozenset({"to_poll", "timed_out", "unresolved"})


@dataclass(frozen=True, slots=True)
class Failure:
    """Tasks of the job that ended badly, for one reason.

    Attributes:
        status: The word of `Plan.by_status` they are counted under.
        code: The reason.
        message: An example of what was said.
        count: How many tasks.
    """

    status: str
    code: str
    message: str
    count: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run would do.

    Attributes:
        tasks: Tasks of the job.
        prompts: Prompts of the job.
        repeats: Cells that ask for the same as an earlier one, or for what has taken its place;
            they are no tasks of their own.
        by_status: Tasks by what a run would find: `new`, `to_poll`, `succeeded`, `failed`,
            `timed_out`, `unresolved`, `cancelled`, and `gone` for those the job no longer has.
        gone: These, by what became of them.
        failures: Why tasks failed, most first.
        axes: The values of each axis, in written order.
        by_axis: The tasks by the values of each axis; empty where no run has been.
        first: The first few tasks.
        price: What one video costs; None where nobody said, or nobody was asked.
        spent_usd: US dollars spent or reserved in the run directory so far.
        submits: How many submits that were.
        affordable: How many new videos the budget allows; None where it bounds nothing.
        requests: About how many requests a run makes, within the budget.
        past: What earlier generations tell; None where there are none.
        seconds: How long the new ones would take, as earlier ones did; None where there are none.
        warnings: What a person should know before the run, a sentence each.
        ends_at: Unix seconds after which a run that began now would submit nothing new; None for
            never.
    """

    tasks: int
    prompts: int
    repeats: int
    by_status: Mapping[str, int]
    gone: Mapping[str, int]
    failures: list[Failure]
    axes: Mapping[str, list[Scalar]]
    by_axis: list[Cut]
    first: list[Task]
    price: Price | None
    spent_usd: float
    submits: int
    affordable: int | None
    requests: Requests
    past: Past | None
    seconds: float | None
    warnings: tuple[str, ...]
    ends_at: float | None = None

    @property
    def new(self) -> int:
        """Return how many tasks would be submitted if no budget stopped the run."""
        return self.by_status["new"]

    @property
    def within_budget(self) -> int:
        """Return how many tasks would be submitted."""
        return self.new if self.affordable is None else min(self.new, self.affordable)

    @property
    def cost_usd(self) -> float | None:
        """Return US dollars for the new ones, budget or not; None where nobody knows."""
        return None if self.price is None else round(self.price.usd * self.new, 6)

    def as_json(self) -> dict[str, object]:
        """Return the plan as JSON carries it."""
        price = self.price
        return {
            "tasks": self.tasks,
            "prompts": self.prompts,
            "repeats": self.repeats,
            "by_status": dict(self.by_status),
            "gone": dict(self.gone),
            "failures": [asdict(failure) for failure in self.failures],
            "axes": dict(self.axes),
            "by_axis": {cut.axis: cut.as_json() for cut in self.by_axis},
            "cost_usd": self.cost_usd,
            "usd_per_video": None if price is None else price.usd,
            "price_from": None if price is None else price.source.value,
            "play_money": None if price is None else price.play_money,
            "spent_usd": round(self.spent_usd, 6),
            "submits": self.submits,
            "budget_stops_after": None if self.within_budget == self.new else self.within_budget,
            "requests": asdict(self.requests),
            "seconds": self.seconds,
            "durations": 0 if self.past is None else self.past.count,
            "ends_at": self.ends_at,
            "warnings": list(self.warnings),
        }


def make_plan(
    job: Job,
    quote: Callable[[ProviderSettings], float | None],
    now: Callable[[], float] = time.time,
) -> Plan:
    """Hold a job against its run directory, in memory that does not grow with the job.

    Args:
        job: The job.
        quote: Asks the provider what a video costs; only called where that matters and the job
            does not say.
        now: Wall-clock time in Unix seconds.

    Raises:
        RunDirectoryError: The run directory cannot be read, or holds another provider's tasks.
        RunLocked: A run is going on in it.
    """
    found = _found(job)
    new = found.by_status["new"]
    price = _price(job, quote, found.spent.highest_bill) if new else None
    spending = Spending(job.budget, found.spent, None if price is None else price.usd)
    affordable = estimate.affordable(job.budget, price, spending.committed_usd, spending.submits)
    to_submit = new if affordable is None else min(new, affordable)
    past = found.past
    return Plan(
        tasks=found.tasks,
        prompts=len(job.prompts),
        repeats=cells(job) - found.tasks,
        by_status={"new": new, **{word: n for word, n in found.by_status.items() if n}},
        gone=found.gone,
        failures=found.failures,
        axes=dict(axis_values(job)),
        by_axis=found.by_axis,
        first=list(islice(expand(job), FIRST_TASKS)),
        price=price,
        spent_usd=spending.committed_usd,
        submits=spending.submits,
        affordable=affordable,
        requests=estimate.requests(
            to_submit,
            sum(found.by_status[word] for word in _ASKED_AGAIN),
            estimate.USUAL_POLLS if past is None else past.polls,
        ),
        past=past,
        seconds=None
        if past is None or to_submit == 0
        else estimate.seconds(to_submit, job.run.concurrency, past.seconds),
        warnings=(*job.warnings, *found.warnings),
        ends_at=None if job.run.stop_at is None else next_deadline(job.run.stop_at, now()),
    )


@dataclass(slots=True)
class _Found:
    """What a walk over the job's tasks has found in the run directory.

    Attributes are those of `Plan`, and `spent`: what the ledger knows of money.
    """

    tasks: int
    by_status: Counter[str]
    gone: Mapping[str, int]
    failures: list[Failure]
    by_axis: list[Cut]
    spent: Spent = field(default_factory=Spent)
    past: Past | None = None
    warnings: tuple[str, ...] = ()


def _found(job: Job) -> _Found:
    directory = RunDirectory(job.output.dir)
    if directory.is_run():
        with read_ledger(directory) as ledger:
            if ledger is not None:
                return _held_against(job, ledger, ledger.unknown(known_submits(directory.manifest)))
    tasks = count(job)
    return _Found(tasks, Counter(new=tasks), {}, [], [])


def _held_against(job: Job, ledger: Snapshot, news: Sequence[KnownSubmit]) -> _Found:
    """Hold the job's tasks against a ledger.

    Args:
        job: The job.
        ledger: What is known of them.
        news: What the manifest knows and the ledger does not: the next run takes it in.
    """
    if (holder := ledger.provider()) not in (None, job.provider.kind):
        raise RunDirectoryError(
            f"{job.output.dir} holds tasks of the provider {holder}, not {job.provider.kind}; "
            "choose another directory with --output"
        )
    by_status: Counter[str] = Counter()
    known: Counter[Status] = Counter()
    reasons: Counter[tuple[str, str]] = Counter()
    messages: dict[tuple[str, str], str] = {}
    cuts = Cuts(job)
    replacements = ledger.replacements()
    met: set[str] = set()
    bought = {
        submit.task_id: "unresolved" if submit.generation_id is None else "to_poll"
        for submit in news
    }
    for batch in _batches(expand(job)):
        standings = ledger.standings([task.task_id for task in batch])
        for task in batch:
            standing = standings.get(task.task_id)
            if standing is not None:
                if standing.task_id in met:
                    continue  # the job names both a failed task's seed and its replacement's
                if standing.task_id in replacements:
                    met.add(standing.task_id)
                known[standing.status] += 1
            word = _word(standing)
            if word == "new":
                word = bought.get(task.task_id, word)
            by_status[word] += 1
            cuts.add(task, word)
            if standing is not None and standing.code:
                reason = (word, standing.code)
                reasons[reason] += 1
                messages.setdefault(reason, standing.message)
    tasks = by_status.total()
    gone = {status.exported: n for status, n in (Counter(ledger.counts()) - known).items()}
    by_status["gone"] = sum(gone.values())
    return _Found(
        tasks=tasks,
        by_status=by_status,
        gone=gone,
        failures=[
            Failure(word, code, messages[word, code], n)
            for (word, code), n in sorted(reasons.items(), key=lambda item: -item[1])
        ],
        by_axis=cuts.all(),
        spent=ledger.spent(job.provider.model),
        past=ledger.past(),
        warnings=(_older(news),) if news else (),
    )


def _older(news: Sequence[KnownSubmit]) -> str:
    return (
        f"the ledger is older than the manifest beside it, which knows of {len(news)} submits "
        "more: the next run takes them in and buys none of them again"
    )


def _word(standing: Standing | None) -> str:
    """Say what a run finds of a task, once it has taken up what earlier ones left."""
    match standing:
        case None | Standing(status=Status.PENDING):
            return "new"
        case Standing(status=Status.FAILED, code=code) if code == FORGOTTEN:
            return "failed"
        case (
            Standing(status=Status.IN_FLIGHT | Status.COMPLETED)
            | Standing(status=Status.SUBMITTING | Status.UNRESOLVED, paid=True)
            | Standing(status=Status.SUCCEEDED, there=False)
            | Standing(status=Status.FAILED, cause=Cause.FETCH | Cause.DOWNLOAD, paid=True)
        ):
            return "to_poll"
        case Standing(status=Status.SUBMITTING):
            return "unresolved"
        case _:
            return standing.status.value


def _price(
    job: Job, quote: Callable[[ProviderSettings], float | None], billed: float | None
) -> Price | None:
    play_money = job.provider.kind == "sandbox"
    source = PriceSource.PROVIDER if job.budget.usd_per_video is None else PriceSource.JOB
    usd = quote(job.provider) if source is PriceSource.PROVIDER else job.budget.usd_per_video
    if billed is not None and billed > (usd or 0.0):
        return Price(billed, PriceSource.BILLS, play_money)
    # 0 is no price: held against it, no budget ends.
    return Price(usd, source, play_money) if usd else None


def _batches(tasks: Iterator[Task]) -> Iterator[list[Task]]:
    while batch := list(islice(tasks, _BATCH)):
        yield batch
