"""The preview of a spec that is not stored: its problems, warnings and times. Pure."""

import json
from datetime import datetime
from functools import partial

from carillon_api.http.bodies import parse_body
from carillon_api.schemas import Preview, PreviewBody, ProblemField, TaskReplace
from carillon_api.schemas.checks import spec_problems
from carillon_api.views.timetables import spec_timetable
from carillon_api.views.upcoming import Window, fire_times_of
from carillon_core.cpu_limit import CPU_LIMIT
from carillon_core.domain.validity.advice import warnings_of
from carillon_core.errors import FieldProblem, InvalidResourceError, TooMuchWorkError
from carillon_core.resources import ScheduledTaskSpec


def previewed(body: PreviewBody, window: Window) -> Preview:
    """Return the times of a spec in a window, its problems, and its warnings."""
    try:
        return CPU_LIMIT.run(partial(_previewed, body, window))
    except TooMuchWorkError as error:
        return _answer([FieldProblem("spec", f"cannot be judged: {error}")])


def _previewed(body: PreviewBody, window: Window) -> Preview:
    spec, problems = judged(body, window.now)
    if spec is None:
        return _answer(problems)
    table = spec_timetable(spec, window.now)
    items = fire_times_of(table, table.max_runs, window)
    answer = _answer(problems, [] if problems else warnings_of(spec, window.now))
    return answer.model_copy(update={"time_zone": table.zone, "items": items, "schedule_in_words": table.words})


def judged(body: PreviewBody, now: datetime) -> tuple[ScheduledTaskSpec | None, list[FieldProblem]]:
    """Return the spec, if it can be parsed, and the problems for which a POST would be rejected."""
    try:
        spec = parse_body(TaskReplace, json.dumps({"spec": body.spec}).encode()).spec
    except InvalidResourceError as error:
        return None, list(error.problems)
    return spec, spec_problems(spec, now, None)


def _answer(problems: list[FieldProblem], warnings: list[str] | None = None) -> Preview:
    named = [ProblemField(field=p.path, message=p.message) for p in problems]
    return Preview(
        valid=not problems,
        problems=named,
        warnings=warnings or [],
        schedule_in_words=None,
        time_zone="UTC",
        items=[],
    )
