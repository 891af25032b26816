"""`batchgen run`."""

import sys
from pathlib import Path
from typing import Any

from batchgen.cli.look import click
from batchgen.cli.options import job_argument, job_options, load_to_run

display_option = click.option(
    "--display",
    type=click.Choice(["auto", "live", "plain", "none"]),
    default="auto",
    envvar="BATCHGEN_DISPLAY",
    help="A bar, plain lines, or nothing; auto looks at the terminal.",
)
quiet_option = click.option("-q", "--quiet", is_flag=True, help="The same as --display none.")
verbose_option = click.option("-v", "--verbose", is_flag=True, help="Show every step of a task.")


@click.command
@job_argument
@job_options
@click.option(
    "--limit",
    type=click.IntRange(1),
    metavar="N",
    help="Submit N new tasks, at most: a taste of a large job, and the same again for the next N. "
    "With `run: {order: shuffled}` or `interleaved` in the job it is a mixed one.",
)
@click.option("--retry-failed", is_flag=True, help="Submit failed tasks again, too.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask before money is spent.")
@display_option
@quiet_option
@verbose_option
def run(
    job: Path,
    *,
    limit: int | None,
    retry_failed: bool,
    yes: bool,
    display: str,
    quiet: bool,
    verbose: bool,
    **overrides: Any,
) -> int:
    """Make the videos of JOB that are not made yet.

    Goes on where an earlier run of the same job ended, however it ended.
    """
    from batchgen.terminal import visible

    loaded, environment = load_to_run(job, **overrides)
    for warning in loaded.warnings:
        click.echo(f"batchgen: warning: {visible(warning)}", err=True)
    from batchgen.again import Again
    from batchgen.cli.driving import drive
    from batchgen.display import Kind

    return drive(
        loaded,
        environment=environment,
        display=Kind.NONE if quiet else Kind(display),
        verbose=verbose,
        limit=limit,
        again=Again() if retry_failed else None,
        ask=not yes and loaded.provider.kind != "sandbox" and sys.stdin.isatty(),
    )
