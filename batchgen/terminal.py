"""Text that is safe to print: what others wrote must not move a cursor or break a line. Pure."""

import json
import re
from typing import Final

_MAYBE_HIDDEN: Final = re.compile(r"[^ -~]")
_JSON: Final = json.JSONEncoder(ensure_ascii=False).encode


def printable(text: str) -> str:
    """Put any text on one line of visible signs."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())


def visible(text: str) -> str:
    """Spell out every sign of a text that does not show as itself, so that nothing is lost."""
    if text.isprintable():
        return text
    return "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape").decode("ascii")
        for sign in text
    )


def json_line(value: object) -> str:
    """Write a value as JSON on one line of visible signs, letters of any script as themselves.

    Who reads it back gets the value exactly.

    Raises:
        TypeError: It is nothing that JSON can hold.
    """
    text = _JSON(value)
    return text if text.isprintable() else _MAYBE_HIDDEN.sub(_as_json_escape, text)


def _as_json_escape(found: re.Match[str]) -> str:
    return found[0] if found[0].isprintable() else json.dumps(found[0])[1:-1]


def shortened(text: str, width: int) -> str:
    """Put any text on one line of at most `width` signs."""
    line = printable(text)
    return line if len(line) <= width else (line[: width - 1] + "…" if width > 0 else "")


def duration(seconds: float) -> str:
    """Write a duration as people say it: `42 s`, `3 min 20 s`, `2 h 05 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def dollars(usd: float) -> str:
    """Write a sum of US dollars, also one of a fraction of a cent."""
    return f"${usd:.2f}" if usd >= 0.1 or round(usd, 2) == round(usd, 6) else f"${usd:.4g}"


def size(count: int) -> str:
    """Write a number of bytes as people say it."""
    for limit, unit in ((1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")):
        # From where it rounds up to a whole one: never "1000.0 kB".
        if count >= limit * 0.99995:
            return f"{count / limit:.1f} {unit}"
    return f"{count} bytes" if count != 1 else "1 byte"
