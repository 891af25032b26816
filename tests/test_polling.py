"""When a generation is asked about next."""

import random

from hypothesis import assume, given
from hypothesis import strategies as st

from batchgen.job import PollSettings
from batchgen.polling import FIRST_SECONDS, JITTER, next_wait

SECONDS = st.floats(0.1, 1000)
SETTINGS = st.builds(PollSettings, st.none() | SECONDS, st.none() | SECONDS, SECONDS)
SEEDS = st.integers()


def polls(settings: PollSettings, duration: float, seed: int = 1) -> list[float]:
    """Return the times at which a generation of this duration is asked about."""
    rng = random.Random(seed)
    times = [next_wait(settings, 0.0, rng)]
    while times[-1] < duration:
        times.append(times[-1] + next_wait(settings, times[-1], rng))
    return times


@given(SETTINGS, st.floats(0, 1e6), SEEDS)
def test_a_wait_is_above_zero_and_at_most_max_with_its_jitter(
    settings: PollSettings, waited: float, seed: int
) -> None:
    wait = next_wait(settings, waited, random.Random(seed))
    assert 0 < wait <= settings.max * (1 + JITTER)


@given(SECONDS, SECONDS, SEEDS)
def test_first_and_every_are_kept_to_within_the_jitter(
    first: float, every: float, seed: int
) -> None:
    settings = PollSettings(first, every, max=2000)
    rng = random.Random(seed)
    assert abs(next_wait(settings, 0.0, rng) - first) <= first * JITTER * 1.0001
    assert abs(next_wait(settings, 5.0, rng) - every) <= every * JITTER * 1.0001


@given(st.floats(0.001, 1e5), st.floats(0.001, 1e5), SEEDS)
def test_waits_grow_with_the_time_waited(earlier: float, later: float, seed: int) -> None:
    assume(earlier <= later)
    settings = PollSettings()
    assert next_wait(settings, earlier, random.Random(seed)) <= next_wait(
        settings, later, random.Random(seed)
    )


@given(st.floats(1, 3600), SEEDS)
def test_a_generation_is_seen_soon_after_it_is_done(duration: float, seed: int) -> None:
    lag = polls(PollSettings(), duration, seed)[-1] - duration
    assert lag <= max(FIRST_SECONDS, min(30.0, 0.2 * duration)) * 1.1 + 0.001


@given(st.floats(1, 7200), SEEDS)
def test_polls_stay_few(duration: float, seed: int) -> None:
    # Five in the first five seconds, then growing by a fifth, then one in 27 s at least.
    assert len(polls(PollSettings(), duration, seed)) <= 24 + duration / 27


def test_the_schedule_without_jitter_is_what_the_page_says() -> None:
    class Middle(random.Random):
        def uniform(self, a: float, b: float) -> float:
            return (a + b) / 2

    rng = Middle()
    waits = [next_wait(PollSettings(), waited, rng) for waited in (0, 1, 5, 10, 50, 150, 1000)]
    assert waits == [1, 1, 1, 2, 10, 30, 30]


def test_generations_that_began_together_are_not_asked_about_together() -> None:
    rng = random.Random(3)
    assert len({next_wait(PollSettings(), 60.0, rng) for _ in range(100)}) == 100
