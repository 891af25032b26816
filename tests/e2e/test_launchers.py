"""What launchers leave a run with: closed streams, ignored signals, a terminal that goes away."""

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import Batchgen
from tests.e2e.test_command import FAST, GRID, account, job_file, manifest

AT_A_TERMINAL = """\
import os, sys
os.login_tty(int(sys.argv[1]))
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""
"""Makes a descriptor the terminal of the Python command behind it."""


def shell(
    folder: Path, environment: dict[str, str], line: str, *arguments: object
) -> subprocess.CompletedProcess[str]:
    """Run the command as `"$@"` in a line of the shell."""
    return subprocess.run(
        ["sh", "-c", line, "sh", sys.executable, "-m", "batchgen", *map(str, arguments)],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_run_with_closed_streams_runs_and_what_is_printed_lands_in_none_of_its_files(
    serve: Callable[..., str], environment: dict[str, str], tmp_path: Path
) -> None:
    """A file that is opened while stderr is closed would get its number, and what goes there."""
    url = serve(*FAST)
    (tmp_path / "sitecustomize.py").write_text(
        "import atexit, os\natexit.register(lambda: os.write(2, b'PRINTED'))\n"
    )
    paths = {**environment, "PYTHONPATH": str(tmp_path)}
    job = job_file(tmp_path)
    ended = shell(tmp_path, paths, '"$@" <&- >&- 2>&-', "run", job, "--base-url", url)
    assert ended.returncode == 0
    assert {row["status"] for row in manifest(tmp_path / "output" / "grid")} == {"succeeded"}
    files = [path for path in (tmp_path / "output").rglob("*") if path.is_file()]
    assert not [path for path in files if b"PRINTED" in path.read_bytes()]


@pytest.mark.parametrize("stream", [0, 1, 2])
def test_a_verb_starts_with_any_standard_stream_closed(
    environment: dict[str, str], tmp_path: Path, stream: int
) -> None:
    ended = shell(tmp_path, environment, f'"$@" {stream}>&-', "validate", job_file(tmp_path))
    assert (ended.returncode, "Traceback" in ended.stderr) == (0, False), ended.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_words_that_cannot_be_written_change_no_exit_code_of_a_run(
    serve: Callable[..., str], environment: dict[str, str], tmp_path: Path
) -> None:
    url = serve(*FAST)
    job = job_file(tmp_path)
    ended = shell(tmp_path, environment, '"$@" >/dev/full 2>&1', "run", job, "--base-url", url)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_a_result_that_cannot_be_written_is_an_error_in_one_line(
    environment: dict[str, str], tmp_path: Path
) -> None:
    ended = shell(tmp_path, environment, '"$@" >/dev/full', "schema")
    assert ended.returncode == 2
    assert ended.stderr == "batchgen: disk: No space left on device\n"
    for arguments in (["nope"], ["plan", "nope.yaml"]):
        assert shell(tmp_path, environment, '"$@" 2>/dev/full', *arguments).returncode == 2


@contextmanager
def running(
    folder: Path, environment: dict[str, str], url: str, *before: str
) -> Iterator["subprocess.Popen[str]"]:
    """Start a run of eight tasks, two at once; go on when some are in flight."""
    job = job_file(folder, GRID.replace("seed: 1-2", "seed: 1-4").replace(": 4,", ": 2,"))
    command = [sys.executable, "-m", "batchgen", "run", str(job), "--base-url", url]
    run = subprocess.Popen(
        [*before, *command],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with run:
        try:
            while account(url)["submits"] < 2:
                time.sleep(0.05)
            yield run
        finally:
            run.kill()


def test_signals_that_were_ignored_from_the_start_stay_ignored(
    serve: Callable[..., str], environment: dict[str, str], tmp_path: Path
) -> None:
    """As `nohup` leaves SIGHUP, and a shell leaves SIGINT for what it puts in the background."""
    url = serve("--queue", "0s", "--generate", "0.4s")
    before = ("sh", "-c", "trap '' HUP INT; exec \"$@\"", "sh")
    with running(tmp_path, environment, url, *before) as run:
        run.send_signal(signal.SIGHUP)
        run.send_signal(signal.SIGINT)
        _, err = run.communicate(timeout=60)
    assert run.returncode == 0, err
    assert "starting no more" not in err
    assert account(url)["submits"] == 8


def test_where_one_signal_is_ignored_the_others_are_obeyed(
    serve: Callable[..., str], environment: dict[str, str], tmp_path: Path
) -> None:
    url = serve("--queue", "0s", "--generate", "1s")
    with running(tmp_path, environment, url, "nohup") as run:
        run.send_signal(signal.SIGTERM)
        out, err = run.communicate(timeout=60)
    assert run.returncode == 130
    assert "finishing 2 in flight, starting no more" in err
    assert "stopped: interrupted by SIGTERM" in out
    assert account(url)["submits"] < 8


def test_a_run_whose_terminal_goes_away_finishes_what_is_in_flight(
    serve: Callable[..., str],
    batchgen: Batchgen,
    environment: dict[str, str],
    tmp_path: Path,
) -> None:
    url = serve("--queue", "0s", "--generate", "1s")
    job = job_file(tmp_path, GRID.replace("seed: 1-2", "seed: 1-20"))
    ours, theirs = pty.openpty()
    run = subprocess.Popen(
        [
            *(sys.executable, "-c", AT_A_TERMINAL, str(theirs), "-m", "batchgen"),
            *("run", str(job), "--base-url", url, "--display", "live"),
        ],
        cwd=tmp_path,
        env={**environment, "TERM": "xterm"},
        pass_fds=[theirs],
    )
    os.close(theirs)
    while account(url)["submits"] < 4:
        time.sleep(0.05)
    os.close(ours)  # the kernel sends SIGHUP, and whatever is written fails from now on
    assert run.wait(timeout=60) == 130
    counts = [row["status"] for row in manifest(tmp_path / "output" / "grid")]
    assert counts.count("succeeded") == account(url)["submits"] < 40
    said = batchgen("status", tmp_path / "output" / "grid").stdout
    assert "ended: interrupted by SIGHUP: its terminal was closed\n" in said
