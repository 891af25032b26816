"""Headers are read as RFC 9110 says; garbage in one is no header, and raises nothing."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from batchgen.headers import content_range, http_date, retry_after, strong_etag, with_date

NOW = datetime(2026, 8, 1, 12, 0, 0, tzinfo=UTC)
NOON = "Sat, 01 Aug 2026 12:00:00 GMT"


def waits(text: str | None, date: str | None = NOON, **more: str) -> float | None:
    """Read a Retry-After out of an answer made at noon."""
    given = {"retry-after": text, "date": date, **more}
    return retry_after({name: value for name, value in given.items() if value is not None})


@given(st.integers(0, 10**12 - 1))
def test_retry_after_in_seconds_is_taken_as_it_stands(seconds: int) -> None:
    assert waits(f" {seconds} ", None) == float(seconds)
    # Python strips this one from texts, but not before it reads a number.
    assert waits(f"\x1e{seconds}") == float(seconds)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Sat, 01 Aug 2026 12:00:30 GMT", 30.0),
        ("Saturday, 01-Aug-26 12:01:00 GMT", 60.0),
        ("Sat Aug  1 12:00:05 2026", 5.0),
        ("Sat, 01 Aug 2026 11:00:00 GMT", 0.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("Sat, 01 Aug 2026 14:00:10 +0200", 10.0),
        ("Sat, 01 Aug 2026 12:00:10 -0000", 10.0),
    ],
)
def test_retry_after_as_a_date_is_seconds_from_the_answer_s_own_date_and_never_negative(
    text: str, seconds: float
) -> None:
    assert waits(text) == seconds


@given(st.integers(0, 10**7))
def test_a_date_in_the_future_is_that_far_away(seconds: int) -> None:
    text = (NOW + timedelta(seconds=seconds)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    assert waits(text) == seconds


def test_a_date_out_of_a_cache_is_as_much_nearer_as_the_answer_is_old() -> None:
    assert waits("Sat, 01 Aug 2026 12:00:30 GMT", age="10") == 20.0
    assert waits("Sat, 01 Aug 2026 12:00:30 GMT", age="a while") == 30.0
    assert waits("30", age="10") == 30.0


def test_a_date_in_an_answer_without_its_own_is_held_against_the_time_it_came() -> None:
    head = {"Retry-After": "Sat, 01 Aug 2026 12:00:30 GMT"}
    assert retry_after({"retry-after": head["Retry-After"]}) is None
    assert retry_after(with_date(head, NOW.timestamp())) == 30.0


@given(st.dictionaries(st.text(max_size=10), st.text(max_size=30)), st.integers(0, 4 * 10**9))
def test_an_answer_has_a_date_in_the_end_and_keeps_its_own(
    head: dict[str, str], received: int
) -> None:
    assert http_date(with_date(head, received).get("date")) == received
    dated = {**head, "date": NOON}
    assert with_date(dated, received) is dated


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        " ",
        "-1",
        "-10",
        "+5",
        "1.5",
        "1e3",
        "soon",
        "\u0663",
        "NaN",
        "9" * 400,
        "5 5",
        "0x10",
        "Sat, 99 Foo 2026 12:00:00 GMT",
        "Sat, 01 Aug 99999999999 12:00:00 GMT",
        "Sat, 01 Aug 2026 12:00:00 +9999999999",
        "\x00",
        "Mon,",
    ],
)
def test_garbage_in_retry_after_is_no_retry_after(text: str | None) -> None:
    assert waits(text) is None


_DATE_LIKE = st.text("SatMonAug0123456789:,+- GMT.T", max_size=60)


@given(st.one_of(st.text(max_size=80), _DATE_LIKE))
@example("0 Jan 0 0 0")
@example("Sat, 01 Aug 2026 12:00:00 +")
@example("31 Dec 9999 23:59:59 -2359")
def test_any_retry_after_gives_seconds_or_nothing(text: str) -> None:
    seconds = waits(text)
    assert seconds is None or 0 <= seconds < 10**12


@given(st.integers(0, 10**12), st.integers(0, 10**12), st.integers(1, 10**12))
def test_a_content_range_gives_its_first_byte_and_the_total(
    first: int, length: int, rest: int
) -> None:
    last = first + length
    assert content_range(f"bytes {first}-{last}/{last + rest}") == (first, last + rest)
    assert content_range(f" bytes {first}-{last}/* ") == (first, None)


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "bytes */100",
        "bytes 5-2/10",
        "bytes 0-9/9",
        "bytes 0-9/5",
        "items 0-1/2",
        "bytes=0-1/2",
        "bytes 0-1",
        "bytes -1-2/3",
        "bytes 0-1/2/3",
        "bytes \u0660-\u0661/\u0662",
        "0-1/2",
    ],
)
def test_a_content_range_that_cannot_be_is_none(text: str | None) -> None:
    assert content_range(text) is None


@given(st.text(max_size=60))
def test_any_content_range_is_read_without_raising(text: str) -> None:
    found = content_range(text)
    assert found is None or found[0] >= 0


@pytest.mark.parametrize("text", ['"abc"', '""', '"a-b:c/d"', '"' + "x" * 298 + '"'])
def test_a_strong_etag_is_kept(text: str) -> None:
    assert strong_etag(text) == text


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        'W/"abc"',
        'w/"abc"',
        "abc",
        '"abc',
        '"',
        '"a"b"',
        '"a b"',
        '"ä"',
        '"\udcff"',
        '"\r\nX: y"',
        '"' + "x" * 400 + '"',
    ],
)
def test_an_etag_that_is_weak_broken_or_cannot_be_sent_back_is_none(text: str | None) -> None:
    assert strong_etag(text) is None
