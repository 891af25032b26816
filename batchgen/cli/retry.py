"""`batchgen retry`."""

from pathlib import Path

from batchgen.cli.look import click
from batchgen.cli.options import run_argument, run_directory
from batchgen.cli.run import display_option, quiet_option, verbose_option


@click.command
@run_argument
@click.option(
    "--only",
    multiple=True,
    metavar="REASON",
    help="Only tasks with this error code, such as moderation. May be given several times.",
)
@display_option
@quiet_option
@verbose_option
def retry(run: Path, *, only: tuple[str, ...], display: str, quiet: bool, verbose: bool) -> int:
    """Run the failed tasks of RUN again, and only those.

    Failed generations are submitted anew; a video that exists but could not be fetched is fetched.
    """
    from batchgen.cli.driving import drive
    from batchgen.display import Kind
    from batchgen.rundir import RunDirectory
    from batchgen.savedjob import saved_job
    from batchgen.session import Again

    codes = tuple(code for text in only for code in text.split(",") if code)
    return drive(
        saved_job(RunDirectory(run_directory(run))),
        display=Kind.NONE if quiet else Kind(display),
        verbose=verbose,
        again=Again(codes=codes, alone=True),
    )
