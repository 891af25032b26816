"""`batchgen plan`."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchgen.cli.look import click
from batchgen.cli.options import job_argument, job_options, load

if TYPE_CHECKING:
    from batchgen.job import Job


@click.command
@job_argument
@job_options
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.option("--tasks", is_flag=True, help="One JSON object a line for each task.")
@click.option("--offline", is_flag=True, help="Do not ask the provider what a video costs.")
def plan(job: Path, *, as_json: bool, tasks: bool, offline: bool, **overrides: Any) -> None:
    """Say what `run` would do against what the run directory already holds.

    Nothing is submitted, no key is sent, and nothing is written. Where the job names no
    usd_per_video, the provider is asked for its price, for two seconds at most.
    """
    loaded = load(job, **overrides)
    if tasks:
        _print_tasks(loaded)
        return
    from batchgen.planning.plan import make_plan
    from batchgen.planning.words import sentences
    from batchgen.providers.pricing import known_price, quoted_price

    made = make_plan(loaded, known_price if offline else quoted_price)
    click.echo(json.dumps(made.as_json()) if as_json else sentences(loaded, made))


def _print_tasks(job: "Job") -> None:
    from batchgen.expansion import expand
    from batchgen.terminal import json_line

    for task in expand(job):
        line = {"task_id": task.task_id, "index": task.index, "params": dict(task.params)}
        sys.stdout.write(json_line(line) + "\n")
    sys.stdout.flush()
