"""The small languages inside values: durations, rates, ranges, times of day.

Pure: text in, a value out, or a ValueError whose text says what was expected.
"""

import re
from collections.abc import Iterable
from decimal import Decimal, localcontext
from typing import Final

from batchgen.models import describe

_UNIT_SECONDS: Final = {
    "ms": Decimal("0.001"),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3600),
}
_NUMBER: Final = r"[0-9]+(?:\.[0-9]+)?"
_DURATION: Final = re.compile(rf"(?:{_NUMBER}(?:ms|s|m|h))+\Z")
_DURATION_PART: Final = re.compile(rf"({_NUMBER})(ms|s|m|h)")
_RATE: Final = re.compile(rf"({_NUMBER})\s*/\s*(s|sec|second|min|m|minute|h|hour)\Z")
_RATE_SECONDS: Final = {
    **dict.fromkeys(("s", "sec", "second"), 1.0),
    **dict.fromkeys(("m", "min", "minute"), 60.0),
    **dict.fromkeys(("h", "hour"), 3600.0),
}
_SIGNED: Final = r"-?[0-9]{1,30}(?:\.[0-9]{1,30})?"
_RANGE: Final = re.compile(
    rf"\s*(?P<first>{_SIGNED})\s*-\s*(?P<last>{_SIGNED})\s*"
    rf"(?:\(\s*\+\s*(?P<step>[0-9]{{1,30}}(?:\.[0-9]{{1,30}})?)\s*\)|\[\s*(?P<count>[0-9]{{1,9}})\s*\])?\s*\Z"
)
_BETWEEN: Final = re.compile(r"\s*(?:\.\.\.?|[\u2010-\u2015\u2212]|\bto\b)\s*(?=-?\d)")
"""What people write between the ends of a range: dots, a longer dash, or to."""
_DIGITS: Final = 100
"""Enough for the sum and the quotient of any two numbers of the form above."""
_CLOCK: Final = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])\Z")
_FAILURES: Final = re.compile(r"([0-9]{1,9})(?: in a row)?\Z")


def _for_editors(pattern: str) -> str:
    """Write a pattern as JSON Schema knows it: of the whole text, and without names for groups."""
    return "^\\s*(?:" + re.sub(r"\(\?P<\w+>", "(", pattern.removesuffix(r"\Z")) + ")\\s*$"


_ONE_DURATION: Final = rf"(?:(?:{_NUMBER}(?:ms|s|m|h))+|{_NUMBER})"
DURATION_TEXT: Final = _for_editors(_ONE_DURATION)
DURATION_RANGE_TEXT: Final = _for_editors(rf"{_ONE_DURATION}\s*-\s*{_ONE_DURATION}")
RATE_TEXT: Final = _for_editors(_RATE.pattern)
RANGE_TEXT: Final = _for_editors(_RANGE.pattern)
CLOCK_TEXT: Final = _for_editors(_CLOCK.pattern)
FAILURES_TEXT: Final = _for_editors(_FAILURES.pattern)

MAX_SECONDS: Final = 1e9
"""About 32 years: more is a slip of the finger."""

MAX_RANGE: Final = 1_000_000
"""Values one range may have: a slip of the finger must not fill the memory."""


def duration(value: object) -> float:
    """Read `1m30s`, `0.2s`, `500ms`, `30` into seconds.

    Raises:
        ValueError: It is no duration.
    """
    seconds = -1.0
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    elif isinstance(value, str):
        compact = value.strip()
        if re.fullmatch(_NUMBER, compact):
            seconds = float(compact)
        elif _DURATION.match(compact):
            parts = _DURATION_PART.findall(compact)
            seconds = float(sum(Decimal(number) * _UNIT_SECONDS[unit] for number, unit in parts))
    if 0 <= seconds < MAX_SECONDS:
        return seconds
    raise ValueError(f"expected a duration such as 30s, 1m30s or 2h, not {describe(value)}")


def duration_range(value: object) -> tuple[float, float]:
    """Read `1s-60s` into two durations in seconds.

    Raises:
        ValueError: It is no range of durations, or runs backwards.
    """
    if isinstance(value, str) and value.count("-") == 1:
        first, last = (duration(part) for part in value.split("-"))
        if first <= last:
            return first, last
    raise ValueError(f"expected a range of durations such as 1s-60s, not {describe(value)}")


def rate(value: object) -> float:
    """Read `60/min` or `5/s` into events a second.

    Raises:
        ValueError: It is no rate, or one of less than 1e-6 or more than 1e6 a second.
    """
    if isinstance(value, str) and (match := _RATE.match(value.strip())):
        per_second = float(match[1]) / _RATE_SECONDS[match[2]]
        if 1e-6 <= per_second <= 1e6:
            return per_second
    raise ValueError(f"expected a rate such as 60/min or 5/s, not {describe(value)}")


def time_of_day(value: object) -> tuple[int, int]:
    """Read `07:30` into hour and minute.

    Raises:
        ValueError: It is no time of day.
    """
    if isinstance(value, str) and (match := _CLOCK.match(value.strip())):
        return int(match[1]), int(match[2])
    raise ValueError(f'expected a time of day such as "07:30", not {describe(value)}')


def failures_in_a_row(value: object) -> int:
    """Read `10 in a row` or `10`.

    Raises:
        ValueError: It is no such count.
    """
    match = _FAILURES.match(str(value).strip()) if isinstance(value, str | int) else None
    if match and not isinstance(value, bool) and int(match[1]) > 0:
        return int(match[1])
    raise ValueError(f"expected a count such as 10 in a row, not {describe(value)}")


def number_range(text: str) -> tuple[int | float, ...] | None:
    """Read `1-4`, `3-9 (+2)` or `3-9 [4]`, inclusive, in exact decimals.

    Returns:
        The values, or None when the text has not the form of a range.

    Raises:
        ValueError: It is a range that makes no sense.
    """
    match = _RANGE.match(text)
    if match is None:
        return None
    with localcontext(prec=_DIGITS):
        return _range_values(text.strip(), match)


def meant_range(text: str) -> str | None:
    """Return the range that `1..4`, `1 - 4` with a long dash or `1 to 4` means, None for others."""
    written, signs = _BETWEEN.subn("-", text.strip())
    return written if signs == 1 and _RANGE.match(written) else None


def _range_values(text: str, match: re.Match[str]) -> tuple[int | float, ...]:
    first, last = Decimal(match["first"]), Decimal(match["last"])
    if last < first:
        raise ValueError(f"the range {text} runs backwards; write {last}-{first}")
    if match["count"] is not None:
        count = int(match["count"])
        if first == last and count != 1:
            raise ValueError(f"the range {text} holds 1 value, not {count}")
        if first != last and count < 2:
            raise ValueError(f"the range {text} needs at least 2 values")
        _check_length(text, count)
        gap = (last - first) / max(1, count - 1)
        return _all_apart(text, (round(first + gap * place, 12) for place in range(count)))
    step = Decimal(match["step"]) if match["step"] is not None else Decimal(1)
    if step == 0:
        raise ValueError(f"the range {text} has a step of 0")
    count = int((last - first) / step) + 1
    _check_length(text, count)
    return _all_apart(text, (first + step * place for place in range(count)))


def _check_length(text: str, count: int) -> None:
    if count > MAX_RANGE:
        raise ValueError(f"the range {text} has more than {MAX_RANGE:,} values")


def _all_apart(text: str, exact: Iterable[Decimal]) -> tuple[int | float, ...]:
    """Return the numbers JSON would carry, none of them twice."""
    numbers = tuple(map(_plain, exact))
    if len(set(numbers)) < len(numbers):
        raise ValueError(
            f"the range {text} is too fine: some of its values would be sent as the same number"
        )
    return numbers


def _plain(value: Decimal) -> int | float:
    """Return the number JSON would carry: 5, not 5.0."""
    return int(value) if value == value.to_integral_value() else float(value)
