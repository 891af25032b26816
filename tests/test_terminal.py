"""What others wrote can neither move a cursor nor break a line; figures read as people say them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchgen.terminal import duration, printable, shortened, size

ANY_TEXT = st.text(st.characters(), max_size=200)


@given(ANY_TEXT)
def test_any_text_becomes_one_line_of_visible_signs(text: str) -> None:
    line = printable(text)
    assert line.isprintable()
    assert line == line.strip()
    assert "  " not in line
    assert printable(line) == line


def test_letters_of_any_script_and_emoji_stay() -> None:
    assert printable("Füchse 狐 🦊 <b>") == "Füchse 狐 🦊 <b>"


@pytest.mark.parametrize("sign", ["\x1b[2J", "\r", "\n", "\x00", "\x9b31m", "\u202e", "\ud800"])
def test_signs_that_move_the_cursor_or_turn_the_text_go(sign: str) -> None:
    assert sign[0] not in printable(f"a{sign}b")


@given(ANY_TEXT, st.integers(0, 50))
def test_a_shortened_text_is_never_wider_than_asked(text: str, width: int) -> None:
    line = shortened(text, width)
    assert len(line) <= width
    assert line == printable(text) or line == "" or line.endswith("…")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (42.4, "42 s"),
        (59.6, "1 min 00 s"),
        (200, "3 min 20 s"),
        (3599.6, "1 h 00 min"),
        (7500, "2 h 05 min"),
        (360_000, "100 h 00 min"),
    ],
)
def test_a_duration_reads_as_people_say_it(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1_000, "1.0 kB"),
        (3_758_467, "3.8 MB"),
        (999_949, "999.9 kB"),
        (999_999, "1.0 MB"),
        (999_999_999, "1.0 GB"),
        (50_000_000_000, "50.0 GB"),
    ],
)
def test_a_size_reads_as_people_say_it(count: int, text: str) -> None:
    assert size(count) == text


@given(st.integers(0, 999_000_000_000))
def test_no_size_shows_more_than_three_digits_before_the_point(count: int) -> None:
    assert float(size(count).split()[0]) < 1_000
