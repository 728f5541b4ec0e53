"""Parses cron expressions into ``Cron`` values, or says what is wrong with them. Pure; ``schedule`` calls it.

The syntax is that of Kubernetes' CronJob (the parser robfig/cron v3): every
expression of five fields that CronJob accepts means the same times here, or
is refused with a reason. Four extensions: L, LW, 5L and 1#2; an optional first
field for seconds; 7 for Sunday; macros in capitals.

Day of month and day of week are alternatives, unless one of them is a plain
star (``*``, ``?`` or ``*/1``, alone or in a list): then both must match.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from carillon_core.domain.timetable.cron import LONGEST_MONTH, MONTHS, SATURDAY, Cron, DayRule

MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
"""The macros of crontab(5), except @reboot, which is not a time."""
MONTH_NAMES = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
DAY_NAMES = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
FIVE_FIELDS = 5
WEEKS = range(1, 6)
ZONE_PREFIX = re.compile(r"(?:CRON_)?TZ=(\S*)\s*(.*)", re.DOTALL)
GO_DURATION = re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+", re.ASCII)
"""The syntax of Go's ``time.ParseDuration``, except a plain 0."""
GO_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600}
LONGEST_INTERVAL = 31_622_400
"""The maximum of ``spec.intervalSeconds``."""


class CronError(ValueError):
    """An expression that cannot be read or never fires; the message says which field is wrong and what to write."""


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    first: int
    last: int
    values: int
    """The number of different values: a step that large selects only the first."""
    names: tuple[str, ...] = ()
    first_name: int = 0


_SECOND = _Field("second", 0, 59, 60)
_MINUTE = _Field("minute", 0, 59, 60)
_HOUR = _Field("hour", 0, 23, 24)
_DAY = _Field("day of month", 1, 31, 31)
_MONTH = _Field("month", 1, 12, 12, MONTH_NAMES, 1)
_WEEKDAY = _Field("day of week", 0, 7, 7, DAY_NAMES, 0)
_DAY_FIELDS = (_DAY, _WEEKDAY)
FIELDS = (_SECOND, _MINUTE, _HOUR, _DAY, _MONTH, _WEEKDAY)


def parse_cron(expression: str) -> Cron:
    """Parse a cron expression.

    Raises:
        CronError: If it cannot be read, never fires, or would not mean what it seems to.

    """
    text = expression.strip()
    _refuse_other_languages(text)
    text = MACROS.get(text.lower(), text)
    fields = [field.upper() if field.isascii() else field for field in text.split()]  # upper() turns a long s into S
    if len(fields) not in {FIVE_FIELDS, len(FIELDS)}:
        raise CronError(
            f"{text!r} has {len(fields)} fields: write five (minute, hour, day of month, month, day of week), "
            "or six with seconds first"
        )
    second, minute, hour, day, month, weekday = fields if len(fields) == len(FIELDS) else ["0", *fields]
    try:
        seconds, minutes, hours = _values(_SECOND, second), _values(_MINUTE, minute), _values(_HOUR, hour)
        months = frozenset(_values(_MONTH, month))
        rule = _day_rule(day, weekday)
    except CronError as error:
        raise CronError(f"{expression!r} is not a cron expression: correct its {error}") from None
    if not rule.ever_matches(months):
        raise CronError(f"{expression!r} never fires: no date matches it, correct its day of month or its month")
    return Cron(
        text=" ".join(fields),
        follows_clock=minute.startswith("*") or hour.startswith("*"),
        times=tuple(sorted(h * 60 + m for h, m in product(hours, minutes))),
        seconds=tuple(sorted(seconds)),
        months=months,
        day_rule=rule,
        every_day=len(months) == len(MONTHS)
        and all(len(rule.matching_days(LONGEST_MONTH, first)) == LONGEST_MONTH for first in range(7)),
    )


def _refuse_other_languages(text: str) -> None:
    """Refuse syntax of cron libraries that has a spec field of its own here."""
    if zone := ZONE_PREFIX.match(text):
        name, rest = zone.groups()
        raise CronError(
            f"{text!r} names a time zone: set spec.timeZone{f' to {name}' if name else ''} "
            f"and write only {rest!r} in spec.schedule"
        )
    if not text.startswith("@") or text.lower() in MACROS:
        return
    macro, _, duration = text.partition(" ")
    if macro.lower() == "@every":
        raise CronError(f"{text!r} is an interval: use {_interval_field(duration.strip())} instead of spec.schedule")
    raise CronError(f"{text!r} is not a macro: use one of {', '.join(MACROS)}, or five fields")


def _interval_field(duration: str) -> str:
    """Return the field to use instead of ``@every`` with a Go duration, as CronJob reads it."""
    if not GO_DURATION.fullmatch(duration):
        return "spec.intervalSeconds with a number of seconds"
    parts = re.findall(r"([\d.]+)([a-zµμ]+)", duration)
    # CronJob drops fractions of a second and reads less than a second, or a negative duration, as one second.
    seconds = 1 if duration.startswith("-") else max(1, int(sum(float(n) * GO_UNITS[unit] for n, unit in parts) + 1e-9))
    if seconds > LONGEST_INTERVAL:
        return f"spec.intervalSeconds (at most {LONGEST_INTERVAL}, 366 days)"
    return f"spec.intervalSeconds: {seconds}"


def _day_rule(day: str, weekday: str) -> DayRule:
    days, last_day, last_weekday = _days(day)
    weekdays, nth_weekdays = _weekdays(weekday)
    return DayRule(
        days=frozenset(days),
        last_day=last_day,
        last_weekday=last_weekday,
        weekdays=frozenset(weekdays),
        nth_weekdays=frozenset(nth_weekdays),
        both=_has_plain_star(day) or _has_plain_star(weekday),
    )


def _has_plain_star(field: str) -> bool:
    """Return whether one of the terms of a day field is ``*`` or ``?`` without a step above 1."""
    terms = (term.partition("/") for term in field.split(","))
    return any(base in {"*", "?"} and (not slash or int(step) == 1) for base, slash, step in terms)


def _values(the: _Field, text: str) -> set[int]:
    return {value for term in text.split(",") for value in _term(the, term)}


def _days(text: str) -> tuple[set[int], bool, bool]:
    """Return the days of a day of month field, whether it has L, and whether it has LW."""
    terms = text.split(",")
    return set(_numbered_days(terms)), "L" in terms, "LW" in terms


def _numbered_days(terms: list[str]) -> Iterator[int]:
    for term in terms:
        if term in {"L", "LW"}:
            continue
        if "L" in term or "W" in term:
            raise _bad(
                _DAY,
                f"{term!r} is not supported: write L for the last day of the month, LW for its last day from Monday to "
                "Friday, or days by number",
            )
        yield from _term(_DAY, term)


def _weekdays(text: str) -> tuple[set[int], set[tuple[int, int]]]:
    """Return the weekdays of a day of week field, and its n-th or last weekdays of the month."""
    weekdays: set[int] = set()
    nth: set[tuple[int, int]] = set()
    for term in text.split(","):
        day, hash_sign, week = term.partition("#")
        if hash_sign:
            if not (week.isascii() and week.isdigit() and int(week) in WEEKS):
                raise _bad(_WEEKDAY, f"{term!r} does not name a week from 1 to 5")
            nth.add((_value(_WEEKDAY, day) % 7, int(week)))
        elif len(term) > 1 and term.endswith("L") and term[:-1].isdigit():
            nth.add((_value(_WEEKDAY, term[:-1]) % 7, -1))
        elif term.endswith("L"):
            raise _bad(_WEEKDAY, f"{term!r} is not supported: write 5L for the last Friday of the month")
        else:
            weekdays |= {value % 7 for value in _term(_WEEKDAY, term)}
    return weekdays, nth


def _term(the: _Field, term: str) -> range:
    base, slash, step_text = term.partition("/")
    step = 1
    if slash:
        if not (step_text.isascii() and step_text.isdigit() and int(step_text)):
            raise _bad(the, f"the step of {term!r} must be a whole number of at least 1")
        step = int(step_text)
        if step >= the.values:
            raise _bad(the, f"the step /{step} must be less than {the.values}, or write a single value")
    first_text, dash, last_text = base.partition("-")
    if base == "*" or (base == "?" and the in _DAY_FIELDS):
        first, last = the.first, _end(the)
    elif dash:
        first, last = _value(the, first_text), _value(the, last_text)
        if last < first:
            raise _bad(the, f"{base!r} ends before it begins: write two ranges")
    else:
        first = _value(the, base)
        last = max(first, _end(the)) if slash else first
    return range(first, last + 1, step)


def _end(the: _Field) -> int:
    return SATURDAY if the is _WEEKDAY else the.last


def _value(the: _Field, text: str) -> int:
    if text in the.names:
        return the.names.index(text) + the.first_name
    if text == "?":
        raise _bad(the, "? is only allowed in day of month and day of week: write *")
    if not (text.isascii() and text.isdigit()):
        raise _bad(the, f"{text!r} is not a number" if text else "a value is missing")
    if not the.first <= int(text) <= the.last:
        raise _bad(the, f"must be from {the.first} to {the.last}, got {text}")
    return int(text)


def _bad(the: _Field, what: str) -> CronError:
    return CronError(f"{the.name} ({what})")
