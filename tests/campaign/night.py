"""One night: a sandbox, a job, SIGKILLs at seeded moments, and the evidence they leave."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from batchgen.rundir import RunDirectory
from tests.campaign import evidence, invariants
from tests.campaign.child import OPENED
from tests.campaign.faults import fault_plan
from tests.campaign.hurry import HurriedClock
from tests.campaign.invariants import Findings
from tests.campaign.server import QUEUE_SECONDS

REPO: Final = Path(__file__).parents[2]
KEY: Final = "canary-key-0123456789abcdef"
SUBMITS: Final = 8
MOST_RUNS: Final = 60
"""Runs without a kill after which a night is given up as one that does not end."""
RUN_SECONDS: Final = 400.0
PATIENCE_SECONDS: Final = 30.0
"""A kill comes after so long at the latest."""
LOOK_SECONDS: Final = 0.004


@dataclass(frozen=True, slots=True)
class NightSettings:
    """What kind of night it is.

    Attributes:
        tasks: Tasks of the job.
        kills: SIGKILLs.
        seed: Chooses faults and moments.
        rate: How much faster than the machine's the clock runs.
        faults: Whether there are any.
        real_command: Whether `python -m batchgen` itself is run, which knows no other clock than
            the machine's: then the rate must be 1.
    """

    tasks: int
    kills: int
    seed: int
    rate: float = 20.0
    faults: bool = True
    real_command: bool = False


@dataclass(slots=True)
class NightReport:
    """How a night went.

    Attributes:
        findings: The invariants.
        kills: SIGKILLs that met a process, by the moment that was aimed at.
        runs: Runs that ended by themselves.
        seconds: How long it took.
        faults: Faults the server did, by kind of request and name.
        phases: Seconds spent, by what for.
    """

    findings: Findings
    kills: dict[str, int]
    runs: int
    seconds: float
    faults: dict[str, int] = field(default_factory=dict)
    phases: dict[str, float] = field(default_factory=dict)


class Night:
    """The processes and places of one night. Everything lies below one folder.

    Args:
        base: An empty folder.
        settings: What kind of night it is.
    """

    def __init__(self, base: Path, settings: NightSettings) -> None:
        self.settings = settings
        self.findings = Findings()
        self._rng = random.Random(f"kills {settings.seed}")
        self._clock = HurriedClock(settings.rate, time.time())
        self._base = base
        self._screens = base / "screens"
        self._cwd = base / "cwd"
        for folder in (self._screens, self._cwd, base / "home", base / "tmp"):
            folder.mkdir(parents=True)
        self._journal = base / "sandbox.jsonl"
        self._vitals = base / "vitals"
        self._directory = RunDirectory(self._cwd / "output" / "night")
        self._videos = evidence.Videos(self._directory.videos)
        self._read = 0
        self._taken = 0
        self._kills = {"start": 0, "recovery": 0, "work": 0}
        self._runs = 0
        self._started = 0
        self._phases: dict[str, float] = {}

    def pass_(self) -> NightReport:
        """Let it pass, and judge it."""
        began = time.monotonic()
        with self._sandbox() as url:
            job = self._write_job(url)
            before = self._outside()
            with self._phase("kills"):
                self._kill_again_and_again(job)
            with self._phase("to the end"):
                self._run_to_the_end(job)
            with self._phase("judging"):
                account = evidence.read_account(url, KEY)
                self._judge(account, before)
        return NightReport(
            self.findings,
            self._kills,
            self._runs,
            time.monotonic() - began,
            _faults_of(account),
            self._phases,
        )

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            self._phases[name] = self._phases.get(name, 0.0) + time.monotonic() - began

    @contextmanager
    def _sandbox(self) -> Iterator[str]:
        """Run the sandbox in a process of its own; yield its URL."""
        command = [sys.executable, "-m", "tests.campaign.server", "--journal", str(self._journal)]
        command += ["--key", KEY, *self._clock.arguments]
        if self.settings.faults:
            plan = self._base / "plan.json"
            plan.write_text(json.dumps(fault_plan(self.settings.seed, self.settings.tasks)))
            command += ["--faults", str(plan)]
        with (self._base / "sandbox.err").open("wb") as errors:
            server = subprocess.Popen(
                command, cwd=REPO, stdout=subprocess.PIPE, stderr=errors, text=True
            )
        try:
            assert server.stdout is not None
            url = server.stdout.readline().strip()
            if not url:
                raise RuntimeError((self._base / "sandbox.err").read_text())
            yield url
        finally:
            server.terminate()
            server.wait(timeout=30)
            assert server.stdout is not None
            server.stdout.close()

    def _write_job(self, url: str) -> Path:
        path = self._cwd / "night.yaml"
        path.write_text(json.dumps(job(url, self.settings)))
        return path

    def _command(self, *arguments: object) -> list[str]:
        if self.settings.real_command:
            return [sys.executable, "-m", "batchgen", *map(str, arguments)]
        command = [sys.executable, "-m", "tests.campaign.child", *self._clock.arguments]
        return [*command, "--vitals", str(self._vitals), "--", *map(str, arguments)]

    @contextmanager
    def _running(self, *arguments: object) -> Iterator[subprocess.Popen[bytes]]:
        """Start the command in the night's own surroundings; nothing of it is left behind."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("BATCHGEN_", "AIML", "XDG_"))
        }
        surroundings = {
            **kept,
            "AIMLAPI_KEY": KEY,
            "HOME": str(self._base / "home"),
            "TMPDIR": str(self._base / "tmp"),
            "PYTHONPATH": str(REPO),
            "TZ": "UTC",
        }
        self._started += 1
        out, err = (self._screens / f"{self._started:03}.{name}" for name in ("out", "err"))
        with out.open("wb") as stdout, err.open("wb") as stderr:
            process = subprocess.Popen(
                self._command(*arguments),
                cwd=self._cwd,
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

    def _run(self, job: Path) -> AbstractContextManager[subprocess.Popen[bytes]]:
        return self._running("run", job, "--yes", "--display", "plain")

    def _kill_again_and_again(self, job: Path) -> None:
        for number in range(self.settings.kills):
            aim = self._rng.choices(("start", "recovery", "work"), (2, 2, 6))[0]
            goal = self.settings.tasks * (number + self._rng.random()) / self.settings.kills
            with self._run(job) as process:
                self._wait_for_moment(process, aim, goal)
                process.send_signal(signal.SIGKILL)
                code = process.wait()
            with self._phase("looking after kills"):
                if code == -signal.SIGKILL:
                    self._kills[aim] += 1
                    self._judge_kill()
                else:
                    self._ended(code)

    def _wait_for_moment(self, process: subprocess.Popen[bytes], aim: str, goal: float) -> None:
        """Wait until the process is where it is to be killed.

        Args:
            process: The run.
            aim: `start`, `recovery` or `work`.
            goal: Submits the server has taken by then, for `work`.
        """
        match aim:
            case "start":
                self._wait(process, 2.0 * self._rng.random())
            case "recovery":
                opened = self._openings()
                self._wait(process, PATIENCE_SECONDS, lambda: self._openings() > opened)
                self._wait(process, 0.3 * self._rng.random())
            case _:
                self._wait(process, PATIENCE_SECONDS, lambda: self._progress() >= goal)
                self._wait(process, 0.5 * self._rng.random())

    @staticmethod
    def _wait(
        process: subprocess.Popen[bytes],
        seconds: float,
        until: Callable[[], bool] = lambda: False,
    ) -> None:
        """Wait until something is so, the time is over or the process has ended."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and process.poll() is None and not until():
            time.sleep(LOOK_SECONDS)

    def _openings(self) -> int:
        """Count the sessions that were opened; the real command does not tell."""
        if self.settings.real_command:
            return self._started if self._directory.status.exists() else 0
        return self._vitals.read_text().count(OPENED) if self._vitals.exists() else 0

    def _progress(self) -> int:
        """Count what the server has taken, by the lines of its journal."""
        with self._journal.open("rb") as journal:
            journal.seek(self._read)
            news = journal.read()
        self._read += len(news)
        self._taken += news.count(b"\n")
        return self._taken - 1

    def _run_to_the_end(self, job: Path) -> None:
        """Repeat the command while tasks are left to do, and settle what stays unresolved."""
        for _ in range(MOST_RUNS):
            with self._run(job) as process:
                try:
                    code = process.wait(RUN_SECONDS)
                except subprocess.TimeoutExpired:
                    self.findings.hold("I9", [f"a run did not end in {RUN_SECONDS:.0f} s"], 1)
                    return
            statuses = self._ended(code)
            if "pending" in statuses:
                continue
            if "unresolved" not in statuses:
                return
            with self._running("resolve", self._directory.path, "--resubmit") as process:
                if (code := process.wait(RUN_SECONDS)) != 0:
                    self.findings.hold("I9", [f"resolve ended with {code}"], 1)
                    return
        self.findings.hold("I9", [f"the night did not end in {MOST_RUNS} runs"], 1)

    def _ended(self, code: int) -> set[str]:
        """Judge a run that ended by itself; return the statuses it left."""
        self._runs += 1
        manifest = evidence.read_manifest(self._directory)
        invariants.judge_exit(self.findings, code, manifest, self.settings.tasks)
        return {str(row["status"]) for row in manifest}

    def _judge_kill(self) -> None:
        invariants.judge_kill(
            self.findings,
            evidence.read_ledger(self._directory),
            self._videos.look(),
            self._said(),
            tasks=self.settings.tasks,
            submits=SUBMITS,
        )

    def _said(self) -> set[str]:
        return evidence.said_to_be_saved(
            self._directory.path / "run.log", sorted(self._screens.iterdir())
        )

    def _judge(self, account: evidence.Row, before: dict[str, Any]) -> None:
        self._videos.forget()
        invariants.judge_end(
            self.findings,
            account=account,
            ledger=evidence.read_ledger(self._directory),
            manifest=evidence.read_manifest(self._directory),
            clips=self._videos.look(),
            said=self._said(),
            tasks=self.settings.tasks,
        )
        looked_at = [
            *evidence.files_under(self._directory.path),
            *evidence.files_under(self._screens),
        ]
        self.findings.hold(
            "I7",
            [
                f"{path.relative_to(self._base)} holds {needle.decode()}"
                for path, needle in evidence.files_holding((KEY.encode(), b"signature="), looked_at)
            ],
            len(looked_at),
        )
        after = self._outside()
        changed = [
            name for name in before.keys() | after.keys() if before.get(name) != after.get(name)
        ]
        self.findings.hold("I8", [f"{name} is new or changed" for name in changed], len(after))
        if not self.settings.real_command:
            invariants.judge_vitals(self.findings, *evidence.read_vitals(self._vitals))

    def _outside(self) -> dict[str, Any]:
        """List what a run may not touch: all around its directory."""
        ours = {self._directory.path, *self._directory.path.parents}
        return {
            f"{folder}/{name}": what
            for folder in ("cwd", "home", "tmp")
            for name, what in evidence.listing(
                self._base / folder,
                leave_out=lambda path: path in ours or self._directory.path in path.parents,
            ).items()
        }


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
            # No clip is done sooner.
            "poll": {"first": settings.rate * (QUEUE_SECONDS + 0.1)},
            # The machine's seconds: a server on this machine that says nothing for so long hangs.
            "timeout": {"request": "2s", "submit": "3s", "download": "3s", "generation": "3m"},
        },
    }


def _faults_of(account: evidence.Row) -> dict[str, int]:
    faults = account.get("faults") or {}
    return {str(name): int(count) for name, count in faults.items()} if faults else {}
