"""When a generation is asked about next."""

import math
import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchgen.durations import LifeTable, Rates
from batchgen.job import PollSettings
from batchgen.polling import JITTER, LATEST_FIRST, POLL_COST, SHORTEST_WAIT, next_wait, worth_asking
from benchmarks.polling import DURATIONS, Night, nights

SECONDS = st.floats(0.5, 1000)
SETTINGS = st.builds(PollSettings, st.none() | SECONDS, st.none() | SECONDS, SECONDS)
SEEDS = st.integers()
AGES = st.floats(0, 1e6)


def learned(*durations: float) -> Rates:
    """Return what is believed after generations that took so long."""
    table = LifeTable()
    for duration in durations:
        table.took(duration)
    return table.rates()


def lognormal(count: int, sigma: float = 0.25) -> Rates:
    rng = random.Random(11)
    return learned(*(85.0 * math.exp(rng.gauss(0.0, sigma)) for _ in range(count)))


RATES = st.lists(st.floats(0.5, 5000), max_size=30).map(lambda seen: learned(*seen))


def polls(rates: Rates, duration: float, settings: PollSettings | None = None) -> list[float]:
    """Return the ages at which a generation of this duration is asked about."""
    rng = random.Random(1)
    times = [0.0]
    while times[-1] < duration:
        times.append(times[-1] + next_wait(settings or PollSettings(), rates, times[-1], rng))
    return times[1:]


@given(SETTINGS, RATES, AGES, SEEDS)
def test_a_wait_is_above_zero_and_later_ones_than_the_first_at_most_max_with_its_jitter(
    settings: PollSettings, rates: Rates, waited: float, seed: int
) -> None:
    wait = next_wait(settings, rates, waited, random.Random(seed))
    most = settings.max if waited > 0 else settings.first or LATEST_FIRST
    assert 0 < wait <= most * (1 + JITTER)


@given(SECONDS, SECONDS, RATES, SEEDS)
def test_first_and_every_outweigh_what_was_learned(
    first: float, every: float, rates: Rates, seed: int
) -> None:
    settings = PollSettings(first, every, max=2000)
    rng = random.Random(seed)
    assert abs(next_wait(settings, rates, 0.0, rng) - first) <= first * JITTER * 1.0001
    assert abs(next_wait(settings, rates, 5.0, rng) - every) <= every * JITTER * 1.0001


@given(SETTINGS, RATES, AGES, SEEDS)
def test_the_same_chance_gives_the_same_wait(
    settings: PollSettings, rates: Rates, waited: float, seed: int
) -> None:
    one, other = (next_wait(settings, rates, waited, random.Random(seed)) for _ in range(2))
    assert one == other


@given(RATES, st.floats(0, 7000), st.floats(0, 7000))
def test_who_was_asked_later_is_asked_again_later(rates: Rates, one: float, other: float) -> None:
    early, late = sorted((one, other))
    assert worth_asking(rates, early, POLL_COST) <= worth_asking(rates, late, POLL_COST) + 1e-6


@given(RATES, AGES, st.floats(0.01, 5), st.floats(0.01, 5))
def test_the_more_a_poll_costs_the_later_it_is_worth_it(
    rates: Rates, waited: float, one: float, other: float
) -> None:
    cheap, dear = sorted((one, other))
    assert waited <= worth_asking(rates, waited, cheap) <= worth_asking(rates, waited, dear)


def test_before_anything_is_known_polls_begin_at_once_and_grow_apart() -> None:
    times = polls(learned(), 600.0)
    assert 0.3 < times[0] < 2.0
    assert len([time for time in times if time <= 100.0]) <= 15
    assert all(later - earlier < 32.0 for earlier, later in pairwise(times))


def test_once_durations_are_known_the_first_poll_comes_near_the_earliest_of_them() -> None:
    first = polls(lognormal(100), 300.0)[0]
    quantile_2, quantile_20 = 51.0, 69.0
    assert quantile_2 < first < quantile_20


def test_between_two_humps_nobody_asks_much() -> None:
    times = polls(learned(*[85.0, 300.0] * 50), 320.0, PollSettings(max=1000.0))
    assert len([time for time in times if 110.0 < time < 250.0]) <= 2


def test_past_all_that_was_ever_seen_polls_grow_apart_up_to_max() -> None:
    times = polls(lognormal(100), 1500.0)
    waits = [later - earlier for earlier, later in pairwise(times)]
    assert max(waits[:5]) < 10.0
    assert all(25.0 < wait < 30.0 * (1 + JITTER) for wait in waits[-5:])


def test_generations_of_a_moment_are_not_asked_about_all_the_time() -> None:
    times = polls(learned(*[2.0] * 100), 3.0)
    waits = [later - earlier for earlier, later in pairwise(times)]
    assert min(waits) >= SHORTEST_WAIT * (1 - JITTER) * 0.999


def test_generations_that_began_together_are_not_asked_about_together() -> None:
    rng, rates = random.Random(3), lognormal(50)
    assert len({next_wait(PollSettings(), rates, 60.0, rng) for _ in range(100)}) == 100


# What a thousand generations in twenty slots come to, counted and not timed. The goals are
# explained in benchmarks/polling.py, which shows them beside those of other schedules.

AS_IN_THE_GOALS, WIDE, BIMODAL, DOUBLED, HALVED = DURATIONS


def learned_in(kind: str, schedule: str = "auto") -> Night:
    return nights(schedule, kind, tasks=1000, seeds=(2,))


def test_a_night_of_learning_takes_nine_polls_and_sees_videos_after_two_and_a_half_seconds() -> (
    None
):
    night = learned_in(AS_IN_THE_GOALS)
    assert night.polls <= 9
    assert night.lag <= 2.5
    assert night.share >= 0.975


def test_who_wants_few_polls_gets_by_with_six_and_sees_videos_after_less_than_five_seconds() -> (
    None
):
    night = learned_in(AS_IN_THE_GOALS, "auto, few polls")
    assert night.polls <= 6.5
    assert night.lag <= 4.7


@pytest.mark.parametrize("kind", [WIDE, BIMODAL, DOUBLED, HALVED])
def test_whatever_durations_do_learning_beats_a_fixed_schedule(kind: str) -> None:
    night, fixed = learned_in(kind), nights("fixed 5 s", kind, seeds=(2,))
    assert night.polls <= 0.62 * fixed.polls
    assert night.lag <= 1.35 * fixed.lag
    assert night.share >= 0.96
