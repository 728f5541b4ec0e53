"""Random cron expressions of all forms, many with slots around a given reading."""

from datetime import UTC, datetime
from random import Random

WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")


def random_expression(draw: Random, reading: int, *, seconds: bool) -> str:
    """Return an expression of five or six fields that usually has slots near a reading.

    Args:
        draw: The random generator.
        reading: Local time in seconds since 1970.
        seconds: Draw six fields.

    """
    near = datetime.fromtimestamp(reading, UTC)
    star = draw.random()
    minute = "*" if star < 0.12 else _field(draw, near.minute, 0, 59)
    hour = "*" if 0.08 < star < 0.25 else _field(draw, (near.hour + draw.randint(-2, 2)) % 24, 0, 23)
    kind = draw.random()
    day = _star(draw) if kind < 0.6 else _day(draw, near)
    weekday = _star(draw) if 0.2 < kind < 0.8 else _weekday(draw, near)
    month = "*" if draw.random() < 0.7 else _field(draw, near.month, 1, 12, MONTHS)
    fields = [minute, hour, day, month, weekday]
    if seconds:
        second = "*" if draw.random() < 0.2 else _field(draw, draw.randrange(60), 0, 59)
        fields.insert(0, second)
    text = " ".join(fields)
    return text if draw.random() < 0.8 else text.lower()


def _star(draw: Random) -> str:
    return draw.choice(["*", "*", "*", "*", "?", "*/1"])


def _field(draw: Random, near: int, first: int, last: int, names: tuple[str, ...] = ()) -> str:
    terms = [_term(draw, near, first, last, names)]
    while draw.random() < 0.25:
        terms.append(_term(draw, draw.randint(first, last), first, last, names))
    return ",".join(terms)


def _term(draw: Random, near: int, first: int, last: int, names: tuple[str, ...]) -> str:
    def named(value: int) -> str:
        return draw.choice([names[value - first], str(value)]) if names and value - first < len(names) else str(value)

    span = last - first
    low, high = sorted((near, draw.randint(first, last)))
    step = draw.choice([2, 3, 5, draw.randint(1, span)])
    return draw.choice(
        [
            named(near),
            named(near),
            named(near),
            f"{named(low)}-{named(high)}",
            f"{named(low)}-{named(high)}/{step}",
            f"*/{step}",
            f"{named(low)}/{step}",
            f"{first}-{last}",
        ]
    )


def _day(draw: Random, near: datetime) -> str:
    special = draw.random()
    if special < 0.1:
        return "L"
    if special < 0.2:
        return "LW"
    text = _field(draw, near.day, 1, 31)
    return f"{text},L" if special < 0.25 else text


def _weekday(draw: Random, near: datetime) -> str:
    week = near.isoweekday() % 7
    special = draw.random()
    if special < 0.15:
        return f"{draw.choice([WEEKDAYS[week], str(week)])}#{draw.choice([(near.day + 6) // 7, draw.randint(1, 5)])}"
    if special < 0.25:
        return f"{week}L"
    if special < 0.32:
        return f"{draw.randint(0, 6)}-7"
    if special < 0.38:
        return "7"
    return _field(draw, week, 0, 6, WEEKDAYS)
