"""`batchgen plan`."""

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchgen.cli.look import click
from batchgen.cli.options import job_argument, job_options, load

if TYPE_CHECKING:
    from batchgen.job import Job
    from batchgen.planning import Plan

_SHOWN_APART = ("model", "prompt")


@click.command
@job_argument
@job_options
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.option("--tasks", is_flag=True, help="One JSON object a line for each task.")
def plan(job: Path, *, as_json: bool, tasks: bool, **overrides: Any) -> None:
    """Say what `run` would do, and send nothing."""
    loaded = load(job, **overrides)
    if tasks:
        _print_tasks(loaded)
        return
    from batchgen.planning import make_plan
    from batchgen.terminal import visible

    for warning in loaded.warnings:
        click.echo(f"batchgen: {visible(warning)}", err=True)
    made = make_plan(loaded)
    click.echo(json.dumps(made.as_json()) if as_json else _sentences(loaded, made))


def _print_tasks(job: "Job") -> None:
    from batchgen.expansion import expand
    from batchgen.terminal import json_line

    try:
        for task in expand(job):
            line = {"task_id": task.task_id, "index": task.index, "params": dict(task.params)}
            sys.stdout.write(json_line(line) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read has seen enough. Python would complain again when it flushes at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _sentences(job: "Job", plan: "Plan") -> str:
    from batchgen.templates import text
    from batchgen.terminal import duration, shortened, visible

    noun = "task" if plan.tasks == 1 else "tasks"
    model = f"{job.provider.model} at {job.provider.kind}"
    if job.provider.base_url is not None:
        # It is where the key goes.
        model += f" ({job.provider.base_url})"
    lines = [f"{job.name}: {plan.tasks} {noun}, {model}"]
    if plan.prompts > 1:
        lines.append(f"  prompts x {plan.prompts}")
    for name, values in plan.axes.items():
        shown = ", ".join(text(value) for value in values[:12])
        more = ", …" if len(values) > 12 else ""
        lines.append(f"  {name} x {len(values)}: {shortened(shown, 70)}{more}")
    lines.append(f"in {job.output.dir}:")
    lines += [f"  {count:>7} {words}" for words, count in plan.in_words()]
    lines.append("first tasks:")
    for task in plan.first:
        chosen = {name: value for name, value in task.params.items() if name not in _SHOWN_APART}
        words = " ".join(f"{name}={text(value)}" for name, value in chosen.items())
        lines.append(f"  {task.index:>4}  {task.task_id}  {words}  {shortened(task.prompt, 50)}")
    if plan.by_status["new"] == 0:
        lines.append("nothing new to make, nothing to pay")
    elif plan.cost_usd is not None:
        lines.append(f"cost: about ${plan.cost_usd:.2f}")
    else:
        lines.append("cost: not known (set budget.usd_per_video)")
    if plan.seconds is not None:
        lines.append(f"time: about {duration(plan.seconds)}, as earlier ones took")
    return "\n".join(map(visible, lines))
