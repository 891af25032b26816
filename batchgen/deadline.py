"""When `stop_at` next comes, by the clock on the wall. Pure."""

from datetime import datetime, timedelta, tzinfo


def next_deadline(stop_at: tuple[int, int], now: float, zone: tzinfo | None = None) -> float:
    """Return when a run that begins now stops: the next time that a clock shows `stop_at`.

    Args:
        stop_at: Hour and minute.
        now: Unix seconds.
        zone: Whose clock; None for the machine's own zone.

    Returns:
        Unix seconds, more than `now`: where the hour has passed today, tomorrow's. A day has 23 or
        25 hours where clocks change; an hour that does not exist that day is the one after it.
    """
    hour, minute = stop_at
    # Without a zone it is naive on purpose: the clock on the wall of this machine.
    began = datetime.fromtimestamp(now, zone)
    end = began.replace(hour=hour, minute=minute, second=0, microsecond=0)
    return (end if end > began else end + timedelta(days=1)).timestamp()


def in_words(at: float, zone: tzinfo | None = None) -> str:
    """Write a time with its date and zone: `Sun 2026-11-29 07:30 CET (UTC+01:00)`.

    Args:
        at: Unix seconds.
        zone: Whose clock; None for the machine's own zone.
    """
    local = datetime.fromtimestamp(at, zone).astimezone(zone)
    name, offset = local.tzname() or "", local.isoformat()[-6:]
    # Zones without a name of letters are called by their offset: `+03`, `UTC+03:00`.
    named = f"{name} (UTC{offset})" if name.isalpha() and name != "UTC" else f"UTC{offset}"
    return f"{local:%a %Y-%m-%d %H:%M} {'UTC' if name == 'UTC' else named}"
