"""The processes of a night, and the places they work in."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from batchgen.rundir import RunDirectory
from tests.campaign.faults import fault_plan
from tests.campaign.hurry import HurriedClock

REPO: Final = Path(__file__).parents[2]
KEY: Final = "canary-key-0123456789abcdef"
SUBMITS: Final = 8
PARTING_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class NightSettings:
    """What kind of night it is.

    Attributes:
        tasks: Tasks of the job.
        kills: SIGKILLs.
        seed: Chooses faults and moments.
        rate: How much faster than the machine's the clock runs.
        faults: Whether there are any.
        log: What the provider's log is like, a name in `faults.ROWS`.
        real_command: Whether `python -m batchgen` itself is run, which knows no other clock than
            the machine's: then the rate must be 1.
    """

    tasks: int
    kills: int
    seed: int
    rate: float = 60.0
    faults: bool = True
    log: str = "honest"
    real_command: bool = False


def job(url: str, settings: NightSettings) -> dict[str, Any]:
    """Return the night's job: prompts x seeds, as many tasks as asked for."""
    tasks = settings.tasks
    prompts = next(count for count in (10, 5, 4, 2, 1) if tasks % count == 0)
    return {
        "version": 1,
        "prompts": [f"A fox of the kind {number}" for number in range(prompts)],
        "matrix": {"seed": f"1-{tasks // prompts}"},
        "provider": {"kind": "aimlapi", "base_url": url},
        "run": {
            "concurrency": 64,
            "submits": SUBMITS,
            "downloads": 8,
            # Hardly a clip is done sooner.
            "poll": {"first": settings.rate * 0.2, "every": settings.rate * 0.15},
            # The machine's seconds: a server on this machine that says nothing for so long hangs.
            "timeout": {
                "request": "2s",
                "submit": "3s",
                "download": "3s",
                "generation": settings.rate * 3,
            },
        },
    }


class Processes:
    """Starts sandbox and command, each in a process that does not outlive its block.

    Args:
        base: An empty folder, in which everything lies.
        settings: What kind of night it is.

    Attributes:
        base: The folder.
        run: The run directory.
        cwd: Where the command runs.
        outside: Folders a run may write to by nature, and must not.
        screens: What was printed.
        journal: What the sandbox has taken.
        vitals: What children say of their event loops.
        backup: A copy of the ledger's folder, once it was made.
    """

    def __init__(self, base: Path, settings: NightSettings) -> None:
        self.cwd, self.screens = base / "cwd", base / "screens"
        self.outside = [self.cwd, base / "home", base / "tmp"]
        for folder in (*self.outside, self.screens):
            folder.mkdir(parents=True)
        self.run = RunDirectory(self.cwd / "output" / "night")
        self.journal = base / "sandbox.jsonl"
        self.vitals = base / "vitals"
        self.backup = base / "backup"
        self.started = 0
        self.base = base
        self._settings = settings
        self._clock = HurriedClock(settings.rate, time.time())

    @contextmanager
    def sandbox(self) -> Iterator[str]:
        """Run the sandbox in a process of its own; yield its URL."""
        command = [sys.executable, "-m", "tests.campaign.server", "--journal", str(self.journal)]
        command += ["--key", KEY, *self._clock.arguments]
        if self._settings.faults:
            plan = self.base / "plan.json"
            faults = fault_plan(self._settings.seed, self._settings.tasks, self._settings.log)
            plan.write_text(json.dumps(faults))
            command += ["--faults", str(plan)]
        with (self.base / "sandbox.err").open("wb") as errors:
            server = subprocess.Popen(
                command, cwd=REPO, stdout=subprocess.PIPE, stderr=errors, text=True
            )
        try:
            assert server.stdout is not None
            url = server.stdout.readline().strip()
            if not url:
                raise RuntimeError((self.base / "sandbox.err").read_text())
            yield url
        finally:
            server.terminate()
            server.wait(timeout=PARTING_SECONDS)
            assert server.stdout is not None
            server.stdout.close()

    def back_ledger_up(self) -> None:
        """Copy the ledger of a run that was killed, as somebody's backup does."""
        shutil.copytree(self.run.state, self.backup, ignore=lambda *_: ["parts"])

    def put_ledger_back(self) -> None:
        """Put the backup in the place of the ledger: all since then it knows nothing of."""
        shutil.rmtree(self.run.state)
        shutil.copytree(self.backup, self.run.state)

    def _command(self, *arguments: object) -> list[str]:
        if self._settings.real_command:
            return [sys.executable, "-m", "batchgen", *map(str, arguments)]
        command = [sys.executable, "-m", "tests.campaign.child", *self._clock.arguments]
        return [*command, "--vitals", str(self.vitals), "--", *map(str, arguments)]

    @contextmanager
    def running(self, *arguments: object) -> Iterator[subprocess.Popen[bytes]]:
        """Start the command in the night's own surroundings; nothing of it is left behind."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("BATCHGEN_", "AIML", "XDG_"))
        }
        surroundings = {
            **kept,
            "AIMLAPI_KEY": KEY,
            "HOME": str(self.base / "home"),
            "TMPDIR": str(self.base / "tmp"),
            "PYTHONPATH": str(REPO),
            "TZ": "UTC",
        }
        self.started += 1
        out, err = (self.screens / f"{self.started:03}.{name}" for name in ("out", "err"))
        with out.open("wb") as stdout, err.open("wb") as stderr:
            process = subprocess.Popen(
                self._command(*arguments),
                cwd=self.cwd,
                env=surroundings,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
            )
        try:
            yield process
        finally:
            process.kill()
            process.wait()
