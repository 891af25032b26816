"""A run's settings beside its ledger, so that `retry` and `gallery` need no job file.

The prompts stay out: the tasks are in the ledger already.
"""

from dataclasses import replace
from typing import Final

from pydantic import TypeAdapter, ValidationError

from batchgen.errors import RunDirectoryError
from batchgen.job import Job
from batchgen.rundir import RunDirectory, replacing

_JOB: Final = TypeAdapter(Job)


def save_job(directory: RunDirectory, job: Job) -> None:
    """Keep the job file as it ran, for people, and its settings, for the next command.

    Raises:
        OSError: They cannot be written.
    """
    if job.source:
        with replacing(directory.path / "job.yaml") as file:
            file.write(job.source)
    with replacing(directory.settings) as file:
        file.write(_JOB.dump_json(replace(job, prompts=()), indent=1).decode())


def saved_job(directory: RunDirectory) -> Job:
    """Read the settings back; the job has no prompts.

    Raises:
        RunDirectoryError: There is no run here, or its settings are damaged.
    """
    if not directory.is_run():
        raise RunDirectoryError(f"{directory.path} is no run directory: there is no ledger in it")
    try:
        job = _JOB.validate_json(directory.settings.read_bytes())
    except (OSError, ValidationError):
        raise RunDirectoryError(
            f"{directory.settings} cannot be read; run the job file again instead"
        ) from None
    # The directory may have been moved since.
    return replace(job, output=replace(job.output, dir=directory.path))
