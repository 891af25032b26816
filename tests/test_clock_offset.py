"""Another machine's clock is estimated from its answers, and no single odd answer changes it."""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchgen.clock_offset import ENOUGH, SAMPLES, ClockOffset, objection

NOON = 1_800_000_000.0
OFFSETS = st.floats(-86_400.0, 86_400.0)


def date(seconds: float) -> str:
    """Write a time as a server does, in whole seconds."""
    return format_datetime(datetime.fromtimestamp(int(seconds), UTC), usegmt=True)


def answer(ahead: float, at: float, *, cached: float = 0.0, age: bool = True) -> Mapping[str, str]:
    """Return the head of an answer whose server's clock is ahead, perhaps out of a cache."""
    head = {"date": date(at + ahead - cached)}
    return {**head, "age": str(int(cached))} if cached and age else head


def after(ahead: float, answers: int) -> ClockOffset:
    clock = ClockOffset()
    for number in range(answers):
        clock.observe(answer(ahead, at := NOON + 0.37 * number), at)
    return clock


@given(OFFSETS, st.integers(ENOUGH, 40))
def test_the_offset_is_known_to_half_a_second_after_a_few_answers(ahead: float, many: int) -> None:
    found = after(ahead, many).seconds
    assert found is not None
    assert abs(found - ahead) <= 0.51


@pytest.mark.parametrize("answers", range(ENOUGH))
def test_a_few_answers_give_no_offset_but_bounds_that_hold_our_own_time_too(answers: int) -> None:
    clock = after(1_200.0, answers)
    assert clock.seconds is None
    low, high = clock.bounds
    assert low == 0.0
    assert high == (pytest.approx(1_200.0, abs=1.0) if answers else 0.0)


@given(
    ahead=OFFSETS,
    odd=st.one_of(OFFSETS, st.just(-NOON), st.just(9e9)),
    place=st.integers(0, SAMPLES - 1),
    answers=st.integers(ENOUGH + 1, SAMPLES),
)
def test_one_odd_answer_changes_neither_the_offset_nor_its_bounds(
    ahead: float, odd: float, place: int, answers: int
) -> None:
    clock = ClockOffset()
    for number in range(answers):
        said = odd if number == place % answers else ahead
        clock.observe(answer(said, at := NOON + number), at)
    assert clock.seconds is not None
    for value in (clock.seconds, *clock.bounds):
        assert abs(value - ahead) <= 0.51


@given(OFFSETS, st.lists(st.integers(0, 86_400), min_size=ENOUGH, max_size=30))
def test_an_answer_out_of_a_cache_counts_by_its_age(ahead: float, ages: list[int]) -> None:
    clock = ClockOffset()
    for number, seconds in enumerate(ages):
        clock.observe(answer(ahead, at := NOON + number, cached=seconds), at)
    assert clock.seconds is not None
    assert abs(clock.seconds - ahead) <= 1.01


@given(before=OFFSETS, now=OFFSETS, old=st.integers(ENOUGH, 30), new=st.integers(2, 30))
def test_a_clock_that_was_set_is_within_the_bounds_from_its_second_answer(
    before: float, now: float, old: int, new: int
) -> None:
    clock = ClockOffset()
    for number in range(old + new):
        clock.observe(answer(before if number < old else now, at := NOON + number), at)
    low, high = clock.bounds
    assert low - 0.51 <= now <= high + 0.51
    if new > SAMPLES // 2:
        assert clock.seconds is not None
        assert abs(clock.seconds - now) <= 0.51


@pytest.mark.parametrize("head", [{}, {"date": ""}, {"date": "yesterday"}, {"date": "0 Jan 0 0"}])
def test_an_answer_without_a_usable_date_says_nothing(head: Mapping[str, str]) -> None:
    clock = after(60.0, ENOUGH)
    before = clock.seconds, clock.bounds
    clock.observe(head, NOON)
    assert (clock.seconds, clock.bounds) == before


@given(st.dictionaries(st.sampled_from(["date", "age"]), st.text(max_size=40)))
def test_no_header_makes_it_raise(head: dict[str, str]) -> None:
    ClockOffset().observe(head, NOON)


@pytest.mark.parametrize("offset", [None, 0.0, 59.0, -60.0])
def test_clocks_that_agree_to_a_minute_are_no_warning(offset: float | None) -> None:
    assert objection(offset) is None


@pytest.mark.parametrize(
    ("offset", "said"),
    [
        (1_200.0, "the provider's clock is 20 min 00 s ahead of this machine's"),
        (-7_320.0, "the provider's clock is 2 h 02 min behind this machine's"),
    ],
)
def test_clocks_that_differ_are_said_to_with_the_amount_and_the_side(
    offset: float, said: str
) -> None:
    assert (objection(offset) or "").startswith(said)
