"""A run of batchgen as its users start it: a job file, a key in the environment, the command."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.processes import Usage, measure, python

KEY: Final = "a-key-for-benchmarks"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be made.

    Attributes:
        tasks: How many videos.
        at_once: Generations in flight.
        run: More settings, as lines of the job file's `run`.
    """

    tasks: int
    at_once: int
    run: str = ""

    def prompts(self, folder: Path) -> Path:
        """Write the prompts, a line each, all different."""
        file = folder / "prompts.txt"
        file.write_text("".join(f"video number {number}\n" for number in range(self.tasks)))
        return file


def batchgen(folder: Path, url: str, wanted: Wanted) -> Usage:
    """Run a job against a server; its videos are in the folder's `run/videos` then.

    Raises:
        subprocess.CalledProcessError: Not all of them were made.
    """
    wanted.prompts(folder)
    job = folder / "job.yaml"
    job.write_text(
        "version: 1\n"
        "prompts: {file: prompts.txt}\n"
        f"provider: {{kind: aimlapi, base_url: '{url}'}}\n"
        f"run: {{concurrency: {wanted.at_once}{wanted.run}}}\n"
        f"output: {{dir: {folder / 'run'}}}\n"
    )
    command = python("-m", "batchgen", "run", job, "--display", "none", "--yes")
    return measure(command, cwd=folder, environment={"AIMLAPI_KEY": KEY})
