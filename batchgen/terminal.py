"""Text that is safe to print: what others wrote must not move a cursor or break a line. Pure."""


def printable(text: str) -> str:
    """Put any text on one line of visible signs."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())


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


def size(count: int) -> str:
    """Write a number of bytes as people say it."""
    for limit, unit in ((1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")):
        # From where it rounds up to a whole one: never "1000.0 kB".
        if count >= limit * 0.99995:
            return f"{count / limit:.1f} {unit}"
    return f"{count} bytes" if count != 1 else "1 byte"
