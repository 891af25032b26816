"""Options that several verbs share."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from batchgen.cli.look import click

if TYPE_CHECKING:
    from batchgen.job import Job

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
KINDS: Final = ("sandbox", "aimlapi")

job_argument: Final = click.argument("job", type=click.Path(path_type=Path))
run_argument: Final = click.argument(
    "run", type=click.Path(file_okay=True, exists=True, path_type=Path)
)


def job_options(command: Decorated) -> Decorated:
    """Add what changes a job: --set, --output, --provider, --base-url, --concurrency."""
    for option in (
        click.option(
            "--concurrency",
            type=click.IntRange(1, 10_000),
            envvar="BATCHGEN_CONCURRENCY",
            help="Generations in flight at the provider, at most.",
        ),
        click.option(
            "--base-url",
            metavar="URL",
            envvar="BATCHGEN_BASE_URL",
            help="Root of the provider's API, such as that of `batchgen serve`.",
        ),
        click.option(
            "--provider",
            type=click.Choice(KINDS),
            envvar="BATCHGEN_PROVIDER",
            help="Who makes the videos, whatever the job says. `sandbox` rehearses for free.",
        ),
        click.option(
            "--output",
            type=click.Path(file_okay=False),
            envvar="BATCHGEN_OUTPUT",
            help="The run directory.",
        ),
        click.option(
            "--set",
            "defaults",
            multiple=True,
            metavar="KEY=VALUE",
            help="Change one of the job's defaults. May be given several times.",
        ),
    ):
        command = option(command)
    return command


def load(
    job: Path,
    *,
    defaults: tuple[str, ...],
    output: str | None,
    provider: str | None,
    base_url: str | None,
    concurrency: int | None,
) -> "Job":
    """Load a job with the options laid over it.

    Raises:
        BatchgenError: The file or an option is wrong.
    """
    from batchgen.errors import UsageError
    from batchgen.jobfile import Overrides, load_job

    if output == "":
        raise UsageError("--output is empty: name a directory")
    return load_job(
        job,
        Overrides(
            provider=provider,
            base_url=base_url,
            output=None if output is None else Path(output),
            concurrency=concurrency,
            defaults=defaults,
        ),
    )


def run_directory(run: Path) -> Path:
    """Take a run directory, or the job file whose run it is."""
    if run.is_dir():
        return run
    from batchgen.jobfile import load_job

    return load_job(run).output.dir
