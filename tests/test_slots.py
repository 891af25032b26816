"""Slots are never idle: a whole run in virtual time, against the shortest that is possible."""

from pathlib import Path

from benchmarks.polling import SLOTS
from benchmarks.slots import night

TASKS = 120


def test_a_run_takes_as_long_as_its_tasks_and_the_lag_of_its_polls_and_hardly_longer(
    tmp_path: Path,
) -> None:
    found = night(tmp_path, TASKS)
    assert found.succeeded == TASKS
    assert found.makespan <= 1.02 * (found.bound + found.lag * TASKS / SLOTS)
    assert found.lag <= 3.5
    assert found.polls <= 11
