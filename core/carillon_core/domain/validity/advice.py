"""What is allowed but may not be meant, and when a task will run next: said before it is stored. Pure.

The admission webhook shows it as warnings, ``carillon next`` and ``carillon
explain`` on the terminal. The spec is one in which ``validity`` found nothing.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from carillon_core.domain.egress.rules import AllowList, advice_about
from carillon_core.domain.timetable.clock_changes import clock_changes
from carillon_core.domain.timetable.cron_text import MACROS
from carillon_core.domain.timetable.schedule import cron_schedule, fire_times, later, schedule_of
from carillon_core.domain.validity.run_at import run_at_problem
from carillon_core.resources.base import rfc3339
from carillon_core.resources.scheduled_task import ConcurrencyPolicy, ScheduledTaskSpec
from carillon_core.resources.tasks import RetryPolicy, Task

PREVIEWED = 3
"""How many of the next times a warning shows."""
SAMPLED = 50
"""How many slots are looked at for the shortest way from one to the next."""
OUTLOOK = timedelta(days=366)
CLOCK_CHANGES = 4
"""So many changes of the clock are told, of those within ``OUTLOOK``."""
DEFAULT_TIMEOUT = ScheduledTaskSpec.model_fields["timeout_seconds"].default


def local_time(when: datetime, zone: str) -> str:
    """Return an instant on the clock of a zone, with its offset: ``2026-03-29T03:30:00+02:00``."""
    return when.astimezone(ZoneInfo(zone)).isoformat(timespec="seconds")


def shown_time(when: datetime, zone: str) -> str:
    """Return an instant in UTC and then on a zone's clock: ``2026-03-29T01:30:00Z  2026-03-29T03:30:00+02:00``."""
    return f"{rfc3339(when)}  {local_time(when, zone)}"


def warnings_of(spec: ScheduledTaskSpec, now: datetime, http_allow: AllowList | None = None) -> list[str]:
    """Return what whoever writes this spec now should know: its next times, and what may surprise."""
    return [*_next_times(spec, now), *advice_of(spec, now, now, http_allow)]


def advice_of(
    spec: ScheduledTaskSpec, created_at: datetime, now: datetime, http_allow: AllowList | None = None
) -> list[str]:
    """Return what may surprise in a spec, a sentence each.

    Args:
        spec: A spec that is valid.
        created_at: The task's creation, from which intervals count; ``now`` if it is not created yet.
        now: This instant: only what is to come is looked at.
        http_allow: What HTTP tasks may reach beside public addresses; None if that is not known here.

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
        *task_advice(spec.task, http_allow),
        *_pod_advice(spec),
    ]


def task_advice(task: Task, http_allow: AllowList | None) -> Iterator[str]:
    """Yield what may surprise in what a task runs: a URL whose requests will be refused.

    It is a warning and no more, for the runner decides, by the setting that its Job was launched with.
    """
    if task.http is not None and task.http.url is not None:
        yield from url_advice(task.http.url, "spec.task.http.url", http_allow)


def url_advice(url: str, path: str, http_allow: AllowList | None) -> Iterator[str]:
    """Yield that a URL's host is closed, if that is to be seen in its text; see ``egress.advice_about``."""
    advice = advice_about(url, http_allow)
    if advice is not None:
        yield f"{path}: {advice}"


def _pod_advice(spec: ScheduledTaskSpec) -> Iterator[str]:
    if spec.task.container is not None and (spec.pod.resources.requests or spec.pod.resources.limits):
        yield "spec.pod.resources is a runner's and no container's: write it under spec.task.container.resources"


def _next_times(spec: ScheduledTaskSpec, now: datetime) -> Iterator[str]:
    slots = fire_times(schedule_of(spec, now), now, PREVIEWED)
    if not slots:
        return
    if spec.suspend:
        yield "is suspended: nothing is launched until spec.suspend is false"
        return
    zone = spec.time_zone or "UTC"
    times = (rfc3339(s) if zone == "UTC" else f"{rfc3339(s)} ({local_time(s, zone)})" for s in slots)
    yield f"runs next at {', '.join(times)}"


def _never(spec: ScheduledTaskSpec, now: datetime) -> str:
    return f"will never run: {run_at_problem(spec.run_at, now) or f'it has no slot after {rfc3339(now)}'}"


def _calendar_advice(spec: ScheduledTaskSpec) -> Iterator[str]:
    if spec.schedule is None:
        return
    fields = MACROS.get(spec.schedule.strip().lower(), spec.schedule).split()
    if len(fields) not in {5, 6}:
        return
    day, _, weekday = fields[-3:]
    cron = cron_schedule(spec.schedule, spec.time_zone or "UTC").cron
    if cron.debian_runs_on_other_days:
        days = f"day of month {day} {{}} day of week {weekday}"
        if cron.day_rule.both:
            yield (
                f"runs on days on which both match, {days.format('and')}, as a CronJob does: "
                "Debian's cron runs on days on which either matches"
            )
        else:
            yield (
                f"runs on days on which either matches, {days.format('or')}, as a CronJob does: "
                "Debian's cron runs on days on which both match"
            )
    elif not cron.day_rule.both:
        yield (
            f"runs on the days of month {day} and also on the days of week {weekday}, as cron does: "
            "either is enough, not both together"
        )
    if day in {"29", "30", "31"}:
        yield f"does not run in months without a day {day}: write L for the last day of each month"


def _gap_advice(spec: ScheduledTaskSpec, gap: timedelta) -> Iterator[str]:
    seconds = gap.total_seconds()
    sleep = spec.task.sleep.duration_seconds if spec.task.sleep else 0
    if spec.concurrency_policy is ConcurrencyPolicy.FORBID:
        if sleep >= seconds:
            yield (
                f"sleeps {sleep} s, and only {seconds:.0f} s lie between two slots: those that come meanwhile are "
                "skipped, for concurrencyPolicy is Forbid"
            )
        # a default is nobody's choice: most tasks end long before it
        elif spec.timeout_seconds > seconds and spec.timeout_seconds != DEFAULT_TIMEOUT:
            yield (
                f"may run for timeoutSeconds={spec.timeout_seconds}, and only {seconds:.0f} s lie between two slots: "
                "those that find it running are skipped, for concurrencyPolicy is Forbid"
            )
    if spec.jitter_seconds >= seconds:
        yield (
            f"jitterSeconds={spec.jitter_seconds} may delay a launch beyond the next slot, which comes "
            f"{seconds:.0f} s later: shorten it"
        )


def _limit_advice(spec: ScheduledTaskSpec) -> Iterator[str]:
    retry, timeout = spec.retry, spec.timeout_seconds
    if spec.task.sleep and spec.task.sleep.duration_seconds >= timeout:
        yield (
            f"sleeps {spec.task.sleep.duration_seconds} s but is ended after timeoutSeconds={timeout}: each run will "
            "time out"
        )
    if retry.attempt_timeout_seconds is not None and retry.attempt_timeout_seconds >= timeout:
        yield (
            f"retry.attemptTimeoutSeconds={retry.attempt_timeout_seconds} has no effect: the execution ends after "
            f"timeoutSeconds={timeout}"
        )
    waits = _longest_waits(retry)
    if waits >= timeout:
        yield (
            f"the waits between its {retry.limit + 1} attempts may take {waits:.0f} s, and timeoutSeconds={timeout} "
            "ends them all: not every attempt will be made"
        )


def _longest_waits(retry: RetryPolicy) -> float:
    """Return how many seconds the waits between all attempts take without jitter."""
    waits = (retry.initial_delay_seconds * retry.factor**k for k in range(retry.limit))
    return sum(min(wait, retry.max_delay_seconds) for wait in waits)
