"""HTTP headers whose values need reading. Pure; garbage in a header is no header."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from typing import Final

_SECONDS: Final = re.compile(r"[0-9]{1,12}\Z")
_CONTENT_RANGE: Final = re.compile(r"bytes ([0-9]{1,15})-([0-9]{1,15})/([0-9]{1,15}|\*)\Z")

_STRONG_ETAG: Final = re.compile(r'"[\x21\x23-\x7e]{0,298}"\Z')


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Read Retry-After, seconds or an HTTP date, into seconds to wait (RFC 9110, 10.2.3).

    A date is by the sender's clock, so it is held against the answer's own Date and Age; without a
    Date (see `with_date`) it says nothing. Names of headers are asked for in small letters.
    """
    text = headers.get("retry-after")
    if (seconds := whole_seconds(text)) is not None:
        return seconds
    until, sent = http_date(text), http_date(headers.get("date"))
    if until is None or sent is None:
        return None
    return max(0.0, until - sent - age(headers))


def with_date(headers: Mapping[str, str], received: float) -> Mapping[str, str]:
    """Return an answer's headers with a Date, as whoever receives one without has to add (6.6.1).

    Args:
        headers: The answer's headers.
        received: Unix seconds when they came.

    Returns:
        The same headers, or new ones with names in small letters.
    """
    if http_date(headers.get("date")) is not None:
        return headers
    date = format_datetime(datetime.fromtimestamp(received, UTC), usegmt=True)
    return {**{name.lower(): value for name, value in headers.items()}, "date": date}


def age(headers: Mapping[str, str]) -> float:
    """Return the seconds an answer spent in caches (RFC 9111, 5.1); 0 where it does not say."""
    return whole_seconds(headers.get("age")) or 0.0


def whole_seconds(text: str | None) -> float | None:
    """Read a header that holds a number of whole seconds."""
    text = text.strip() if text is not None else ""
    return float(text) if _SECONDS.match(text) else None


def http_date(text: str | None) -> float | None:
    """Read an HTTP date into Unix seconds (5.6.7)."""
    if text is None:
        return None
    try:
        when = parsedate_to_datetime(text.strip())
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def content_range(text: str | None) -> tuple[int, int | None] | None:
    """Read Content-Range into first byte and total, the total None where unknown (14.4)."""
    match = _CONTENT_RANGE.match(text.strip()) if text is not None else None
    if match is None:
        return None
    first, last, total = int(match[1]), int(match[2]), None if match[3] == "*" else int(match[3])
    if last < first or (total is not None and total <= last):
        return None
    return first, total


def strong_etag(text: str | None) -> str | None:
    """Return an ETag that stands for exact bytes and can be sent back; weak ones do not (8.8.3)."""
    return text if text is not None and _STRONG_ETAG.match(text) else None
