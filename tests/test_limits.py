"""How many at once and how often: state machines that are told the time."""

from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchgen.limits import (
    CUT,
    MAX_SECONDS_BETWEEN_CUTS,
    MIN_SECONDS_BETWEEN_CUTS,
    AdaptiveLimit,
    Pause,
    RateLimit,
)

GAPS = st.lists(st.floats(0, 20), min_size=1, max_size=120)


@given(st.floats(0.01, 50), st.integers(1, 10), GAPS, st.floats(0.1, 30))
def test_a_rate_is_never_exceeded_over_any_window(
    per_second: float, burst: int, gaps: list[float], window: float
) -> None:
    limit = RateLimit(per_second, burst)
    now, starts = 0.0, []
    for gap in gaps:
        now += gap
        starts.append(now + limit.reserve(now))
    allowed = burst + window * per_second
    for begin in starts:
        inside = sum(begin <= start < begin + window for start in starts)
        assert inside <= allowed + 1e-6 + 1  # the one at the window's very start


@given(st.floats(0.01, 50), GAPS)
def test_without_a_burst_places_are_a_full_gap_apart(per_second: float, gaps: list[float]) -> None:
    limit = RateLimit(per_second)
    now, starts = 0.0, []
    for gap in gaps:
        now += gap
        starts.append(now + limit.reserve(now))
    for one, next_one in pairwise(starts):
        assert next_one - one >= (1 / per_second) * (1 - 1e-9) - 1e-9


@given(st.floats(0.01, 50), st.integers(1, 10))
def test_after_a_pause_a_burst_passes_at_once_and_no_more(per_second: float, burst: int) -> None:
    limit = RateLimit(per_second, burst)
    for now in (0.0, 10_000.0):
        waits = [limit.reserve(now) for _ in range(burst + 1)]
        assert waits[:-1] == pytest.approx([0.0] * burst, abs=1e-6)
        assert waits[-1] > 0.5 / per_second


def test_a_long_pause_saves_up_no_more_than_the_burst() -> None:
    limit = RateLimit(per_second=1)
    assert limit.reserve(0.0) == 0.0
    assert [limit.reserve(1e6) for _ in range(3)] == [0.0, 1.0, 2.0]


def test_a_steady_caller_at_the_rate_never_waits() -> None:
    limit = RateLimit(per_second=4)
    assert all(limit.reserve(float(Fraction(n, 4))) == 0.0 for n in range(1000))


STEPS = st.lists(
    st.tuples(
        st.floats(0, 30), st.sampled_from(["refused", "taken"]), st.none() | st.floats(0, 1e9)
    ),
    max_size=200,
)


@given(st.integers(1, 300), STEPS)
def test_an_adaptive_limit_stays_between_one_and_its_ceiling_and_cuts_once_in_ten_seconds(
    ceiling: int, steps: list[tuple[float, str, float | None]]
) -> None:
    limit, now, cuts = AdaptiveLimit(ceiling), 0.0, []
    assert limit.limit == ceiling
    for gap, what, retry_after in steps:
        now += gap
        before = limit.limit
        if what == "refused":
            limit.refused(now, retry_after)
            assert limit.limit in (before, max(1, int(before * CUT)))
        else:
            limit.taken()
            assert limit.limit in (before, before + 1)
        if limit.limit < before:
            cuts.append(now)
        assert 1 <= limit.limit <= ceiling
    assert all(later - earlier >= MIN_SECONDS_BETWEEN_CUTS for earlier, later in pairwise(cuts))


def test_a_refusal_cuts_to_seven_tenths_and_a_storm_of_them_cuts_once() -> None:
    limit = AdaptiveLimit(ceiling=20)
    for now in (0.0, 0.1, 5.0, 9.9):
        limit.refused(now, None)
    assert limit.limit == 14
    limit.refused(10.0, None)
    assert limit.limit == 9


def test_a_server_s_wish_puts_off_the_next_cut_but_not_for_ever() -> None:
    limit = AdaptiveLimit(ceiling=100)
    limit.refused(0.0, 60.0)
    limit.refused(59.0, None)
    assert limit.limit == 70
    limit.refused(60.0, 1e9)
    assert limit.limit == 49
    limit.refused(60.0 + MAX_SECONDS_BETWEEN_CUTS, None)
    assert limit.limit == 34


def test_a_window_of_successes_makes_room_for_one_more() -> None:
    limit = AdaptiveLimit(ceiling=10, limit=4)
    for _ in range(3):
        limit.taken()
    assert limit.limit == 4
    limit.taken()
    assert limit.limit == 5
    for _ in range(100):
        limit.taken()
    assert limit.limit == 10


def test_a_refusal_begins_the_window_again() -> None:
    limit = AdaptiveLimit(ceiling=10, limit=2)
    limit.taken()
    limit.refused(0.0, None)
    assert limit.limit == 1
    limit.taken()
    assert limit.limit == 2


def test_a_limit_of_one_is_never_cut_away() -> None:
    limit = AdaptiveLimit(ceiling=1)
    for now in range(0, 1000, 10):
        limit.refused(float(now), None)
    assert limit.limit == 1


def test_a_pause_says_how_long_it_lasts_and_whether_it_is_new() -> None:
    pause = Pause()
    assert pause.wait(0.0) == 0.0
    assert pause.close(0.0, 30.0)
    assert pause.wait(10.0) == 20.0
    assert not pause.close(10.0, 5.0)
    assert pause.wait(10.0) == 20.0
    assert not pause.close(10.0, 40.0)
    assert pause.wait(10.0) == 40.0
    assert pause.wait(50.0) == 0.0
    assert pause.closings == 1


def test_a_pause_counts_its_closings_until_a_request_goes_well() -> None:
    pause = Pause()
    for now in (0.0, 10.0, 20.0):
        pause.close(now, 5.0)
    assert pause.closings == 3
    pause.well()
    assert pause.closings == 0


@given(st.lists(st.tuples(st.floats(0, 50), st.floats(0, 100)), max_size=50))
def test_a_pause_never_opens_before_the_longest_wish_of_those_who_closed_it(
    closings: list[tuple[float, float]],
) -> None:
    pause, now, latest = Pause(), 0.0, 0.0
    for gap, seconds in closings:
        now += gap
        pause.close(now, seconds)
        latest = max(latest, now + seconds)
        assert pause.wait(now) == max(0.0, latest - now)
