"""`batchgen validate`."""

from pathlib import Path
from typing import Any

from batchgen.cli.look import click
from batchgen.cli.options import job_argument, job_options, load


@click.command
@job_argument
@job_options
def validate(job: Path, **overrides: Any) -> None:
    """Check JOB, offline; show every mistake at once."""
    from batchgen.expansion import count
    from batchgen.terminal import visible

    loaded = load(job, **overrides)
    for warning in loaded.warnings:
        click.echo(f"batchgen: warning: {visible(warning)}", err=True)
    tasks = count(loaded)
    click.echo(f"{visible(str(job))}: {tasks} {'task' if tasks == 1 else 'tasks'}, no mistakes")
