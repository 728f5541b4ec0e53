"""Warnings about a valid spec: what may not be intended, and when the task runs next. Pure.

The admission webhook returns them as warnings; ``carillon next`` and
``carillon explain`` print them. Callers check the spec for problems first.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from carillon_core.domain.egress.rules import AllowList, advice_about
from carillon_core.domain.timetable.clock_changes import clock_changes
from carillon_core.domain.timetable.cron import FEBRUARY, lengths_of
from carillon_core.domain.timetable.cron_text import MACROS, MONTH_NAMES
from carillon_core.domain.timetable.schedule import cron_schedule, fire_times, later, schedule_of
from carillon_core.domain.timetable.zones import zone_advice
from carillon_core.domain.validity.future import future_problem
from carillon_core.domain.validity.problems import templates_of
from carillon_core.domain.validity.template_syntax import parameters_of_templates
from carillon_core.domain.validity.urls import password_advice
from carillon_core.errors import cut
from carillon_core.resources.base import rfc3339
from carillon_core.resources.scheduled_task import DEFAULT_TIMEOUT_SECONDS, ConcurrencyPolicy, ScheduledTaskSpec
from carillon_core.resources.tasks import RetryPolicy, Task

PREVIEWED = 3
"""How many upcoming times a warning shows."""
SAMPLED = 50
"""How many slots are examined for the shortest gap between two."""
OUTLOOK = timedelta(days=366)
CLOCK_CHANGES = 4
"""The maximum number of clock changes reported within ``OUTLOOK``."""
MOST_NAMES = 128
"""How many characters of a list of names a warning has: the API server cuts warnings."""


def local_time(when: datetime, zone: str) -> str:
    """Return an instant as local time in a zone, with its offset: ``2026-03-29T03:30:00+02:00``."""
    return when.astimezone(ZoneInfo(zone)).isoformat(timespec="seconds")


def shown_time(when: datetime, zone: str) -> str:
    """Return an instant in UTC and in a zone: ``2026-03-29T01:30:00Z  2026-03-29T03:30:00+02:00``."""
    return f"{rfc3339(when)}  {local_time(when, zone)}"


def warnings_of(spec: ScheduledTaskSpec, now: datetime, http_allow: AllowList | None = None) -> list[str]:
    """Return the warnings for the author of a spec: its next times, and what may not be intended."""
    return [*_next_times(spec, now), *advice_of(spec, now, now, http_allow)]


def advice_of(
    spec: ScheduledTaskSpec, created_at: datetime, now: datetime, http_allow: AllowList | None = None
) -> list[str]:
    """Return what may not be intended in a spec, one sentence each.

    Args:
        spec: A spec that is valid.
        created_at: When the task was created, the origin of intervals; ``now`` if it does not exist yet.
        now: The current time; only later slots are considered.
        http_allow: What HTTP tasks may reach besides public addresses; None if the caller does not know.

    """
    slots = fire_times(schedule_of(spec, created_at), now, SAMPLED)
    if not slots:
        return [_never(spec, now)]
    gap = min((later - earlier for earlier, later in pairwise(slots)), default=None)
    clock = [c.message for c in clock_changes(spec, now, later(now, OUTLOOK), CLOCK_CHANGES, created_at)]
    return [
        *_calendar_advice(spec),
        *clock,
        *(_gap_advice(spec, gap) if gap else ()),
        *_limit_advice(spec),
        *_job_advice(spec),
        *task_advice(spec.task, http_allow),
        *_parameter_advice(spec),
        *_pod_advice(spec),
    ]


def task_advice(task: Task, http_allow: AllowList | None) -> Iterator[str]:
    """Yield what may not be intended in a task: its URL, or the variables of its container.

    A closed address is only a warning: the runner decides, by the setting that its Job was launched with.
    """
    if task.http is not None and task.http.url is not None:
        yield from url_advice(task.http.url, "spec.task.http.url", http_allow)
    if task.container is not None:
        counted = Counter(each.name for each in task.container.env)
        twice = [name for name, count in counted.items() if count > 1]
        if twice:
            names = cut(", ".join(twice), MOST_NAMES)
            why = "only the last value is used: remove the others"
            yield f"spec.task.container.env: sets {names} more than once; {why}"


def url_advice(url: str, path: str, http_allow: AllowList | None) -> Iterator[str]:
    """Yield a warning if a URL has a password, or if its text shows that its host is not allowed."""
    advice = advice_about(url, http_allow)
    if advice is not None:
        yield f"{path}: {advice}"
    yield from password_advice(url, path)


def _parameter_advice(spec: ScheduledTaskSpec) -> Iterator[str]:
    """Yield a warning for each template that only a RunRequest with parameters can render."""
    if spec.task.http is None or spec.suspend:
        return
    for path, names in parameters_of_templates(templates_of(spec.task.http, "spec.task.http")):
        listed = cut(", ".join(f"parameters.{name}" for name in names), MOST_NAMES)
        yield f"{path}: reads {listed}; scheduled runs have no parameters, so they fail: add | default('...')"


def _pod_advice(spec: ScheduledTaskSpec) -> Iterator[str]:
    if spec.task.container is not None and (spec.pod.resources.requests or spec.pod.resources.limits):
        yield "spec.pod.resources: has no effect on a container task; set spec.task.container.resources"


def _next_times(spec: ScheduledTaskSpec, now: datetime) -> Iterator[str]:
    slots = fire_times(schedule_of(spec, now), now, PREVIEWED)
    if not slots:
        return
    if spec.suspend:
        yield "is suspended: no slots are launched until spec.suspend is false"
        return
    zone = spec.time_zone or "UTC"
    times = (rfc3339(s) if zone == "UTC" else f"{rfc3339(s)} ({local_time(s, zone)})" for s in slots)
    yield f"runs next at {', '.join(times)}"


def _never(spec: ScheduledTaskSpec, now: datetime) -> str:
    return f"will never run: {future_problem(spec.run_at, now) or f'it has no slot after {rfc3339(now)}'}"


def _calendar_advice(spec: ScheduledTaskSpec) -> Iterator[str]:
    if spec.schedule is None:
        return
    if spec.time_zone is not None and (advice := zone_advice(spec.time_zone)) is not None:
        yield f"spec.timeZone: {advice}"
    fields = MACROS.get(spec.schedule.strip().lower(), spec.schedule).split()
    if len(fields) not in {5, 6}:
        return
    day, _, weekday = fields[-3:]
    cron = cron_schedule(spec.schedule, spec.time_zone or "UTC").cron
    both, either = f"both day of month {day} and", f"either day of month {day} or"
    if cron.debian_runs_on_other_days:
        match, other = (both, "either") if cron.day_rule.both else (either, "both")
        yield (
            f"runs on days that match {match} day of week {weekday}, as a CronJob does; "
            f"Debian's cron runs on days that match {other}"
        )
    elif not cron.day_rule.both:
        yield f"runs on days that match {either} day of week {weekday}, as in cron; a day need not match both"
    if day in {"29", "30", "31"} and cron.day_rule.both:
        yield from _short_months(int(day), cron.months)


def _short_months(day: int, months: frozenset[int]) -> Iterator[str]:
    """Yield a warning if one of the months of an expression has no such day."""
    without = [month for month in sorted(months) if min(lengths_of(month)) < day]
    if not without:
        return
    if len(months) == len(MONTH_NAMES):
        yield f"does not run in months without day {day}; write L for the last day of every month"
    elif without == [FEBRUARY] and day in lengths_of(FEBRUARY):
        only = "runs only in leap years" if len(months) == 1 else "runs in February only in leap years"
        yield f"{only}, when that month has a day {day}; write L for the last day of the month"
    else:
        *most, last = (MONTH_NAMES[month - 1].capitalize() for month in without)
        named = f"{', '.join(most)} and {last}" if most else last
        have = "has" if len(without) == 1 else "have"
        yield f"does not run in {named}, which {have} no day {day}; write L for the last day of the month"


def _gap_advice(spec: ScheduledTaskSpec, gap: timedelta) -> Iterator[str]:
    seconds = gap.total_seconds()
    sleep = spec.task.sleep.duration_seconds if spec.task.sleep else 0
    if spec.concurrency_policy is ConcurrencyPolicy.FORBID:
        skipped = f"slots are only {seconds:.0f} s apart: slots are skipped while it runs (concurrencyPolicy: Forbid)"
        if sleep >= seconds:
            yield f"sleeps {sleep} s, but {skipped}"
        # a default is not a choice of the author: most tasks end long before it
        elif (spec.timeout_seconds or 0) > seconds and spec.timeout_seconds != DEFAULT_TIMEOUT_SECONDS:
            yield f"may run for timeoutSeconds={spec.timeout_seconds}, but {skipped}"
    if spec.jitter_seconds >= seconds:
        yield (
            f"spec.jitterSeconds: {spec.jitter_seconds} may delay a launch past the next slot; "
            f"set less than {seconds:.0f}, the seconds between slots"
        )


def _job_advice(spec: ScheduledTaskSpec) -> Iterator[str]:
    """Yield a warning if a time-out takes the place of another: former versions stored 3600 where none was written."""
    inner = spec.task.job.template.get("spec") if spec.task.job is not None else None
    if spec.timeout_seconds is None or not isinstance(inner, Mapping):
        return
    own = inner.get("activeDeadlineSeconds")
    if own != spec.timeout_seconds and (own is not None or spec.timeout_seconds == DEFAULT_TIMEOUT_SECONDS):
        instead = "although the template sets no time limit" if own is None else f"not activeDeadlineSeconds={own}"
        yield f"spec.timeoutSeconds: {spec.timeout_seconds} ends the job, {instead}; remove it if you did not mean it"


def _limit_advice(spec: ScheduledTaskSpec) -> Iterator[str]:
    retry, timeout = spec.retry, spec.timeout_seconds or DEFAULT_TIMEOUT_SECONDS
    if spec.timeout_seconds is None and spec.task.http is not None and spec.task.http.target_ref is not None:
        return  # the target may set another
    if spec.task.sleep and spec.task.sleep.duration_seconds >= timeout:
        yield (
            f"sleeps {spec.task.sleep.duration_seconds} s, but ends after timeoutSeconds={timeout}: "
            "every run will time out"
        )
    if retry.attempt_timeout_seconds is not None and retry.attempt_timeout_seconds >= timeout:
        yield (
            f"spec.retry.attemptTimeoutSeconds: {retry.attempt_timeout_seconds} has no effect; "
            f"the execution ends after timeoutSeconds={timeout}"
        )
    waits = _longest_waits(retry)
    if waits >= timeout:
        yield (
            f"spec.retry: the waits between {retry.limit + 1} attempts may take {waits:.0f} s, but the execution ends "
            f"after timeoutSeconds={timeout}: some attempts will not be made"
        )


def _longest_waits(retry: RetryPolicy) -> float:
    """Return the total seconds of waiting between all attempts, without jitter."""
    waits = (retry.initial_delay_seconds * retry.factor**k for k in range(retry.limit))
    return sum(min(wait, retry.max_delay_seconds) for wait in waits)
