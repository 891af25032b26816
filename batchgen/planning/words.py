"""A plan in words, for a terminal of 80 columns. Pure."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final

from batchgen.deadline import in_words
from batchgen.job import Job
from batchgen.planning.axes import OTHER, PROMPT, Cut
from batchgen.planning.estimate import PriceSource
from batchgen.planning.plan import Plan
from batchgen.templates import text
from batchgen.terminal import dollars, duration, shortened, visible

WIDTH: Final = 80
SHOWN_VALUES: Final = 12
"""An axis of more values is summed up: a table of 200 prompts is no overview."""
SHOWN_REASONS: Final = 5
_COLUMN: Final = 11

_STATES: Final = {
    "new": ("+", "to make"),
    "succeeded": ("=", "done"),
    "to_poll": ("~", "paid for already, to be fetched"),
    "timed_out": ("~", "took too long, to be asked for again"),
    "unresolved": ("~", "unresolved, to be looked up"),
    "failed": ("!", "failed (`batchgen retry` or `run --retry-failed` makes them again)"),
    "cancelled": ("!", "given up"),
    "gone": ("-", "no longer in the job"),
}
"""What a run would find: the sign at the start of the line, and the words behind the number."""
_HEADS: Final = {
    "new": "to make",
    "succeeded": "done",
    "to_poll": "to fetch",
    "timed_out": "late",
    "unresolved": "unresolved",
    "failed": "failed",
    "cancelled": "given up",
}


def sentences(job: Job, plan: Plan) -> str:
    """Write a plan down, line by line, in signs that show as themselves."""
    lines = [
        *_job(job, plan),
        f"in {job.output.dir}:",
        *_states(plan),
        *_by_axis(plan),
        "first tasks:",
        *_first(job, plan),
        *_cost(job, plan),
        *_effort(job, plan),
        *(f"warning: {warning}" for warning in plan.warnings),
    ]
    return "\n".join(map(visible, lines))


def _job(job: Job, plan: Plan) -> Iterator[str]:
    model = f"{job.provider.model} at {job.provider.kind}"
    if job.provider.base_url is not None:
        # It is where the key goes.
        model += f" ({job.provider.base_url})"
    yield f"{job.name}: {_counted(plan.tasks, 'task')}, {model}"
    if plan.prompts > 1:
        yield f"  prompts x {plan.prompts}"
    for name, values in plan.axes.items():
        head = f"  {name} x {len(values)}: "
        shown = ", ".join(text(value) for value in values[:SHOWN_VALUES])
        more = ", …" if len(values) > SHOWN_VALUES else ""
        yield head + shortened(shown, WIDTH - len(head) - len(more)) + more
    if plan.repeats:
        repeat = "1 cell repeats" if plan.repeats == 1 else f"{plan.repeats} cells repeat"
        yield f"  {repeat} the request of another: each is made once"


def _states(plan: Plan) -> Iterator[str]:
    width = max(len(str(count)) for count in plan.by_status.values())
    for state, (sign, words) in _STATES.items():
        if not (count := plan.by_status.get(state, 0)):
            continue
        kept = plan.gone.get("succeeded", 0)
        stay = f" ({_counted(kept, 'video')} of them, kept)" if state == "gone" and kept else ""
        yield f"  {sign} {count:>{width}}  {words}{stay}"
        reasons = [failure for failure in plan.failures if failure.status == state]
        for failure in reasons[:SHOWN_REASONS]:
            head = f"    {'':>{width}}  {failure.count} {failure.code}"
            said = f": {failure.message}" if failure.message else ""
            yield head + shortened(said, WIDTH - len(head))
        if len(reasons) > SHOWN_REASONS:
            rest = sum(failure.count for failure in reasons[SHOWN_REASONS:])
            yield f"    {'':>{width}}  {rest} for other reasons"


def _by_axis(plan: Plan) -> Iterator[str]:
    """Yield a table of the axes, unless a run finds the same of every task."""
    heads = {word: head for word, head in _HEADS.items() if plan.by_status.get(word)}
    if len(heads) < 2 or not plan.by_axis:
        return
    label = min(34, max(16, WIDTH - _COLUMN * len(heads)))
    yield f"{'by axis:':<{label}}" + "".join(f"{head:>{_COLUMN}}" for head in heads.values())
    for cut in plan.by_axis:
        if len(cut.counts) > SHOWN_VALUES:
            yield from _summed_up(cut)
            continue
        for value, counts in cut.counts:
            name = f"other {cut.axis}" if value is OTHER else f"{cut.axis} {text(value)}"
            row = shortened(name, label - 3)
            figures = "".join(f"{counts.get(word, 0) or '.':>{_COLUMN}}" for word in heads)
            yield f"  {row:<{label - 2}}{figures}"


def _summed_up(cut: Cut) -> Iterator[str]:
    """Say of an axis of many values how many of them are done, and where the failures are."""
    states = Counter(_state(counts) for _, counts in cut.counts)
    noun = "prompts" if cut.axis == PROMPT else f"values of {cut.axis}"
    words = ", ".join(f"{count} {state}" for state, count in states.most_common())
    yield f"  {len(cut.counts)} {noun}: {words}"
    failed = [(counts["failed"], value) for value, counts in cut.counts if counts.get("failed")]
    failed.sort(key=lambda pair: -pair[0])
    for count, value in failed[:SHOWN_REASONS]:
        head = f"    {count} failed: "
        name = f"other {cut.axis}" if value is OTHER else text(value)
        yield head + shortened(name, WIDTH - len(head))
    if len(failed) > SHOWN_REASONS:
        yield f"    and failures of {len(failed) - SHOWN_REASONS} more"


def _state(counts: Mapping[str, int]) -> str:
    match list(counts):
        case ["new"]:
            return "to make"
        case ["succeeded"]:
            return "done"
        case _:
            return "with failures" if counts.get("failed") else "in part"


def _first(job: Job, plan: Plan) -> Iterator[str]:
    """Yield a line for each of the first tasks: what differs from task to task, and the prompt."""
    axes = dict.fromkeys([*(axis.name for axis in (*job.matrix, *job.zip)), "seed"])
    for task in plan.first:
        values = {**task.variables, **task.params}
        words = " ".join(f"{name}={text(values[name])}" for name in axes if name in values)
        head = f"  {task.index:>4}  {task.task_id}  {shortened(words, 40)}"
        yield f"{head}  {shortened(task.prompt, WIDTH - len(head) - 2)}"


def _cost(job: Job, plan: Plan) -> Iterator[str]:
    if plan.submits:
        play = " of play money" if job.provider.kind == "sandbox" else ""
        yield (
            f"so far: ${plan.spent_usd:.2f}{play} spent or reserved, "
            f"{_counted(plan.submits, 'submit')}"
        )
    if plan.new == 0:
        yield "nothing new to make, nothing to pay"
        return
    if plan.within_budget < plan.new:
        yield f"the budget stops it after {plan.within_budget} of the {plan.new} to make"
    if plan.price is None or plan.cost_usd is None:
        yield "cost: not known (set budget.usd_per_video)"
        if job.budget.max_usd is not None:
            yield "budget.max_usd needs a price: a run asks again, and does not begin without one"
        return
    price = plan.price
    seller = "sandbox" if price.play_money else "provider"
    whose = {
        PriceSource.JOB: "usd_per_video",
        PriceSource.PROVIDER: f"the {seller}'s price",
        PriceSource.BILLS: "the highest bill so far",
    }[price.source]
    play = " of play money" if price.play_money else ""
    cost = price.usd * plan.within_budget
    whole = f" (${plan.cost_usd:.2f} for all)" if plan.within_budget < plan.new else ""
    yield f"cost: about ${cost:.2f}{play} at {whose} of {dollars(price.usd)}{whole}"
    if job.budget.max_usd is not None:
        limit = f"{dollars(job.budget.max_usd)} in all"
        first = f"a first bill above {dollars(price.usd)}"
        yield f"budget: {limit}; {first} may pass it by the difference"
        yield f"  for each video then in flight (at most {job.run.concurrency}) or unresolved"


def _effort(job: Job, plan: Plan) -> Iterator[str]:
    requests = plan.requests
    if requests.downloads:
        each = f"{requests.polls / requests.downloads:.0f} a video"
        basis = f"{each}, as before" if plan.past else each
        yield (
            f"requests: about {_counted(requests.submits, 'submit')}, "
            f"{_counted(requests.polls, 'poll')} ({basis}), "
            f"{_counted(requests.downloads, 'download')}"
        )
    if plan.seconds is not None and plan.past is not None:
        yield (
            f"time: about {duration(plan.seconds)}, {job.run.concurrency} at once "
            f"(median of {plan.past.count} so far: {duration(plan.past.seconds)})"
        )
    if plan.ends_at is not None and plan.new:
        yield f"a run that starts now submits nothing new after {in_words(plan.ends_at)}"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
