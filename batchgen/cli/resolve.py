"""`batchgen resolve`."""

from pathlib import Path
from typing import TYPE_CHECKING

from batchgen.cli.look import click
from batchgen.cli.options import run_argument, run_directory, run_to_go_on

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from batchgen.job import Job
    from batchgen.ledger.ledger import Ledger
    from batchgen.ledger.tables import Record
    from batchgen.task import Status


@click.command
@run_argument
@click.argument("task", required=False)
@click.option("--adopt", metavar="ID", help="It was taken: this is its generation id. Needs TASK.")
@click.option("--resubmit", is_flag=True, help="Submit it again; it may then be paid for twice.")
@click.option("--abandon", is_flag=True, help="Give it up; what it may have cost stays counted.")
def resolve(
    run: Path, task: str | None, *, adopt: str | None, resubmit: bool, abandon: bool
) -> None:
    """Settle submits of RUN whose answer was lost: nobody knows whether they were taken.

    A TASK whose generation the provider has forgotten can be submitted again, too.

    Without an option it lists them, and what was submitted again because the provider's log shows
    that it was not taken. With --resubmit or --abandon and no TASK it settles all of them. Nothing
    is submitted: the next run goes on with what was decided here. Before an id is adopted, the
    provider is asked once whether it knows it.
    """
    import time

    from batchgen.errors import UsageError
    from batchgen.ledger.between import IN_DOUBT, SETTLED_BY_HAND
    from batchgen.ledger.ledger import Ledger
    from batchgen.rundir import RunDirectory
    from batchgen.savedjob import saved_job

    given = {"--adopt": adopt is not None, "--resubmit": resubmit, "--abandon": abandon}
    verbs = [verb for verb, chosen in given.items() if chosen]
    if len(verbs) > 1:
        raise UsageError(f"{' and '.join(verbs)} exclude each other: choose one")
    if not verbs and task is not None:
        raise UsageError("say what became of it: --adopt ID, --resubmit or --abandon")
    if adopt is not None and task is None:
        raise UsageError("--adopt needs the task whose generation it is: batchgen resolve RUN TASK")
    environment: Mapping[str, str] = {}
    if adopt is None:
        job = saved_job(RunDirectory(run_directory(run)))
    else:
        job, environment = run_to_go_on(run)
    directory = RunDirectory(job.output.dir)
    standing = ""
    with Ledger.open(directory.path) as ledger:
        ledger.recover()
        if not verbs:
            click.echo(_listed(directory.path, ledger))
            return
        chosen = [task] if task is not None else [record.task_id for record, _ in ledger.doubts()]
        forgotten = {record.task_id for record, _ in ledger.forgotten()} if resubmit else set()
        _check(ledger, sorted({*chosen} - forgotten), IN_DOUBT if abandon else SETTLED_BY_HAND)
        now = time.time()
        if adopt is not None:
            standing = _adopt(ledger, chosen[0], adopt, job, environment)
        elif resubmit:
            ledger.submit_again(chosen, at=now)
        else:
            ledger.abandon(chosen, at=now)
        from batchgen.report.reports import write_reports

        write_reports(job, ledger)
    said = _settled(len(chosen), verbs[0], directory.path)
    click.echo(f"{said} (the provider says: {standing})" if standing else said)


def _adopt(
    ledger: "Ledger",
    task_id: str,
    generation_id: str,
    job: "Job",
    environment: "Mapping[str, str]",
) -> str:
    """Give a task the id that was found for it; return how the provider says that it stands."""
    import time

    from batchgen.errors import UsageError
    from batchgen.providers.wire import usable_id

    if not usable_id(generation_id):
        raise UsageError("--adopt takes a generation id as the provider's log shows it")
    from batchgen.cli.adoption import check_id

    task = next(record.task for record in ledger.records() if record.task_id == task_id)
    model = str(task.params["model"])
    standing = check_id(job, ledger.directory, environment, generation_id, model)
    if not ledger.adopt(task_id, generation_id, at=time.time()):
        raise UsageError("another task of this run has this generation id already")
    return standing


def _check(ledger: "Ledger", task_ids: list[str], open_to: "Collection[Status]") -> None:
    """Refuse tasks about which nothing is to be decided."""
    from batchgen.errors import UsageError

    statuses = ledger.statuses(task_ids)
    for task_id in task_ids:
        status = statuses.get(task_id)
        if status is None:
            raise UsageError(
                f"this run has no task {task_id}: ids are in the manifest's first column"
            )
        if status not in open_to:
            raise UsageError(f"task {task_id} is {status.exported}: there is nothing to settle")


def _listed(directory: Path, ledger: "Ledger") -> str:
    import time

    from batchgen.terminal import printable

    doubts, repeated = ledger.doubts(), _repeated(ledger)
    lost = _lost(directory, len(ledger.forgotten()))
    if not doubts:
        return "\n".join([f"nothing is unresolved in {directory}", *repeated, *lost])
    prices = [price for _, price in doubts if price is not None]
    cost = f", which may have cost ${sum(prices):.2f}" if prices else ""
    log = ledger.log_of(doubts[0][0].base_url, time.time())
    one = len(doubts) == 1
    lines = [f"{len(doubts)} {'submit is' if one else 'submits are'} unresolved{cost}:"]
    for record, _ in doubts:
        prompt = printable(record.task.prompt)
        lines.append(f"  {record.task_id}  {_when(record)}  {prompt[:60]}")
        lines.append(f"    {record.error_message}; client request id {record.client_request_id}")
    lines += [
        f"what runs saw of the provider's log: {log.said}",
        *repeated,
        "every run looks them up in the provider's log again; or decide here:",
        f"  batchgen resolve {directory} TASK --adopt ID   it was taken: ID is its generation",
        f"  batchgen resolve {directory} [TASK] --resubmit it was not, or may be paid for twice",
        f"  batchgen resolve {directory} [TASK] --abandon  give it up",
    ]
    return "\n".join([*lines, *lost])


def _lost(directory: Path, count: int) -> list[str]:
    """Say where generations are made again that the provider has forgotten, if there are any."""
    if count == 0:
        return []
    said = f"{count} paid for and then forgotten by the provider: submitted again, and perhaps paid"
    return [f"{said} for twice, by batchgen retry {directory} --only forgotten"]


def _repeated(ledger: "Ledger") -> list[str]:
    """List what runs submitted again by themselves, with the evidence."""
    repeats = ledger.repeats()
    if not repeats:
        return []
    lines = [f"submitted again, as on_ambiguous says: {len(repeats)}"]
    for task_id, evidence, generation_id in repeats:
        lines.append(f"  {task_id}  {evidence}")
        if generation_id is not None:
            lines.append(f"    paid for twice: its first submit turned up as {generation_id}")
    return lines


def _when(record: "Record") -> str:
    from datetime import UTC, datetime

    at = datetime.fromtimestamp(record.submitted_at or 0.0, UTC)
    return at.strftime("%Y-%m-%d %H:%M:%S UTC")


def _settled(count: int, verb: str, directory: Path) -> str:
    if count == 0:
        return f"nothing is unresolved in {directory}"
    done = {
        "--adopt": "adopted: the next run fetches its video",
        "--resubmit": "to be submitted again by the next run",
        "--abandon": "given up",
    }
    return f"{count} {'task' if count == 1 else 'tasks'} {done[verb]}"
