"""Options that several verbs share."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from batchgen.cli.look import click

if TYPE_CHECKING:
    from batchgen.job import Job
    from batchgen.jobfile import Overrides

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
KINDS: Final = ("sandbox", "aimlapi")
OUTPUT_IN: Final = "BATCHGEN_OUTPUT"
PROVIDER_IN: Final = "BATCHGEN_PROVIDER"
BASE_URL_IN: Final = "BATCHGEN_BASE_URL"

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
            envvar=BASE_URL_IN,
            help="Root of the provider's API, such as that of `batchgen serve`.",
        ),
        click.option(
            "--provider",
            type=click.Choice(KINDS),
            envvar=PROVIDER_IN,
            help="Who makes the videos, whatever the job says. `sandbox` rehearses for free.",
        ),
        click.option(
            "--output",
            type=click.Path(file_okay=False),
            envvar=OUTPUT_IN,
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
    """Take a run directory, or the job file whose run it is, as the environment would run it.

    Raises:
        BatchgenError: The job file or the environment is wrong.
    """
    return run if run.is_dir() else _as_it_would_run(run).output.dir


def run_to_go_on(run: Path) -> "Job":
    """Return the settings of a run that goes on without its job file.

    They are the directory's own, but for the address the environment names, as `run` would take it.
    Whoever rehearses must not spend money because a directory remembers the real provider.

    Args:
        run: A run directory, or the job file whose run it is.

    Raises:
        BatchgenError: The job file or the environment is wrong, there is no run, or its provider is
            not the one that is asked for.
    """
    from dataclasses import replace

    from batchgen.errors import UsageError
    from batchgen.rundir import RunDirectory
    from batchgen.savedjob import saved_job

    asked = _environment()
    if run.is_dir():
        directory, kind, asking = run, asked.provider, PROVIDER_IN
    else:
        job = _as_it_would_run(run)
        directory, kind = job.output.dir, job.provider.kind
        asking = str(run) if asked.provider is None else PROVIDER_IN
    saved = saved_job(RunDirectory(directory))
    if kind is not None and kind != saved.provider.kind:
        raise UsageError(
            f"{directory} holds a run of {saved.provider.kind}, and {asking} asks for {kind}: "
            f"set {PROVIDER_IN}={saved.provider.kind} to go on with it"
        )
    if asked.base_url is None:
        return saved
    return replace(saved, provider=replace(saved.provider, base_url=asked.base_url.rstrip("/")))


def _as_it_would_run(job: Path) -> "Job":
    from batchgen.jobfile import load_job

    return load_job(job, _environment())


def output_in_environment() -> Path | None:
    """Return the run directory that the environment names; empty is not given."""
    named = os.environ.get(OUTPUT_IN)
    return Path(named) if named else None


def _environment() -> "Overrides":
    """Take from the environment what the options of `run` would take; empty is not given."""
    from batchgen.jobfile import Overrides

    return Overrides(
        provider=os.environ.get(PROVIDER_IN) or None,
        base_url=os.environ.get(BASE_URL_IN) or None,
        output=output_in_environment(),
    )
