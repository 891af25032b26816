"""The small languages inside values: durations, rates, ranges, times of day."""

import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchgen.jobfile import values


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("0.2s", 0.2),
        ("500ms", 0.5),
        ("30", 30.0),
        (30, 30.0),
        (2.5, 2.5),
        ("30s", 30.0),
        ("1m30s", 90.0),
        ("1h1m1s", 3661.0),
        ("12h", 43_200.0),
        (" 5s ", 5.0),
        (0, 0.0),
        ("0.1s0.2s", 0.3),
    ],
)
def test_a_duration_is_units_that_add_up_or_plain_seconds(written: object, seconds: float) -> None:
    assert values.duration(written) == seconds


@pytest.mark.parametrize(
    "written",
    [
        "",
        "s",
        "5 s",
        "30 min",
        "-5s",
        -1,
        "1d",
        "1,5s",
        "1e3s",
        True,
        None,
        [],
        float("inf"),
        float("nan"),
        10**12,
        "9" * 400,
        "9" * 400 + "h",
        "٣s",
        "s1",
    ],
)
def test_what_is_no_duration_is_refused_with_an_example(written: object) -> None:
    with pytest.raises(ValueError, match=r"a duration such as 30s, 1m30s or 2h"):
        values.duration(written)


@given(st.integers(0, 200), st.integers(0, 59), st.integers(0, 59), st.integers(0, 999))
def test_durations_round_trip(hours: int, minutes: int, seconds: int, thousandths: int) -> None:
    written = f"{hours}h{minutes}m{seconds}s{thousandths}ms"
    whole = hours * 3600 + minutes * 60 + seconds
    assert values.duration(written) == float(Decimal(whole) + Decimal(thousandths) / 1000)


@given(st.floats(0, 999_999_999, allow_nan=False))
def test_a_number_of_seconds_means_itself(seconds: float) -> None:
    assert values.duration(seconds) == seconds


@given(st.text())
def test_any_text_is_a_bounded_duration_or_a_value_error(text: str) -> None:
    try:
        seconds = values.duration(text)
    except ValueError:
        return
    assert 0 <= seconds < values.MAX_SECONDS


@pytest.mark.parametrize(
    ("written", "both"),
    [("1s-60s", (1.0, 60.0)), ("500ms - 2m", (0.5, 120.0)), ("1-1", (1.0, 1.0))],
)
def test_a_range_of_durations_is_two_with_a_dash(written: str, both: tuple[float, float]) -> None:
    assert values.duration_range(written) == both


@pytest.mark.parametrize(
    "written", ["60s", "60s-1s", "1s-2s-3s", "1s--2s", 5, None, "-", "1s to 2s"]
)
def test_what_is_no_range_of_durations_is_refused(written: object) -> None:
    with pytest.raises(ValueError, match="duration"):
        values.duration_range(written)


@pytest.mark.parametrize(
    ("written", "per_second"),
    [
        ("60/min", 1.0),
        ("5/s", 5.0),
        ("0.5/s", 0.5),
        ("3600/hour", 1.0),
        ("30 / m", 0.5),
        ("10/second", 10.0),
    ],
)
def test_a_rate_is_a_number_per_unit(written: str, per_second: float) -> None:
    assert values.rate(written) == per_second


@pytest.mark.parametrize(
    "written", ["60", 60, "0/s", "-1/s", "5/day", "5 per s", "", None, "9" * 400 + "/s", "1e9/s"]
)
def test_what_is_no_rate_is_refused_with_an_example(written: object) -> None:
    with pytest.raises(ValueError, match=r"a rate such as 60/min or 5/s"):
        values.rate(written)


@given(st.text())
def test_any_text_is_a_finite_rate_above_zero_or_a_value_error(text: str) -> None:
    try:
        per_second = values.rate(text)
    except ValueError:
        return
    assert 0 < per_second < math.inf


@pytest.mark.parametrize(
    ("written", "time"),
    [("07:30", (7, 30)), ("7:30", (7, 30)), ("23:59", (23, 59)), ("0:00", (0, 0))],
)
def test_a_time_of_day_is_hours_and_minutes(written: str, time: tuple[int, int]) -> None:
    assert values.time_of_day(written) == time


@pytest.mark.parametrize("written", ["24:00", "7:5", "7:60", "07:30:00", "7am", 730, None, True])
def test_what_is_no_time_of_day_is_refused(written: object) -> None:
    with pytest.raises(ValueError, match=r'a time of day such as "07:30"'):
        values.time_of_day(written)


@pytest.mark.parametrize(("written", "count"), [("10 in a row", 10), ("3", 3), (1, 1)])
def test_failures_in_a_row_are_a_count(written: object, count: int) -> None:
    assert values.failures_in_a_row(written) == count


@pytest.mark.parametrize("written", [0, "0 in a row", -1, "ten", "10 in row", True, None, 1.5])
def test_what_is_no_count_of_failures_is_refused(written: object) -> None:
    with pytest.raises(ValueError, match="a count such as 10 in a row"):
        values.failures_in_a_row(written)


@pytest.mark.parametrize(
    ("written", "numbers"),
    [
        ("1-4", (1, 2, 3, 4)),
        ("3-9 (+2)", (3, 5, 7, 9)),
        ("3-9(+2)", (3, 5, 7, 9)),
        ("3-10 ( + 2 )", (3, 5, 7, 9)),
        ("3-9 [4]", (3, 5, 7, 9)),
        ("0-1 (+0.1)", (0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1)),
        ("0.5-2", (0.5, 1.5)),
        ("1 - 4", (1, 2, 3, 4)),
        ("-3--1", (-3, -2, -1)),
        ("-1-1", (-1, 0, 1)),
        ("5-5", (5,)),
        ("5-5 [1]", (5,)),
        ("0-1 [3]", (0, 0.5, 1)),
        ("1.0-3.0", (1, 2, 3)),
        ("0-0.000000000000002 (+0.000000000000001)", (0, 1e-15, 2e-15)),
        ("100000000000000000000-100000000000000000001", (10**20, 10**20 + 1)),
    ],
)
def test_ranges_are_exact_and_inclusive(written: str, numbers: tuple[float, ...]) -> None:
    expanded = values.number_range(written)
    assert expanded == numbers
    assert [type(number) for number in expanded] == [type(number) for number in numbers]


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("4-1", "runs backwards; write 1-4"),
        ("1--4", "runs backwards; write -4-1"),
        ("1-4 (+0)", "has a step of 0"),
        ("1-4 [1]", "needs at least 2 values"),
        ("1-4 [0]", "needs at least 2 values"),
        ("5-5 [3]", "holds 1 value, not 3"),
        ("1-1.0000000000000002 (+0.0000000000000001)", "is too fine: some of its values would be"),
        ("0.1-0.1000000000001 [5]", "is too fine: some of its values would be"),
        ("1-99999999", "more than 1,000,000 values"),
        ("0-1 [999999999]", "more than 1,000,000 values"),
        ("0-1 (+0.000000000000000000000000000001)", "more than 1,000,000 values"),
    ],
)
def test_a_range_that_makes_no_sense_says_why(written: str, said: str) -> None:
    with pytest.raises(ValueError, match=said.replace("(", r"\(").replace("[", r"\[")):
        values.number_range(written)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "4",
        "1..4",
        "1 to 4",
        "2024-01-02",
        "1-4 (2)",
        "1-4 [2] x",
        "a-b",
        "1e3-2e3",
        "\N{ARABIC-INDIC DIGIT ONE}-\N{ARABIC-INDIC DIGIT FOUR}",
    ],
)
def test_text_of_another_form_is_no_range(text: str) -> None:
    assert values.number_range(text) is None


@given(st.decimals(-1000, 1000, places=3), st.decimals("0.001", 50, places=3), st.integers(1, 200))
def test_a_stepped_range_holds_every_step_as_the_decimal_a_person_writes(
    first: Decimal, step: Decimal, count: int
) -> None:
    wanted = [first + step * place for place in range(count)]
    expanded = values.number_range(f"{first}-{wanted[-1]} (+{step})")
    assert expanded is not None
    assert list(expanded) == [float(number) for number in wanted]


@given(st.integers(-(10**6), 10**6), st.integers(1, 10**6), st.integers(2, 300))
def test_a_counted_range_has_so_many_values_between_its_ends(
    first: int, width: int, count: int
) -> None:
    expanded = values.number_range(f"{first}-{first + width} [{count}]")
    assert expanded is not None
    assert len(expanded) == len(set(expanded)) == count
    assert (expanded[0], expanded[-1]) == (first, first + width)
    assert list(expanded) == sorted(expanded)


@given(st.text(alphabet="0123456789-+.()[] e", max_size=40))
def test_any_text_is_a_range_or_none_or_a_value_error(text: str) -> None:
    try:
        expanded = values.number_range(text)
    except ValueError:
        return
    assert expanded is None or 1 <= len(expanded) <= values.MAX_RANGE
