"""Compares our answers with croniter and cronsim; a named rule must explain each difference.

Three questions classify a difference. Does the peer agree once the terms of the
expression are written as lists of values? Then it reads a *form* differently.
If not, does it also differ in UTC, without clock changes? Then it reads the
*days* differently. Otherwise it handles a *clock change* differently: a change
must be near, and ``_clock_rule`` must name what the peer does. If a peer finds
an earlier match that is not a second pass, we are wrong, and the check fails.
"""

import math
import re
import signal
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import FrameType
from typing import NoReturn
from zoneinfo import ZoneInfo

from croniter import CroniterBadDateError, CroniterError, croniter
from cronsim import CronSim, CronSimError

from carillon_core.domain.timetable.schedule import CronSchedule, cron_schedule
from truth.oracle import HOUR, Meaning, holds, instant_of, plain_star, zone_offsets

SPANS = ((0, 59), (0, 59), (0, 23), (1, 31), (1, 12), (0, 6))
REACH = 27 * HOUR
"""A clock change this near can explain a difference, because peers step by whole days around it."""

RULES = {
    "croniter cannot read it": "It does not support LW, or lists that mix weekdays with n-th weekdays.",
    "cronsim: Debian's days": "If a day field begins with a star, such as */2, it requires both day fields to match, "
    "as Debian's cron does; CronJob requires that only with a plain star.",
    "croniter: all days are a star": "It reads 1-31 or 0-6 as a star and then requires both day fields to match.",
    "croniter: a star with a step of one": "It reads */1 as a list of days, and then one matching day field is enough.",
    "croniter: a day and its n-th": "It combines a day of month with an n-th or last weekday differently from "
    "crontab(5).",
    "croniter gives up": "It finds no date within its search range, or near a clock change.",
    "cronsim: a range of one value with a step": "It reads 5-5/2 as 5/2, from 5 to the end of the field.",
    "croniter: a range of one value": "It reads 5-5 as the whole field, as if the range wrapped around.",
    "croniter: a star inside a list": "It reads 8,*/2 in a day field as if it began with a star.",
    "a step from a weekday": "It continues to 7, a second Sunday; CronJob's parser and ours end with Saturday.",
    "fires twice": "It fires a particular time at both passes of a repeated hour.",
    "loses the gap": "It does not fire a skipped particular time at the end of the gap, or fires it later.",
    "fires at no match": "Near a clock change it fires when the clock shows no match.",
    "goes back": "Asked within the second pass, it answers with a time in the past.",
    "skips a slot about a change": "It skips a time that the clock shows.",
    "cronsim never answers": "Near a clock change it loops forever, for example 0 */5 in St John's.",
    "croniter never answers": "It loops forever, for example with */2 in day and month before Apia skipped a day.",
}
"""The sentence of each rule, which is printed with the counts."""


class Peers:
    """Asks croniter and cronsim about one zone."""

    def __init__(self, zone: ZoneInfo, changes: list[int], counts: Counter[str]) -> None:
        """Take the zone, its clock changes and the counter."""
        self._zone = zone
        self._changes = changes
        self._counts = counts
        self._unanswered: set[tuple[str, str]] = set()

    def differences(self, schedule: CronSchedule, expression: str, after: datetime, ours: datetime | None) -> list[str]:
        """Ask each peer, count its answers, and return the differences that no rule explains."""
        unexplained = []
        asks: list[tuple[str, Ask]] = [("croniter", ask_croniter)]
        if len(expression.split()) == len(SPANS) - 1:
            asks.append(("cronsim", ask_cronsim))
        for peer, ask in asks:
            if (peer, expression) in self._unanswered:  # ask only once, because each time costs seconds
                continue
            try:
                with bounded():
                    rule = self._rule(ask, schedule, expression, after, ours)
            except NoAnswerError:
                self._unanswered.add((peer, expression))
                near = self._near(instant_of(after)) or (ours is not None and self._near(instant_of(ours)))
                rule = f"{peer} never answers" if near else f"no answer, and no change is near {after}"
            except (CroniterError, CronSimError) as error:
                rule = refusal_rule(peer, expression, error, self._near(instant_of(after)))
            if rule is None:
                self._counts[f"{peer}: agrees"] += 1
            elif rule in RULES:
                self._counts[f"{peer}: differs: {rule}"] += 1
            else:
                unexplained.append(f"{peer}: no rule explains it: {rule}")
        return unexplained

    def _rule(
        self, ask: "Ask", schedule: CronSchedule, expression: str, after: datetime, ours: datetime | None
    ) -> str | None:
        """Return None if a peer agrees, else the rule that explains the difference, or a description of it."""
        local = after.astimezone(self._zone)
        theirs = ask(expression, local)
        if theirs == ours:
            return None
        starred = all_days_starred(expression)
        if ask is ask_croniter and starred != expression and theirs == self._fires(starred, after):
            return "croniter: all days are a star"
        listed = spelt_out(expression)
        theirs = ask(listed, local)
        if theirs == ours:
            return form_rule("croniter" if ask is ask_croniter else "cronsim", expression)
        reading = after.replace(tzinfo=UTC) + (local.utcoffset() or (after - after))
        on_utc = ask(listed, reading)
        if on_utc != cron_schedule(expression).next_fire_time(reading):
            return days_rule(expression) if ask is ask_croniter else f"on UTC it says {on_utc}"
        return self._clock_rule(schedule, expression, after, ours, theirs)

    def _fires(self, expression: str, after: datetime) -> datetime | None:
        return cron_schedule(expression, self._zone.key).next_fire_time(after)

    def _clock_rule(
        self, schedule: CronSchedule, expression: str, after: datetime, ours: datetime | None, theirs: datetime | None
    ) -> str:
        """Return the rule about clock changes that explains a difference, or a description of it."""
        said = f"we say {ours}, it says {theirs}"
        if theirs is None:
            return said
        meaning, offset_at = Meaning(expression), zone_offsets(self._zone)
        start, other = instant_of(after), instant_of(theirs)
        slot = math.inf if ours is None else instant_of(ours)  # "* 2" only on Sundays with a clock change never fires
        if not (self._near(start) or self._near(slot) or self._near(other)):
            return said
        second_pass = theirs.astimezone(self._zone).fold == 1
        faults = {
            "goes back": other <= start,
            "loses the gap": other > slot and slot in self._changes and not meaning(int(slot) + offset_at(int(slot))),
            "skips a slot about a change": other > slot and (self._near(slot) or self._near(start)),
            "fires at no match": other < slot and not meaning(other + offset_at(other)),
            "fires twice": other < slot and second_pass and not schedule.cron.follows_clock,
        }
        return next((rule for rule, met in faults.items() if met), said)

    def _near(self, instant: float) -> bool:
        index = bisect_left(self._changes, instant - REACH)
        return index < len(self._changes) and self._changes[index] <= instant + REACH


class NoAnswerError(Exception):
    """A peer did not answer within ``PATIENCE_SECONDS``."""


PATIENCE_SECONDS = 3.0
"""CPU seconds of this process; an answer usually takes a few hundred microseconds."""


@contextmanager
def bounded() -> Iterator[None]:
    """Raise ``NoAnswerError`` if the block takes longer than ``PATIENCE_SECONDS``."""

    def give_up(_number: int, _frame: FrameType | None) -> NoReturn:
        raise NoAnswerError

    before = signal.signal(signal.SIGVTALRM, give_up)
    signal.setitimer(signal.ITIMER_VIRTUAL, PATIENCE_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


Ask = Callable[[str, datetime], datetime | None]


def ask_croniter(expression: str, after: datetime) -> datetime | None:
    """Return croniter's next time."""
    text = re.sub(r"\b(\d)L\b", r"L\1", expression, flags=re.IGNORECASE)  # its syntax for the last Friday
    found: datetime = croniter(
        text.replace("?", "*"), after, second_at_beginning=len(text.split()) == len(SPANS)
    ).get_next(datetime)
    return found.astimezone(UTC)


def ask_cronsim(expression: str, after: datetime) -> datetime | None:
    """Return cronsim's next time, or None if it finds none in 50 years."""
    found = next(CronSim(expression.replace("?", "*"), after), None)
    return None if found is None else found.astimezone(UTC)


def refusal_rule(peer: str, expression: str, error: Exception, near_change: bool) -> str:  # noqa: FBT001  # an answer
    """Return the rule that explains a peer's error, or the error."""
    if peer == "croniter" and isinstance(error, CroniterBadDateError):
        return "croniter gives up" if near_change or rare(expression) else f"{error}"
    if peer == "croniter" and ("LW" in expression.upper() or re.search(r"#|\dL", expression.upper())):
        return "croniter cannot read it"
    return f"{type(error).__name__}: {error}"


def rare(expression: str) -> bool:
    """Return whether an expression restricts its days or months."""
    day, month, weekday = expression.upper().split()[-3:]
    return day != "*" or month != "*" or weekday != "*"


def form_rule(peer: str, expression: str) -> str:
    """Return the rule about the form that a peer reads as other values, or a description."""
    fields = expression.upper().split()
    if peer == "cronsim" and debian_days(expression):
        return "cronsim: Debian's days"
    if peer == "croniter" and not {"*/1", "?/1"}.isdisjoint(f"{fields[-3]},{fields[-1]}".split(",")):
        return "croniter: a star with a step of one"
    for number, field in enumerate(fields[::-1]):
        for place, term in enumerate(field.split(",")):
            base, slash, _ = term.partition("/")
            low, dash, high = base.partition("-")
            if dash and spelt_value(low) == spelt_value(high) and (slash or peer == "croniter"):
                return f"{peer}: a range of one value{'' if peer == 'croniter' else ' with a step'}"
            if slash and not dash and base != "*" and number == 0:
                return "a step from a weekday"
            if peer == "croniter" and place and base == "*" and number in {0, 2}:
                return "croniter: a star inside a list"
    return f"spelt out as {spelt_out(expression)!r} it agrees"


def days_rule(expression: str) -> str:
    """Return the rule that explains why croniter reads days differently even in UTC, or a description."""
    weekday = expression.upper().split()[-1]
    if "#" in weekday or re.search(r"\dL", weekday):
        return "croniter: a day and its n-th"
    return f"spelt out as {spelt_out(expression)!r} it differs on UTC"


def debian_days(expression: str) -> bool:
    """Return whether Debian's cron and CronJob disagree on whether a day field is a star."""
    day, _, weekday = expression.split()[-3:]
    return (day[0] in "*?" or weekday[0] in "*?") != (plain_star(day) or plain_star(weekday))


def all_days_starred(expression: str) -> str:
    """Return an expression with every day field that lists all days replaced by a star."""
    fields = expression.upper().split()
    for place, weekday in ((-3, False), (-1, True)):
        first, last = SPANS[place]
        listed = _listed(fields[place], first, last, weekday=weekday).split(",")
        if {str(day) for day in range(first, last + 1)} <= set(listed):
            fields[place] = "*"
    return " ".join(fields)


def plain_term(term: str) -> bool:
    """Return whether a term is not L, LW, 5L or 1#2."""
    return not (term in {"L", "LW"} or "#" in term or re.fullmatch(r"\dL", term))


def spelt_value(term: str) -> str:
    """Return a value with a name replaced by its number."""
    return next((str(v) for v in range(60) if holds(term, v, 59)), term)


def spelt_out(expression: str) -> str:
    """Return an expression with all terms as lists of values, except plain stars and leading stars of times."""
    fields = expression.upper().split()
    *times, day, month, weekday = zip(fields, SPANS[-len(fields) :], strict=True)
    return " ".join(
        [
            *(_listed(field, *span, kept=field.startswith("*")) for field, span in times),
            "*" if plain_star(day[0]) else _listed(day[0], *day[1]),
            _listed(month[0], *month[1], kept=month[0].startswith("*")),
            "*" if plain_star(weekday[0]) else _listed(weekday[0], *weekday[1], weekday=True),
        ]
    )


def _listed(field: str, first: int, last: int, *, kept: bool = False, weekday: bool = False) -> str:
    terms = field.split(",")
    star = [terms[0]] if kept else []
    special = [term for term in terms if not plain_term(term)]
    plain = [term for term in terms if plain_term(term) and term not in star]
    values = [str(v) for v in range(first, last + 1) if any(holds(term, v, last) for term in plain)]
    if weekday and "0" not in values and any(term[0] == "7" or "-7" in term for term in plain):
        values.append("0")
    return ",".join([*star, *values, *special])
