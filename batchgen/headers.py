"""HTTP headers whose values need reading. Pure; garbage in a header is no header."""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

_SECONDS: Final = re.compile(r"[0-9]{1,12}\Z")
_CONTENT_RANGE: Final = re.compile(r"bytes ([0-9]{1,15})-([0-9]{1,15})/([0-9]{1,15}|\*)\Z")

_STRONG_ETAG: Final = re.compile(r'"[\x21\x23-\x7e]{0,298}"\Z')


def retry_after(text: str | None, now: datetime | None = None) -> float | None:
    """Read Retry-After, seconds or an HTTP date, into seconds from now (RFC 9110, 10.2.3)."""
    if text is None:
        return None
    text = text.strip()
    if _SECONDS.match(text):
        return float(text)
    try:
        when = parsedate_to_datetime(text)
        when = when if when.tzinfo else when.replace(tzinfo=UTC)
        return max(0.0, (when - (now or datetime.now(UTC))).total_seconds())
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
