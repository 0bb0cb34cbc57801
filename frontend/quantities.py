"""Times and sizes in words."""


def duration(seconds: float) -> str:
    """A time in its largest unit that is not below one: "an hour", "30 days"."""
    for unit, length, one in (("days", 86_400, "a day"), ("hours", 3_600, "an hour"), ("minutes", 60, "a minute")):
        if seconds >= length:
            number = round(seconds / length)
            return one if number == 1 else f"{number:,} {unit}"
    return "a second" if round(seconds) == 1 else f"{seconds:.0f} seconds"


def size(number: int) -> str:
    """Bytes in words."""
    return f"{number / 1e6:,.0f} MB" if number >= 1e6 else f"{number / 1e3:,.0f} kB"
