"""A run of batchgen as its users start it: a job file, a key in the environment, the command."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.processes import Usage, measure, python
from benchmarks.scripts.expand import PROMPT

KEY: Final = "a-key-for-benchmarks"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be made.

    Attributes:
        tasks: How many videos.
        at_once: Generations in flight.
    """

    tasks: int
    at_once: int

    def prompts(self, folder: Path) -> Path:
        """Write the prompts, a line each, all different."""
        file = folder / "prompts.txt"
        file.write_text("".join(f"video number {number}\n" for number in range(self.tasks)))
        return file


def batchgen(folder: Path, url: str, wanted: Wanted) -> Usage:
    """Run a job of many prompts against a server; its videos are in `run/videos` then.

    Raises:
        subprocess.CalledProcessError: Not all of them were made.
    """
    wanted.prompts(folder)
    job = folder / "job.yaml"
    job.write_text(
        "version: 1\n"
        "prompts: {file: prompts.txt}\n"
        f"provider: {{kind: aimlapi, base_url: '{url}'}}\n"
        f"run: {{concurrency: {wanted.at_once}}}\n"
        f"output: {{dir: {folder / 'run'}}}\n"
    )
    return run(job)


def grid(folder: Path, tasks: int, url: str, at_once: int) -> Path:
    """Write a job whose file is small however many tasks it has, and that waits for nothing.

    Args:
        folder: Where.
        tasks: A multiple of 100, or fewer: then a seed each.
        url: Of the server.
        at_once: Generations in flight.
    """
    seeds, others = (tasks // 100, 10) if tasks >= 100 else (tasks, 1)
    job = folder / "job.yaml"
    job.write_text(
        "version: 1\n"
        f"prompts: ['{PROMPT}']\n"
        f"matrix: {{seed: 1-{seeds}, guidance_scale: 1-{others}, shift: 1-{others}}}\n"
        f"provider: {{kind: aimlapi, base_url: '{url}'}}\n"
        f"run: {{concurrency: {at_once}, submits: 32, downloads: 32,"
        " poll: {first: 1ms, every: 1ms}}\n"
        f"output: {{dir: {folder / 'run'}}}\n"
    )
    return job


def run(job: Path, *options: str) -> Usage:
    """Run a job as a script does.

    Raises:
        subprocess.CalledProcessError: Not all of it was made.
    """
    command = python("-m", "batchgen", "run", job, "--display", "none", "--yes", *options)
    return measure(command, cwd=job.parent, environment={"AIMLAPI_KEY": KEY})
