"""What croniter and cronsim say of the same triples; each difference falls under a named rule, or fails.

Three questions sort a difference. Does the peer agree once the expression's
terms are spelt out as lists of values? Then it reads a *form* differently. If
not, does it differ on a clock that is never moved (UTC) as well? Then it
reads the *days* differently. Else it treats a *change of the clock*
differently, and then a change must be near, and what the peer does must be
one of the faults that ``_clock_rule`` names. A peer that finds an earlier
match which is not a second pass is right and we are wrong: that fails.
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
"""A change of the clock so near can lie behind a difference: peers step by whole days about it."""

RULES = {
    "croniter cannot read it": "LW, and lists that mix days of the week with their n-th, are not in its language.",
    "cronsim: Debian's days": "It takes a day field that begins with a star, such as */2, for one, and requires both "
    "day fields to match, as Debian's cron does; CronJob requires that only beside a plain star.",
    "croniter: all days are a star": "It takes 1-31 or 0-6 for a star, and then requires both day fields to match.",
    "croniter: a star with a step of one": "It takes */1 for a list of days, and lets either day field be enough.",
    "croniter: a day and its n-th": "With a day of month beside an n-th or last day of the week it lets the latter "
    "decide otherwise than crontab(5) lets any day of the week.",
    "croniter gives up": "It finds no date in the years that it looks at, or about a change of the clock.",
    "cronsim: a range of one value with a step": "It reads 5-5/2 as 5/2, from 5 to the end of the field.",
    "croniter: a range of one value": "It reads 5-5 as the whole field, as if the range went round.",
    "croniter: a star inside a list": "It takes 8,*/2 in a day field as beginning with a star.",
    "a step from a weekday": "The peer goes on to 7, a second Sunday; CronJob's parser ends with Saturday, as we do.",
    "fires twice": "At the end of summer time the peer fires a particular time at both its passes.",
    "loses the gap": "A particular time that is left out does not fire at the end of the gap, or fires later.",
    "fires at no match": "About a change the peer fires when the clock shows no match.",
    "goes back": "Asked within the second pass, the peer answers with a time that is already over.",
    "skips a slot about a change": "The peer passes over a time that the clock does show.",
    "cronsim never answers": "About a change it turns in a circle, for ever: 0 */5 about St John's, for one.",
    "croniter never answers": "The same: */2 among months and days, asked on the eve of the day that Apia left out.",
}
"""Each rule's sentence; the counts are printed beside them."""


class Peers:
    """Asks croniter and cronsim about one zone."""

    def __init__(self, zone: ZoneInfo, changes: list[int], counts: Counter[str]) -> None:
        """Keep the zone, its changes, and where to count."""
        self._zone = zone
        self._changes = changes
        self._counts = counts
        self._unanswered: set[tuple[str, str]] = set()

    def differences(self, schedule: CronSchedule, expression: str, after: datetime, ours: datetime | None) -> list[str]:
        """Ask each peer; count what it says; return the differences that no rule explains."""
        unexplained = []
        asks: list[tuple[str, Ask]] = [("croniter", ask_croniter)]
        if len(expression.split()) == len(SPANS) - 1:
            asks.append(("cronsim", ask_cronsim))
        for peer, ask in asks:
            if (peer, expression) in self._unanswered:  # once is enough: each time costs seconds
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
        """Return None if a peer agrees, else the rule by which it does not, or what it says."""
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
        """Return by which fault about a change of the clock a peer differs."""
        said = f"we say {ours}, it says {theirs}"
        if theirs is None:
            return said
        meaning, offset_at = Meaning(expression), zone_offsets(self._zone)
        start, other = instant_of(after), instant_of(theirs)
        slot = math.inf if ours is None else instant_of(ours)  # "* 2" on a Sunday of changes alone has none, ever
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
    """A peer has computed for seconds."""


PATIENCE_SECONDS = 3.0
"""Of this process' own time: an answer takes some hundred microseconds."""


@contextmanager
def bounded() -> Iterator[None]:
    """Raise ``NoAnswerError`` in what takes longer than the patience."""

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
    text = re.sub(r"\b(\d)L\b", r"L\1", expression, flags=re.IGNORECASE)  # its spelling of the last Friday
    found: datetime = croniter(
        text.replace("?", "*"), after, second_at_beginning=len(text.split()) == len(SPANS)
    ).get_next(datetime)
    return found.astimezone(UTC)


def ask_cronsim(expression: str, after: datetime) -> datetime | None:
    """Return cronsim's next time, or None if it finds none in 50 years."""
    found = next(CronSim(expression.replace("?", "*"), after), None)
    return None if found is None else found.astimezone(UTC)


def refusal_rule(peer: str, expression: str, error: Exception, near_change: bool) -> str:  # noqa: FBT001  # an answer
    """Return the rule by which a peer raises on an expression, or what it raised."""
    if peer == "croniter" and isinstance(error, CroniterBadDateError):
        return "croniter gives up" if near_change or rare(expression) else f"{error}"
    if peer == "croniter" and ("LW" in expression.upper() or re.search(r"#|\dL", expression.upper())):
        return "croniter cannot read it"
    return f"{type(error).__name__}: {error}"


def rare(expression: str) -> bool:
    """Return whether an expression names its days such that most months have none."""
    day, month, weekday = expression.upper().split()[-3:]
    return day != "*" or month != "*" or weekday != "*"


def form_rule(peer: str, expression: str) -> str:
    """Return by which form a peer reads an expression as other values."""
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
    """Return by which rule croniter reads the days of an expression otherwise, even on a clock that never moves."""
    weekday = expression.upper().split()[-1]
    if "#" in weekday or re.search(r"\dL", weekday):
        return "croniter: a day and its n-th"
    return f"spelt out as {spelt_out(expression)!r} it differs on UTC"


def debian_days(expression: str) -> bool:
    """Return whether Debian's cron lets a day field begin with a star where CronJob sees none, or the reverse."""
    day, _, weekday = expression.split()[-3:]
    return (day[0] in "*?" or weekday[0] in "*?") != (plain_star(day) or plain_star(weekday))


def all_days_starred(expression: str) -> str:
    """Return an expression with each day field that names every day made a star."""
    fields = expression.upper().split()
    for place, weekday in ((-3, False), (-1, True)):
        first, last = SPANS[place]
        listed = _listed(fields[place], first, last, weekday=weekday).split(",")
        if {str(day) for day in range(first, last + 1)} <= set(listed):
            fields[place] = "*"
    return " ".join(fields)


def plain_term(term: str) -> bool:
    """Return whether a term is none of L, LW, 5L and 1#2."""
    return not (term in {"L", "LW"} or "#" in term or re.fullmatch(r"\dL", term))


def spelt_value(term: str) -> str:
    """Return a value with its name made a number."""
    return next((str(v) for v in range(60) if holds(term, v, 59)), term)


def spelt_out(expression: str) -> str:
    """Return an expression with each term as a list of its values, but for plain stars and those that begin a time."""
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
