"""When `stop_at` comes, in any zone, also in the nights when clocks change."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchgen.deadline import in_words, next_deadline

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = ["UTC", "Europe/Berlin", "America/St_Johns", "Asia/Kathmandu", "Australia/Lord_Howe"]
NIGHT = [
    ("2027-06-01T23:00", "2027-06-02T07:30"),
    ("2027-06-02T07:29", "2027-06-02T07:30"),
    ("2027-06-02T07:30", "2027-06-03T07:30"),
    ("2027-06-02T09:00", "2027-06-03T07:30"),
    ("2027-12-31T23:00", "2028-01-01T07:30"),
    ("2027-03-27T23:00", "2027-03-28T07:30"),
    ("2027-10-30T23:00", "2027-10-31T07:30"),
]


def seconds(local: str) -> float:
    return datetime.fromisoformat(local).replace(tzinfo=BERLIN).timestamp()


@pytest.mark.parametrize(("began", "end"), NIGHT)
def test_it_is_the_next_time_that_the_clock_on_the_wall_shows_it(began: str, end: str) -> None:
    assert next_deadline((7, 30), seconds(began), BERLIN) == seconds(end)


def test_an_hour_that_is_left_out_comes_an_hour_later() -> None:
    end = next_deadline((2, 30), seconds("2027-03-28T01:00"), BERLIN)
    assert in_words(end, BERLIN) == "Sun 2027-03-28 03:30 CEST (UTC+02:00)"


def test_of_an_hour_that_comes_twice_it_is_the_one_that_is_next() -> None:
    first = seconds("2027-10-31T02:30")
    assert next_deadline((2, 30), first - 60, BERLIN) == first
    assert next_deadline((2, 45), first + 3600, BERLIN) == first + 3600 + 900


@given(
    st.integers(0, 2**32),
    st.tuples(st.integers(0, 23), st.integers(0, 59)),
    st.sampled_from(ZONES).map(ZoneInfo),
)
def test_it_is_ahead_by_a_day_at_most_and_the_clock_shows_it(
    now: int, stop_at: tuple[int, int], zone: ZoneInfo
) -> None:
    end = next_deadline(stop_at, float(now), zone)
    assert 0 < end - now <= 26 * 3600
    shown = datetime.fromtimestamp(end, zone)
    wanted = shown.replace(hour=stop_at[0], minute=stop_at[1])
    # By as much as the clock was put on, where the hour does not exist.
    assert shown - wanted in (timedelta(0), timedelta(minutes=30), timedelta(hours=1))


@pytest.mark.parametrize(
    ("zone", "said"),
    [
        ("UTC", "Tue 2027-06-01 21:00 UTC"),
        ("Europe/Berlin", "Tue 2027-06-01 23:00 CEST (UTC+02:00)"),
        ("America/Sao_Paulo", "Tue 2027-06-01 18:00 UTC-03:00"),
        ("Asia/Kathmandu", "Wed 2027-06-02 02:45 UTC+05:45"),
    ],
)
def test_it_is_said_with_date_and_zone(zone: str, said: str) -> None:
    at = datetime(2027, 6, 1, 21, tzinfo=UTC).timestamp()
    assert in_words(at, ZoneInfo(zone)) == said
