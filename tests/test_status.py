"""How a run stands, seen from another process."""

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from batchgen.report.status import KILLED, RUNNING, STARTING, RunStatus, see, write_status
from batchgen.rundir import RunDirectory

GOING_ON = RunStatus(RUNNING, {"pending": 3}, 3, 100.0, 101.0, 1.0, 0)
OVER = replace(GOING_ON, state="budget", detail="it is used up")


@pytest.fixture
def directory(tmp_path: Path) -> RunDirectory:
    made = RunDirectory(tmp_path / "run")
    made.create()
    return made


def test_who_holds_the_directory_runs_and_who_has_said_how_it_ended_has_ended(
    directory: RunDirectory,
) -> None:
    with directory.lock():
        write_status(directory, GOING_ON)
        assert see(directory).state == RUNNING
    assert (see(directory).held, see(directory).state) == (False, KILLED)
    write_status(directory, OVER)
    assert see(directory).state == "budget"
    with directory.lock():
        seen = see(directory)
        assert (seen.held, seen.state) == (True, STARTING)


def test_where_no_run_has_been_there_is_nothing_to_see(directory: RunDirectory) -> None:
    assert see(directory).found is None
    directory.status.write_text("{")
    assert see(directory).found is None


def in_a_thread(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_no_run_that_ends_or_begins_while_it_is_looked_at_was_killed(
    directory: RunDirectory,
) -> None:
    write_status(directory, OVER)

    def runs() -> None:
        for number in range(150):
            with directory.lock():
                write_status(directory, replace(GOING_ON, started_at=float(number)))
                write_status(directory, replace(OVER, started_at=float(number)))

    thread = in_a_thread(runs)
    seen = set()
    while thread.is_alive():
        seen.add(see(directory).state)
    thread.join()
    assert seen <= {RUNNING, STARTING, "budget"}
    assert see(directory).state == "budget"
