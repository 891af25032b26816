"""How many at once and how often: state machines that are told the time."""

import random
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchgen.limits import (
    CONTROL_SECONDS,
    CUT,
    LEAST_RATE,
    MAX_CONTROL_SECONDS,
    MAX_SECONDS_BETWEEN_CUTS,
    MIN_SECONDS_BETWEEN_CUTS,
    PROBE_SECONDS,
    RECOVERY_SECONDS,
    SECONDS_BETWEEN_SLOWINGS,
    WINDOW_SECONDS,
    AdaptiveLimit,
    AdaptiveRate,
    Breaker,
    Control,
    MinimumSpeed,
    Pause,
    RateLimit,
    RetryBudget,
)
from benchmarks.polling import refusals

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


@given(st.lists(st.tuples(st.floats(0, 5), st.sampled_from(["refused", "answered"])), max_size=200))
def test_a_rate_without_refusals_is_without_limit_and_one_with_them_never_ends(
    steps: list[tuple[float, str]],
) -> None:
    rate, now, cuts, refused = AdaptiveRate(), 0.0, [], False
    for gap, outcome in steps:
        now += gap
        before, wait = rate.per_second, rate.reserve(now)
        assert 0.0 <= wait <= 1 / LEAST_RATE + 0.001
        now += wait
        if outcome == "answered":
            rate.answered()
            assert rate.per_second >= before
            continue
        refused = True
        rate.refused(now)
        if rate.per_second < before:
            cuts.append(now)
    assert rate.per_second >= LEAST_RATE
    assert refused or rate.per_second == float("inf")
    assert all(later - earlier >= SECONDS_BETWEEN_SLOWINGS for earlier, later in pairwise(cuts))


def asked(rate: AdaptiveRate, begin: float, seconds: float, per_second: float) -> int:
    """Ask as often as is wanted and allowed, all answered; return how often that was."""
    now, count = begin, 0
    while now < begin + seconds:
        now += rate.reserve(now)
        rate.answered()
        now, count = now + 1 / per_second, count + 1
    return count


def refused_often(rate: AdaptiveRate, now: float) -> None:
    """Refuse as often as it takes to tell a rate from chance."""
    for _ in range(3):
        rate.refused(now)


def test_three_refusals_cut_to_seven_tenths_of_what_was_asked_lately_and_two_are_chance() -> None:
    rate = AdaptiveRate()
    asked(rate, 0.0, 10.0, per_second=20.0)
    rate.refused(10.0)
    rate.refused(10.0)
    assert rate.per_second == float("inf")
    rate.refused(10.0)
    assert rate.per_second == pytest.approx(CUT * 20.0, rel=0.05)


def test_a_storm_of_refusals_cuts_a_rate_once() -> None:
    rate = AdaptiveRate()
    asked(rate, 0.0, 10.0, per_second=20.0)
    refused_often(rate, 10.0)
    after_one = rate.per_second
    for _ in range(50):
        rate.refused(10.5)
    assert rate.per_second == after_one
    rate.refused(10.0 + SECONDS_BETWEEN_SLOWINGS)
    assert rate.per_second < after_one


def test_a_while_of_answers_makes_up_for_a_cut_whatever_the_rate() -> None:
    for per_second in (2.0, 20.0, 200.0):
        rate = AdaptiveRate()
        asked(rate, 0.0, 10.0, per_second)
        refused_often(rate, 10.0)
        asked(rate, 10.0, RECOVERY_SECONDS, per_second=1000.0)
        assert rate.per_second == pytest.approx(per_second, rel=0.1)


def test_a_rate_at_its_least_grows_again_once_it_is_answered() -> None:
    rate, now = AdaptiveRate(), 0.0
    for _ in range(100):
        now += rate.reserve(now) + 1.0
        rate.refused(now)
    assert rate.per_second == LEAST_RATE
    asked(rate, now, 10 * RECOVERY_SECONDS, per_second=1000.0)
    assert rate.per_second > 10 * LEAST_RATE


def test_a_lone_request_that_is_refused_tells_of_no_rate() -> None:
    rate = AdaptiveRate()
    rate.reserve(0.0)
    refused_often(rate, 0.1)
    assert rate.per_second > 1.0


def test_refusals_that_come_whatever_the_rate_do_not_slow_down_a_night() -> None:
    rate, rng, now, count = AdaptiveRate(), random.Random(1), 0.0, 0
    while now < 3600.0:
        now += rate.reserve(now)
        if rng.random() < 0.03:
            rate.refused(now)
        else:
            rate.answered()
        now, count = now + 0.2, count + 1
    assert count > 0.7 * 3600 * 5


def test_a_server_s_limit_is_kept_to_after_a_few_refusals() -> None:
    alone, paced = (refusals(rate, random.Random(3)) for rate in (None, AdaptiveRate()))
    assert alone.share > 0.4
    assert paced.share < 0.02
    assert paced.lag < min(3.0, alone.lag)


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


def test_successes_while_the_window_is_not_used_teach_nothing() -> None:
    limit = AdaptiveLimit(ceiling=10, limit=2)
    for _ in range(100):
        limit.taken(used=False)
    assert limit.limit == 2


def test_a_breaker_opens_at_the_fifth_failure_to_connect_in_a_row() -> None:
    breaker = Breaker()
    assert [breaker.went_wrong(float(n), reached=False) for n in range(5)] == [*[False] * 4, True]
    assert breaker.wait(4.0) == PROBE_SECONDS


def test_a_good_answer_begins_the_row_again() -> None:
    breaker = Breaker()
    for n in range(4):
        breaker.went_wrong(float(n), reached=False)
    breaker.went_well(4.0)
    assert not any(breaker.went_wrong(5.0 + n, reached=False) for n in range(4))


def test_a_breaker_opens_when_half_of_ten_calls_failed_within_the_window() -> None:
    breaker = Breaker()
    for n in range(5):
        breaker.went_well(float(n))
    assert [breaker.went_wrong(5.0 + n, reached=True) for n in range(5)] == [*[False] * 4, True]


def test_failures_far_apart_open_nothing() -> None:
    breaker = Breaker()
    assert not any(breaker.went_wrong(n * WINDOW_SECONDS, reached=True) for n in range(200))


@given(st.lists(st.booleans(), min_size=1, max_size=200))
def test_while_fewer_than_half_fail_a_breaker_stays_closed(answers: list[bool]) -> None:
    breaker, failed = Breaker(), 0
    for count, well in enumerate(answers, start=1):
        if well or 2 * (failed + 1) >= count:
            breaker.went_well(0.0)
        else:
            failed += 1
            breaker.went_wrong(0.0, reached=True)
        assert not breaker.is_open


def test_where_requests_can_cost_money_five_failures_in_a_row_are_enough_however_slow() -> None:
    breaker = Breaker(costly=True)
    slow = 4 * WINDOW_SECONDS
    assert [breaker.went_wrong(n * slow, reached=True) for n in range(5)] == [*[False] * 4, True]


def _opened(*, costly: bool = False) -> Breaker:
    breaker = Breaker(costly=costly)
    for _ in range(5):
        breaker.went_wrong(0.0, reached=False)
    assert breaker.is_open
    return breaker


def test_an_open_breaker_lets_one_probe_go_every_thirty_seconds() -> None:
    breaker = _opened()
    went = [now for now in range(301) for _ in range(20) if breaker.wait(float(now)) == 0.0]
    assert went == list(range(30, 301, 30))


def test_a_probe_that_is_answered_closes_the_breaker_and_says_so_once() -> None:
    breaker = _opened()
    assert breaker.wait(30.0) == 0.0
    assert breaker.went_well(31.0)
    assert not breaker.went_well(31.0)
    assert breaker.wait(31.0) == 0.0


def test_probes_that_may_cost_money_come_ever_more_seldom() -> None:
    free, costly = _opened(), _opened(costly=True)
    went: dict[str, list[int]] = {"free": [], "costly": []}
    for now in range(8 * 3600):
        for name, breaker in (("free", free), ("costly", costly)):
            if breaker.wait(float(now)) == 0.0:
                went[name].append(now)
                breaker.went_wrong(float(now), reached=True)
    assert len(went["free"]) == 8 * 120 - 1
    assert len(went["costly"]) < 40
    assert max(b - a for a, b in pairwise(went["costly"])) == 900


def test_a_probe_that_never_left_is_free_even_where_submits_are_not() -> None:
    breaker = _opened(costly=True)
    for now in range(30, 3000, 30):
        assert breaker.wait(float(now)) == 0.0
        breaker.went_wrong(float(now), reached=False)


def test_a_breaker_that_is_tripped_is_probed_at_the_given_pace_until_it_is_answered() -> None:
    breaker = Breaker()
    assert breaker.trip(0.0, 180.0)
    assert not breaker.trip(0.0, 180.0)
    assert [now for now in range(600) if breaker.wait(float(now)) == 0.0] == [180, 360, 540]
    breaker.went_well(541.0)
    assert not breaker.is_open


def test_the_probes_of_a_breaker_come_more_seldom_each_time_they_are_refused() -> None:
    breaker = Breaker()
    breaker.trip(0.0, 15.0, longest=60.0)
    breaker.trip(1.0, 15.0, longest=60.0)  # what had left before says nothing new
    probes: list[float] = []
    now = 1.0
    while len(probes) < 4:
        now += breaker.wait(now)
        assert breaker.wait(now) == 0.0
        probes.append(now)
        now += 1.0
        breaker.trip(now, 15.0, longest=60.0)
    assert [round(later - earlier) for earlier, later in pairwise([0.0, *probes])] == [
        16,
        31,
        61,
        61,
    ]
    breaker.wait(now + 60.0)
    assert breaker.went_well(now + 60.0)
    breaker.trip(now + 61.0, 15.0, longest=60.0)
    assert breaker.wait(now + 61.0) == 15.0


def test_a_control_is_asked_often_while_it_is_answered_and_seldom_in_an_outage() -> None:
    control = Control()

    def asked(begin: int, *, well: bool) -> list[int]:
        times = []
        for now in range(begin, begin + 4000):
            if control.is_due(float(now)):
                control.answered(float(now), well=well)
                times.append(now - begin)
        return times

    assert len(asked(0, well=True)) == 4000 / CONTROL_SECONDS
    gaps = [later - earlier for earlier, later in pairwise(asked(4000, well=False))]
    assert gaps == sorted(gaps)
    assert gaps[-1] == MAX_CONTROL_SECONDS
    assert len(asked(8000, well=True)) > 150, "one answer is enough"


def test_a_request_that_left_before_a_breaker_was_tripped_does_not_close_it() -> None:
    breaker = Breaker()
    breaker.trip(0.0, 600.0)
    assert not breaker.went_well(5.0)
    assert breaker.wait(599.0) > 0
    assert breaker.wait(600.0) == 0.0
    assert breaker.went_well(601.0)


def test_a_short_wait_of_a_busy_host_is_no_pace_for_one_that_is_out() -> None:
    breaker = Breaker()
    breaker.trip(0.0, 1.0)
    went = []
    for now in range(1, 600):
        if breaker.wait(float(now)) == 0.0:
            went.append(now)
            breaker.went_wrong(float(now), reached=False)
    assert went == [1, 2, 3, 4, *range(5, 600, 30)], "the fifth failure in a row says it is out"


def test_one_failure_behind_a_busy_answer_is_no_outage() -> None:
    breaker = Breaker()
    breaker.trip(0.0, 2.0)
    assert breaker.wait(2.0) == 0.0
    breaker.went_wrong(2.0, reached=True)
    assert breaker.wait(4.0) == 0.0, "the busy host's own pace"
    assert breaker.went_well(4.1)


def test_without_requests_a_few_repeats_are_free_and_then_one_in_half_a_minute() -> None:
    budget = RetryBudget()
    went = [now for now in range(1000) for _ in range(30) if budget.wait(float(now)) == 0.0]
    assert went[:10] == [0] * 10
    assert all(29 <= later - earlier <= 31 for earlier, later in pairwise(went[10:]))


@given(st.lists(st.sampled_from(["request", "repeat"]), max_size=2000))
def test_at_any_moment_repeats_are_a_tenth_of_requests_and_the_few_that_were_saved(
    asked: list[str],
) -> None:
    budget, requests, repeats = RetryBudget(), 0, 0
    for what in asked:
        if what == "request":
            budget.request()
            requests += 1
        elif budget.wait(0.0) == 0.0:
            repeats += 1
        assert repeats <= 0.1 * requests + 10 + 0.01


def test_who_waits_as_long_as_it_was_told_may_repeat() -> None:
    budget = RetryBudget()
    for _ in range(10):
        budget.wait(0.0)
    assert budget.wait(budget.wait(0.0)) == 0.0


def test_a_speed_is_judged_over_whole_windows() -> None:
    speed = MinimumSpeed(per_second=100, window=10)
    assert all(speed.is_kept(float(now), 0) for now in range(10)), "a slow start is no stall"
    assert not speed.is_kept(10.0, 999)
    speed = MinimumSpeed(per_second=100, window=10)
    assert all(speed.is_kept(float(now), 100) for now in range(1000))


@given(st.floats(1, 1e6), st.lists(st.floats(0, 5), min_size=1, max_size=100))
def test_a_transfer_at_the_minimum_or_above_is_never_broken_off(
    per_second: float, gaps: list[float]
) -> None:
    speed, now = MinimumSpeed(per_second, window=10), 0.0
    assert speed.is_kept(now, 0)
    for gap in gaps:
        now += gap
        assert speed.is_kept(now, int(gap * per_second) + 2)
