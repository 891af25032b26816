"""Options that several verbs share."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from click import get_current_context
from click.core import ParameterSource

from batchgen.cli.env_file import EnvFile
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


def load_to_run(job: Path, **overrides: Any) -> "tuple[Job, Mapping[str, str]]":
    """Load a job with the options laid over it, and return the environment of its run.

    Raises:
        BatchgenError: The file or an option is wrong, or .env sends a key elsewhere.
        click.Abort: A person was asked whether it may, and it may not.
    """
    from batchgen.cli.environment import environment_of

    loaded = load(job, **overrides)
    options = get_current_context()
    from_file = [
        name
        for name in ("provider", "base_url")
        if options.get_parameter_source(name) is ParameterSource.DEFAULT_MAP
    ]
    without_file = loaded.provider
    if from_file:
        without_file = load(job, **{**overrides, **dict.fromkeys(from_file)}).provider
    return loaded, environment_of(loaded, without_file, _file())


def run_directory(run: Path) -> Path:
    """Take a run directory, or the job file whose run it is, as the environment would run it.

    Raises:
        BatchgenError: The job file or the environment is wrong.
    """
    return run if run.is_dir() else _as_it_would_run(run, _asked()).output.dir


def run_to_go_on(run: Path) -> "tuple[Job, Mapping[str, str]]":
    """Return the settings of a run that goes on without its job file, and its environment.

    They are the directory's own, but for the address the environment names, as `run` would take it.
    Whoever rehearses must not spend money because a directory remembers the real provider.

    Args:
        run: A run directory, or the job file whose run it is.

    Raises:
        BatchgenError: The job file or the environment is wrong, there is no run, its provider is
            not the one that is asked for, or .env sends a key elsewhere.
        click.Abort: A person was asked whether it may, and it may not.
    """
    from batchgen.cli.environment import environment_of
    from batchgen.errors import UsageError
    from batchgen.rundir import RunDirectory
    from batchgen.savedjob import saved_job

    asked, process = _asked(), _overrides(os.environ)
    if run.is_dir():
        directory, kind, asking = run, asked.provider, PROVIDER_IN
    else:
        job = _as_it_would_run(run, asked)
        directory, kind = job.output.dir, job.provider.kind
        asking = str(run) if asked.provider is None else PROVIDER_IN
    saved = saved_job(RunDirectory(directory))
    if kind is not None and kind != saved.provider.kind:
        raise UsageError(
            f"{directory} holds a run of {saved.provider.kind}, and {asking} asks for {kind}: "
            f"set {PROVIDER_IN}={saved.provider.kind} to go on with it"
        )
    going_on = _at(saved, asked.base_url)
    if run.is_dir():
        without_file = _at(saved, process.base_url).provider
    elif asked == process:
        without_file = going_on.provider
    else:
        # The directory itself may be one that .env names, with settings of a stranger's.
        without_file = _as_it_would_run(run, process).provider
    return going_on, environment_of(going_on, without_file, _file())


def _at(job: "Job", base_url: str | None) -> "Job":
    from dataclasses import replace

    if base_url is None:
        return job
    return replace(job, provider=replace(job.provider, base_url=base_url.rstrip("/")))


def _as_it_would_run(job: Path, overrides: "Overrides") -> "Job":
    from batchgen.jobfile import load_job

    return load_job(job, overrides)


def output_in_environment() -> Path | None:
    """Return the run directory that the environment or .env names; empty is not given."""
    return _asked().output


def _file() -> EnvFile:
    return get_current_context().find_object(EnvFile) or EnvFile()


def _asked() -> "Overrides":
    """Take from the environment, else from .env, what the options of `run` would take."""
    return _overrides(
        {**_file().values, **{name: text for name, text in os.environ.items() if text}}
    )


def _overrides(variables: Mapping[str, str]) -> "Overrides":
    """Read the options of `run` as variables; empty is not given."""
    from batchgen.jobfile import Overrides

    output = variables.get(OUTPUT_IN)
    return Overrides(
        provider=variables.get(PROVIDER_IN) or None,
        base_url=variables.get(BASE_URL_IN) or None,
        output=Path(output) if output else None,
    )
