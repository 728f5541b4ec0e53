"""Checks that a JSON schema cannot express: names, labels, selectors, schedules. Pure.

The rules of names and labels are Kubernetes' own (RFC 1123, and
"Labels and Selectors" in its documentation). Checking them here lets every
problem name its field and the fix, without a call to the API server.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import partial

from carillon_core.cpu_limit import CPU_LIMIT
from carillon_core.domain.validity import problems as validity
from carillon_core.domain.validity.future import future_problem
from carillon_core.errors import FieldProblem, TooMuchWorkError
from carillon_core.name_patterns import (
    DNS_SUBDOMAIN,
    LABEL_WORD,
    MAX_LABEL,
    is_dns_label,
    is_dns_subdomain,
)
from carillon_core.resources.scheduled_task import ScheduledTaskSpec, name_problems

_KEY = rf"({DNS_SUBDOMAIN}/)?{LABEL_WORD}"
_VALUE = rf"({LABEL_WORD})?"
# spaces belong to what stands before them: two repetitions that could share them would be tried in every division,
# which is exponential in the number of commas
_SPACED = rf"\s*({LABEL_WORD}\s*)?"
_REQUIREMENT = re.compile(
    rf"\s*(!\s*{_KEY}\s*|{_KEY}(\s*(==?|!=){_SPACED}|\s+(not)?in\s*\({_SPACED}(,{_SPACED})*\)\s*|\s*))"
)


def dns_label_problem(name: str) -> str | None:
    """Return the problem of a name that is not an RFC 1123 label, or None."""
    if len(name) > MAX_LABEL:
        return f"must be at most {MAX_LABEL} characters long (got {len(name)})"
    if not is_dns_label(name):
        return (
            "must consist of lowercase letters, digits and hyphens, and begin and end with a letter or a digit, "
            "such as nightly-report"
        )
    return None


def namespace_name(name: str) -> str:
    """Return the name of a namespace; raise ``ValueError`` if no namespace can have it."""
    if problem := dns_label_problem(name):
        raise ValueError(problem)
    return name


def object_name(name: str) -> str:
    """Return the name of an object; raise ``ValueError`` if no object can have it by Kubernetes' rule."""
    if not is_dns_subdomain(name):
        raise ValueError(
            "must consist of lowercase letters, digits, hyphens and dots, and every part between dots must begin and "
            "end with a letter or a digit, such as nightly-report"
        )
    return name


task_name = object_name
"""The same for a task: a stored task may have a longer name than a new one."""


def task_name_problems(name: str) -> list[FieldProblem]:
    """Return the problems of the name of a new task, under the field ``name``."""
    if problems := name_problems(name):
        return [FieldProblem("name", p.message) for p in problems]
    return object_name_problems(name)


def object_name_problems(name: str) -> list[FieldProblem]:
    """Return the problems of the name of any new object, under the field ``name``."""
    try:
        object_name(name)
    except ValueError as error:
        return [FieldProblem("name", str(error))]
    return []


def label_problems(labels: Mapping[str, str]) -> list[FieldProblem]:
    """Return the problems of labels, each under ``labels.KEY``."""
    problems = []
    for key, value in labels.items():
        prefix, slash, word = key.rpartition("/")
        if slash and not is_dns_subdomain(prefix):
            problems.append(
                FieldProblem(f"labels.{key}", "has an invalid prefix: write a DNS name, such as example.com")
            )
        elif not re.fullmatch(LABEL_WORD, word):
            problems.append(FieldProblem(f"labels.{key}", f"is not a valid label name: {_WORD_RULE}"))
        if not re.fullmatch(_VALUE, value):
            problems.append(FieldProblem(f"labels.{key}", f"has an invalid value: {_WORD_RULE}"))
    return problems


_WORD_RULE = f"use at most {MAX_LABEL} letters, digits, '-', '_' and '.', beginning and ending with a letter or a digit"


def selector_problems(selector: str) -> list[FieldProblem]:
    """Return the problems of a label selector, under the field ``labelSelector``."""
    if not selector.strip() or all(_REQUIREMENT.fullmatch(part) for part in _requirements(selector)):
        return []
    example = "write one such as app=web,tier in (a, b),!canary"
    return [FieldProblem("labelSelector", f"is not a label selector: {example}")]


def _requirements(selector: str) -> Iterator[str]:
    """Yield the parts between the commas that are outside parentheses."""
    start = depth = 0
    for at, char in enumerate(selector):
        depth += (char == "(") - (char == ")")
        if char == "," and depth == 0:
            yield selector[start:at]
            start = at + 1
    yield selector[start:]


def spec_problems(spec: ScheduledTaskSpec, now: datetime, stored: ScheduledTaskSpec | None) -> list[FieldProblem]:
    """Return the problems of a spec that its schema cannot express.

    Args:
        spec: The spec to store.
        now: The current time.
        stored: The spec that it replaces, if that can be read. A past ``runAt`` may stay unchanged, so that a task
            that has run can still be edited.

    """
    try:
        problems = list(CPU_LIMIT.run(partial(validity.spec_problems, spec, now, stored)))
    except TooMuchWorkError as error:
        return [FieldProblem("spec", f"cannot be judged: {error}")]
    past = future_problem(spec.run_at, now)
    if past is not None and (stored is None or stored.run_at != spec.run_at):
        problems.append(past)
    return problems
