"""A run at the keyboard: shown while it goes on, drained by one Ctrl-C, left by two."""

import gc
import signal
from collections.abc import Mapping
from importlib.util import find_spec

import anyio

from batchgen import notify
from batchgen.again import Again
from batchgen.cli.look import click
from batchgen.cli.signals import obeyed
from batchgen.cli.streams import optional_output
from batchgen.descriptors import raise_limit
from batchgen.display import Kind, choose
from batchgen.errors import BatchgenError, ExitCode, LedgerError, ProviderRefused, first_error
from batchgen.events import Level, Notice, Observer, Reason, Summary, Watchers
from batchgen.job import Job
from batchgen.session import Session, open_session
from batchgen.task import Status
from batchgen.terminal import duration, visible

_STOPPED = {
    Reason.INTERRUPTED: ExitCode.INTERRUPTED,
    Reason.REFUSED: ExitCode.REFUSED,
    Reason.BUDGET: ExitCode.STOPPED,
    Reason.DEADLINE: ExitCode.STOPPED,
    Reason.FAILURES: ExitCode.STOPPED,
    Reason.GAVE_UP: ExitCode.STOPPED,
    Reason.MOVED: ExitCode.STOPPED,
}
_SIGNALS = {
    signal.SIGINT: "Ctrl-C",
    signal.SIGTERM: "SIGTERM, which `kill` sends",
    signal.SIGHUP: "SIGHUP: its terminal was closed",
}
COLLECT_AFTER = 20_000
"""New objects after which the garbage collector looks; Python's 700 are a few requests' worth."""
_OPEN = (
    Status.FAILED,
    Status.TIMED_OUT,
    Status.UNRESOLVED,
    # Left by a run that did all it could: they were submitted at another server.
    Status.IN_FLIGHT,
    Status.COMPLETED,
)


def drive(
    job: Job,
    *,
    environment: Mapping[str, str],
    display: Kind,
    verbose: bool,
    limit: int | None = None,
    again: Again | None = None,
    ask: bool = False,
) -> ExitCode:
    """Run a job, print how it ended, and return the exit code.

    Args:
        job: The job.
        environment: Where its key stands, and the address to notify.
        display: How the run is shown.
        verbose: Whether every step of a task is shown.
        limit: New tasks to submit, at most.
        again: Which failed tasks are tried again.
        ask: Whether a person must agree before money is spent.

    Raises:
        BatchgenError: The run could not begin, or could not go on.
    """
    screen = choose(display, verbose=verbose)
    shown = Watchers(screen)  # a terminal that is gone ends no run
    # The extra `fast`: measured, 0.71 of the CPU of asyncio's own loop.
    backend_options = {"use_uvloop": find_spec("uvloop") is not None}

    async def tell(end: Summary | BatchgenError) -> None:
        """Notify whom the job names; that it failed is worth a word and no more."""
        if (untold := await notify.tell(job, end, environment)) is not None:
            shown(Notice(untold, Level.WARNING))

    async def night() -> Summary:
        if (unheard := notify.objection(job.notify, environment)) is not None:
            shown(Notice(unheard, Level.WARNING))
        try:
            async with open_session(
                job, observer=shown, limit=limit, again=again, environment=environment
            ) as session:
                if ask:
                    _ask(session, limit)
                _settle_memory()
                with screen:
                    summary = await _go(session, shown)
        except LedgerError as error:
            await tell(error)
            raise
        # The directory is free by now: who is told may start the next run.
        await tell(summary)
        return summary

    raise_limit(job)
    summary = anyio.run(night, backend_options=backend_options)
    if summary.reason is Reason.REFUSED and not summary.counts.get(Status.SUCCEEDED):
        raise ProviderRefused(summary.detail)
    with optional_output():  # the exit code says how it ended, whoever reads along
        click.echo(ending(job, summary))
    return exit_code(summary)


def _settle_memory() -> None:
    """Have the garbage collector leave alone what was loaded, and look less often.

    Most of what a task leaves behind is freed by its reference counts.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER)


async def _go(session: Session, shown: Observer) -> Summary:
    try:
        async with anyio.create_task_group() as signals:
            signals.start_soon(_obey_signals, session, shown)
            summary = await session.go()
            signals.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        raise first_error(group) from group
    return summary


async def _obey_signals(session: Session, shown: Observer) -> None:
    stopping = session.run.stopping
    pressed = False
    with anyio.open_signal_receiver(*obeyed(*_SIGNALS)) as received:
        async for number in received:
            why = f"interrupted by {_SIGNALS[number]}"
            if pressed and number == signal.SIGHUP:
                continue  # of a terminal that closes, the kernel and the shell both tell
            if pressed:
                shown(Notice("stopping now; what is in flight is fetched by the next run"))
                stopping.leave(Reason.INTERRUPTED, why)
            elif session.run.parked:
                shown(Notice("stopping; what is in flight is fetched by the next run"))
                stopping.retire(Reason.INTERRUPTED, why)
            else:
                stopping.drain(Reason.INTERRUPTED, why)
                shown(
                    Notice(
                        f"finishing {session.run.under_way()}, starting no more; "
                        "Ctrl-C again to stop now"
                    )
                )
            pressed = True


def _ask(session: Session, limit: int | None) -> None:
    """Let a person agree to what will be spent.

    Raises:
        click.Abort: They do not.
    """
    new = session.counts.get(Status.PENDING, 0)
    new = new if limit is None else min(new, limit)
    if new == 0:
        return
    price = session.job.budget.usd_per_video
    cost = f", about ${price * new:.2f}" if price is not None else ""
    click.confirm(
        f"Submit {new} videos to {session.job.provider.kind}{cost}?",
        default=True,
        abort=True,
        err=True,
    )


def exit_code(summary: Summary) -> ExitCode:
    """Say what a run's end means to the shell."""
    if summary.reason in _STOPPED and not summary.nothing_left:
        return _STOPPED[summary.reason]
    return ExitCode.INCOMPLETE if any(map(summary.counts.get, _OPEN)) else ExitCode.OK


def ending(job: Job, summary: Summary) -> str:
    """Say in a few lines how a run ended and what can be done now."""
    counts: Mapping[Status, int] = summary.counts
    done, total = counts.get(Status.SUCCEEDED, 0), sum(counts.values())
    folder = job.output.dir
    noun = "video is" if total == 1 else "videos are"
    lines = [f"{done} of {total} {noun} in {folder} ({duration(summary.seconds)})"]
    if summary.cost_usd is not None:
        about = "about " if summary.cost_is_estimate else ""
        play = " of play money" if job.provider.kind == "sandbox" else ""
        lines[0] += f", {about}${summary.cost_usd:.2f}{play}"
    if summary.reason is not Reason.DONE:
        lines.append(f"stopped: {summary.detail}")
    if failed := counts.get(Status.FAILED, 0):
        lines.append(
            f"{failed} failed: why is in manifest.csv; again with: batchgen retry {folder}"
        )
    if late := counts.get(Status.TIMED_OUT, 0):
        lines.append(f"{late} took too long: the next run asks for them again")
    if doubtful := counts.get(Status.UNRESOLVED, 0):
        lines.append(
            f"{doubtful} unresolved: the provider may have taken them; the next run looks again, "
            f"or settle them with: batchgen resolve {folder}"
        )
    if left := summary.left:
        way = "raise the budget and " if summary.reason is Reason.BUDGET else ""
        lines.append(f"{left} left to do: {way}run the same command again")
    if done:
        lines.append(f"look at them: {folder / 'index.html'}")
    return "\n".join(map(visible, lines))
