"""`batchgen gallery`."""

from pathlib import Path

from batchgen.cli.look import click
from batchgen.cli.options import run_argument, run_directory


@click.command
@run_argument
@click.option("--open", "open_it", is_flag=True, help="Open the page in the browser.")
def gallery(run: Path, *, open_it: bool) -> None:
    """Build the manifest and the page of RUN again, and print where the page is."""
    from batchgen.ledger.ledger import Ledger
    from batchgen.report.reports import write_reports
    from batchgen.rundir import RunDirectory
    from batchgen.savedjob import saved_job
    from batchgen.terminal import visible

    directory = RunDirectory(run_directory(run))
    job = saved_job(directory)
    with Ledger.open(directory.path) as ledger:
        write_reports(job, ledger)
    page = directory.path / "index.html"
    click.echo(visible(str(page)))
    if open_it:
        click.launch(page.resolve().as_uri())
