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
    # It had all to learn.
    assert found.lag <= 4.5
    assert found.polls <= 11


def test_a_run_begins_with_what_the_ledger_knows_of_earlier_ones(tmp_path: Path) -> None:
    cold = night(tmp_path / "cold", 20)
    night(tmp_path / "warm", 40)
    warm = night(tmp_path / "warm", 60)
    assert warm.polls < cold.polls - 1
    assert warm.lag < cold.lag
