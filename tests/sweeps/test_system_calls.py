"""The real command under strace: the kernel itself says no, or kills, at the Nth call.

What wrapped primitives cannot reach: the fdatasync calls that SQLite makes inside a commit.
"""

import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import anyio
import pytest

from batchgen.sandbox import Sandbox
from tests.sweeps import books
from tests.sweeps.runs import server, taken

TASKS: Final = 6
STOPPED: Final = 6
USAGE: Final = 2


def _strace_works() -> bool:
    strace = shutil.which("strace")
    return (
        strace is not None and subprocess.run([strace, "-qq", "true"], check=False).returncode == 0
    )


pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not _strace_works(), reason="needs strace and leave to trace processes"),
]


class Command:
    """`batchgen run` on a job of its own, traced or not."""

    def __init__(self, folder: Path, sandbox: Sandbox, environment: dict[str, str]) -> None:
        self.directory = folder / "run"
        self._job = folder / "job.yaml"
        self._environment = environment
        folder.mkdir(exist_ok=True)
        prompts = ", ".join(f"prompt {number}" for number in range(TASKS))
        self._job.write_text(
            f"version: 1\nprompts: [{prompts}]\noutput: {{dir: {self.directory}}}\n"
            f"provider: {{kind: sandbox, base_url: '{sandbox.url}'}}\n"
            "run: {poll: {first: 0.1s, every: 0.1s}}\n"
        )

    async def run(self, inject: str = "") -> tuple[int, str]:
        """Run it; return its exit code, less the signal's number where one ended it, and stderr.

        Args:
            inject: What strace is to do to which call; empty for a run without it.
        """
        command = [sys.executable, "-m", "batchgen", "run", str(self._job), "--display", "none"]
        if inject:
            call = inject.partition(":")[0]
            # Not with --seccomp-bpf, under which strace 6.1 injects no signals.
            traced = ["strace", "-f", "-qq", "-o", str(self._job) + ".trace"]
            command = [*traced, "-e", f"trace={call}", "-e", f"inject={inject}", *command]
        with anyio.fail_after(90):
            done = await anyio.run_process(
                command, cwd=self._job.parent, env=self._environment, check=False
            )
        return done.returncode, done.stderr.decode()


async def harmed(folder: Path, environment: dict[str, str], inject: str) -> tuple[int, str]:
    """Run the command to its death or error, then to its end, checking after each.

    Returns:
        Exit code and stderr of the first.
    """
    async with server() as sandbox:
        command = Command(folder, sandbox, environment)
        code, stderr = await command.run(inject)
        untaken = books.check_at_rest(command.directory, await taken(sandbox))
        assert len(untaken) <= books.SUBMITS
        assert "Traceback" not in stderr, stderr
        last, said = await command.run()
        assert last in (0, 5), said
        untaken = books.check_at_rest(command.directory, await taken(sandbox))
        books.check_end(command.directory, await taken(sandbox), TASKS, untaken)
    return code, stderr


@pytest.mark.parametrize("nth", [15])
async def test_a_command_killed_in_the_midst_of_a_commit_recovers(
    folder: Path, environment: dict[str, str], nth: int
) -> None:
    code, _ = await harmed(folder, environment, f"fdatasync:signal=SIGKILL:when={nth}")
    assert code == -signal.SIGKILL


@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
async def test_a_commit_that_cannot_be_forced_to_disk_ends_the_command_with_a_sentence(
    folder: Path, environment: dict[str, str], error: str
) -> None:
    # Whatever the reason, after a failed sync nobody knows what is on disk.
    code, stderr = await harmed(folder, environment, f"fdatasync:error={error}:when=12+")
    assert code == STOPPED
    assert "the ledger could not be written: disk I/O error" in stderr


@pytest.mark.nightly
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("harm", "codes"),
    [
        ("signal=SIGKILL", {-signal.SIGKILL}),
        ("error=EIO", {STOPPED, USAGE}),
        ("error=ENOSPC", {STOPPED, USAGE}),
    ],
    ids=["killed", "broken", "full"],
)
@pytest.mark.parametrize("call", ["fdatasync", "fsync", "pwrite64"])
async def test_a_command_harmed_at_any_such_call_loses_nothing_that_was_paid_for(
    folder: Path, environment: dict[str, str], harm: str, codes: set[int], call: str
) -> None:
    for nth in range(1, 200):
        code, stderr = await harmed(folder / str(nth), environment, f"{call}:{harm}:when={nth}")
        # strace counts for each thread: a call that few make soon finds none.
        assert code in {*codes, 0}, stderr
        if code == 0 and nth > 40:
            return
