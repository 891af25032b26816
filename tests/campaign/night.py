"""One night: a sandbox, a job, SIGKILLs at seeded moments, and the evidence they leave."""

import json
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from batchgen.report.status import read_status
from tests.campaign import evidence, invariants
from tests.campaign.faults import TRUSTED
from tests.campaign.invariants import Findings
from tests.campaign.processes import KEY, SUBMITS, NightSettings, Processes, job

MOMENTS: Final = ("start", "recovery", "work", "work", "work")
"""What kills are aimed at."""
REACHABLE: Final = 0.9
MOST_RUNS: Final = 60
"""Runs without a kill after which a night is given up as one that does not end."""
RUN_SECONDS: Final = 400.0
START_SECONDS: Final = 30.0
"""What a run gets to open its ledger, on a machine that is busy with others."""
PATIENCE_SECONDS: Final = 6.0
"""A kill of a run that works comes after so long at the latest."""
LOOK_SECONDS: Final = 0.01
BACKED_UP_AT: Final = 0.5
"""Share of the kills after which the ledger is copied; the copy is put back after the last."""
GENERATION: Final = b'"kind":"generation"'
"""What each line of the sandbox's journal holds that is a submit it took."""
_FETCHED_AGAIN: Final = frozenset({"download_failed", "fetch_refused", "forgotten", "no_video"})


@dataclass(slots=True)
class NightReport:
    """How a night went.

    Attributes:
        findings: The invariants.
        kills: SIGKILLs that met a process, by the moment that was aimed at.
        runs: Runs that ended by themselves.
        seconds: How long it took.
        faults: Faults the server did, by name.
        phases: Seconds spent, by what for.
    """

    findings: Findings
    kills: dict[str, int]
    runs: int
    seconds: float
    faults: Counter[str]
    phases: dict[str, float]


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
        self._processes = Processes(base, settings)
        self._directory = self._processes.run
        self._videos = evidence.Videos(self._directory.videos)
        self._taken = evidence.Growing(self._processes.journal, GENERATION)
        self._kills = dict.fromkeys(MOMENTS, 0)
        self._runs = 0
        self._phases: dict[str, float] = {}

    def pass_(self) -> NightReport:
        """Let it pass, and judge it."""
        began = time.monotonic()
        with self._processes.sandbox() as url:
            job_file = self._processes.cwd / "night.yaml"
            job_file.write_text(json.dumps(job(url, self.settings)))
            before = self._outside()
            with self._phase("kills"):
                self._kill_again_and_again(job_file)
            with self._phase("to the end"):
                self._run_to_the_end(job_file)
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

    def _run(self, job_file: Path) -> AbstractContextManager[subprocess.Popen[bytes]]:
        return self._processes.running("run", job_file, "--yes", "--display", "plain")

    def _kill_again_and_again(self, job_file: Path) -> None:
        aims = [MOMENTS[number % len(MOMENTS)] for number in range(self.settings.kills)]
        self._rng.shuffle(aims)
        # Some runs end by themselves before they are killed.
        for _ in range(2 * self.settings.kills):
            number = sum(self._kills.values())
            if number == self.settings.kills:
                break
            aim = aims[number]
            # The last of them are never taken: some submits are refused, some stay in doubt.
            share = REACHABLE * (number + self._rng.random()) / self.settings.kills
            goal = share * self.settings.tasks
            with self._run(job_file) as process:
                self._wait_for_moment(process, aim, goal)
                process.send_signal(signal.SIGKILL)
                code = process.wait()
            with self._phase("looking after kills"):
                if code == -signal.SIGKILL:
                    self._kills[aim] += 1
                    self._judge_kill()
                    if number == int(BACKED_UP_AT * self.settings.kills):
                        self._processes.back_ledger_up()
                else:
                    self._ended(code)
        if self.settings.faults:
            self._processes.put_ledger_back()

    def _wait_for_moment(self, process: subprocess.Popen[bytes], aim: str, goal: float) -> None:
        """Wait until the process is where it is to be killed.

        Args:
            process: The run.
            aim: `start`, `recovery` or `work`.
            goal: Submits the server has taken by then, for `work`.
        """
        match aim:
            case "start":
                self._wait(process, 1.5 * self._rng.random())
            case "recovery":
                self._wait(process, START_SECONDS, lambda: self._is_under_way(process))
                self._wait(process, 0.3 * self._rng.random())
            case _:
                self._wait(process, START_SECONDS, lambda: self._is_under_way(process))
                self._wait(process, PATIENCE_SECONDS, lambda: self._taken.count() >= goal)
                self._wait(process, 0.3 * self._rng.random())

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

    def _is_under_way(self, process: subprocess.Popen[bytes]) -> bool:
        """Tell whether a run has opened its ledger and begins to go on."""
        status = read_status(self._directory)
        return status is not None and status.pid == process.pid

    def _run_to_the_end(self, job_file: Path) -> None:
        """Repeat the command while tasks are left to do, and settle what stays unresolved."""
        late = self.settings.tasks + 1
        for _ in range(MOST_RUNS):
            with self._run(job_file) as process:
                try:
                    code = process.wait(RUN_SECONDS)
                except subprocess.TimeoutExpired:
                    self.findings.hold("I9", [f"a run did not end in {RUN_SECONDS:.0f} s"], 1)
                    return
            manifest = self._ended(code)
            if any(row["status"] == "pending" for row in manifest):
                continue
            late, before = sum(map(_free_again, manifest)), late
            if 0 < late < before:
                continue
            if not any(row["status"] == "unresolved" for row in manifest):
                return
            with self._processes.running("resolve", self._directory.path, "--resubmit") as process:
                if (code := process.wait(RUN_SECONDS)) != 0:
                    self.findings.hold("I9", [f"resolve ended with {code}"], 1)
                    return
        self.findings.hold("I9", [f"the night did not end in {MOST_RUNS} runs"], 1)

    def _ended(self, code: int) -> list[evidence.Row]:
        """Judge a run that ended by itself; return the manifest it left."""
        self._runs += 1
        manifest = evidence.read_manifest(self._directory)
        invariants.judge_exit(self.findings, code, manifest, self.settings.tasks)
        return manifest

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
            self._directory.path / "run.log", sorted(self._processes.screens.iterdir())
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
        if self.settings.log not in TRUSTED:
            invariants.judge_untrusted(self.findings, evidence.read_ledger(self._directory))
        looked_at = [
            *evidence.files_under(self._directory.path),
            *evidence.files_under(self._processes.screens),
        ]
        self.findings.hold("I7", invariants.leaks(account), 1)
        self.findings.hold(
            "I7",
            [
                f"{path.relative_to(self._processes.base)} holds {needle.decode()}"
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
            invariants.judge_vitals(self.findings, *evidence.read_vitals(self._processes.vitals))

    def _outside(self) -> dict[str, Any]:
        """List what a run may not touch: all around its directory."""
        ours = {self._directory.path, *self._directory.path.parents}
        return {
            f"{folder.name}/{name}": what
            for folder in self._processes.outside
            for name, what in evidence.listing(
                folder,
                leave_out=lambda path: path in ours or self._directory.path in path.parents,
            ).items()
        }


def _free_again(row: evidence.Row) -> bool:
    """Tell whether the next run asks again for a task: what was paid for is free to fetch."""
    return row["status"] == "timed_out" or row["error_code"] in _FETCHED_AGAIN


def _faults_of(account: evidence.Row) -> Counter[str]:
    """Count what the server did, by the fault's name."""
    done: Counter[str] = Counter()
    for rule in account["faults"]:
        done[rule["do"]] += rule["times"]
    return done
