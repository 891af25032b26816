"""How long generations take, as learned from those that were watched."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchgen.durations import EDGES, MEMORY, MOST_KINDS, Durations, LifeTable, kind_of, place_of
from batchgen.models import Scalar

AGES = st.floats(0.0, 20_000.0)


def still_run(table: LifeTable, age: float) -> float:
    """Return the share of generations that are believed to run at this age still."""
    return math.exp(-table.rates().sum_at(age))


def median(table: LifeTable) -> float:
    """Return the age at which half of the generations are believed to be done."""
    return next(edge for edge in EDGES if still_run(table, edge) < 0.5)


def fed(*durations: float) -> LifeTable:
    """Return what is believed once these were polled every 5 s."""
    table = LifeTable()
    for duration in durations:
        seen = 5.0 * math.floor(duration / 5.0)
        table.runs(0.0, seen)
        table.ended(seen, seen + 5.0)
    return table


def test_before_anything_is_known_most_generations_may_take_seconds_or_an_hour() -> None:
    table = LifeTable()
    assert still_run(table, 1.0) > 0.5
    assert still_run(table, 100.0) > 0.1
    assert still_run(table, 3600.0) > 0.05


def test_a_hundred_generations_tell_how_they_are_spread() -> None:
    rng = random.Random(5)
    table = fed(*(85.0 * math.exp(rng.gauss(0.0, 0.25)) for _ in range(200)))
    assert 80.0 < median(table) < 92.0
    assert still_run(table, 40.0) > 0.97
    assert still_run(table, 170.0) < 0.05


def test_two_humps_are_kept_apart() -> None:
    table = fed(*(value for _ in range(60) for value in (86.0, 301.0)))
    rates = table.rates().per_second
    assert max(rates[place_of(at)] for at in (130.0, 160.0, 200.0)) < 0.001
    assert min(rates[place_of(at)] for at in (86.0, 301.0)) > 0.02


def test_what_came_last_outweighs_what_came_before() -> None:
    assert 180.0 < median(fed(*[85.0] * 300, *[200.0] * int(2 * MEMORY))) < 215.0


def test_what_gets_slower_is_noticed_before_a_slow_one_has_ended() -> None:
    table = fed(*[86.0] * 100)
    before = still_run(table, 200.0)
    for _ in range(20):
        table.runs(0.0, 300.0)
    assert before < 0.05
    assert still_run(table, 200.0) > 0.1


def test_what_gets_faster_is_noticed_although_it_was_not_asked_about_early() -> None:
    table = fed(*[200.0] * 100)
    for _ in range(100):
        table.ended(0.0, 180.0)
    assert still_run(table, 150.0) < 0.75


def test_one_of_an_earlier_run_counts_as_one_that_was_watched() -> None:
    table = LifeTable()
    for _ in range(100):
        table.took(90.0)
    assert 80.0 < median(table) < 95.0


@given(st.lists(st.tuples(AGES, AGES, st.booleans()), max_size=60))
def test_whatever_was_seen_every_rate_is_above_zero_and_finite(
    seen: list[tuple[float, float, bool]],
) -> None:
    table = LifeTable()
    for since, until, done in seen:
        note = table.ended if done else table.runs
        note(since, until)
    rates = table.rates()
    assert all(0 < rate < math.inf for rate in rates.per_second)
    assert list(rates.sums) == sorted(rates.sums)


@given(st.lists(st.floats(0.3, 7000.0), min_size=1, max_size=40), AGES, AGES)
def test_fewer_are_believed_to_run_the_older_they_are(
    durations: list[float], one: float, other: float
) -> None:
    table = fed(*durations)
    young, old = sorted((one, other))
    assert still_run(table, young) >= still_run(table, old)


@pytest.mark.parametrize(("since", "until"), [(10.0, 10.0), (10.0, 5.0), (8000.0, 9000.0)])
def test_a_clock_that_went_back_or_ran_on_for_hours_teaches_nothing(
    since: float, until: float
) -> None:
    table = fed(86.0)
    before = table.rates()
    table.ended(since, until)
    assert table.rates() == before


def test_generations_are_of_one_kind_where_model_and_work_are_the_same() -> None:
    base: dict[str, Scalar] = {"model": "m", "prompt": "a fox", "seed": 1, "inference_steps": 30}
    assert kind_of(base) == kind_of({**base, "prompt": "an owl", "seed": 2})
    assert kind_of(base) != kind_of({**base, "inference_steps": 50})
    assert kind_of(base) != kind_of({**base, "model": "n"})


def test_kinds_learn_apart_and_late_ones_share_a_table() -> None:
    durations = Durations()
    tables = [durations.of({"model": "m", "inference_steps": n}) for n in range(MOST_KINDS + 2)]
    assert len({id(table) for table in tables}) == MOST_KINDS + 1
    assert tables[-1] is tables[-2]
    assert durations.of({"inference_steps": 3, "model": "m", "seed": 9}) is tables[3]
