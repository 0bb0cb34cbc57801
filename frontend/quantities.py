"""Times and sizes in words."""

from frontend.words import number, plural


def duration(seconds: float) -> str:
    """A time in its largest unit that is not below one: "an hour", "30 days"."""
    for unit, length in ((_days, 86_400), (_hours, 3_600), (_minutes, 60)):
        if seconds >= length:
            return unit(round(seconds / length))
    return plural("a second", "{count} seconds", round(seconds))


def _days(count: int) -> str:
    return plural("a day", "{count} days", count)


def _hours(count: int) -> str:
    return plural("an hour", "{count} hours", count)


def _minutes(count: int) -> str:
    return plural("a minute", "{count} minutes", count)


def size(bytes_: int) -> str:
    """Bytes in words."""
    return f"{number(round(bytes_ / 1e6))} MB" if bytes_ >= 1e6 else f"{number(round(bytes_ / 1e3))} kB"
