"""The CEL rules of the CRDs, for rules that span fields; their messages are those of the models' validators.

Each is keyed by its model. The API server limits the estimated cost of a rule;
the models' limits of lengths and counts keep it low.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from carillon_core.resources import names
from carillon_core.resources.containers import (
    ENV_NAME_PATTERN,
    ENVIRONMENT_SOURCES,
    IMAGE_PATTERN,
    MOST_TEXT,
    QUANTITY,
    TOO_MUCH_TEXT,
    VARIABLE_SOURCES,
)
from carillon_core.resources.scheduled_task import BOUND_FIELDS, SCHEDULE_FIELDS
from carillon_core.resources.tasks import HEADER_NAME_PATTERN, PATTERN_MESSAGES, TASK_TYPES, URL_PATTERN

Rule = dict[str, Any]


def cel_string(text: str) -> str:
    """Return ``text`` as a CEL string literal."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def name_rule() -> Rule:
    """Return the rule for the name of an object after which Jobs are named."""
    limit = names.MAX_NAME_LENGTH
    return {
        "rule": f"size(self.metadata.name) <= {limit}",
        "message": f"metadata.name must be at most {limit} characters long, because the names of Jobs begin with it",
    }


def _required(rule: str, message: str) -> Rule:
    return {"rule": rule, "reason": "FieldValueRequired", "message": message}


def _forbidden(rule: str, message: str, field: str = "") -> Rule:
    where = {"fieldPath": f".{field}"} if field else {}
    return {"rule": rule, **where, "reason": "FieldValueForbidden", "message": message}


def _invalid(rule: str, message: str, field: str) -> Rule:
    return {"rule": rule, "fieldPath": f".{field}", "reason": "FieldValueInvalid", "message": message}


def _count(fields: Iterable[str]) -> str:
    """Return a CEL expression for the number of these fields that are set."""
    return " + ".join(f"(has(self.{field}) ? 1 : 0)" for field in fields)


def _any(fields: Iterable[str]) -> str:
    return " || ".join(f"has(self.{field})" for field in fields)


def _listing(fields: Sequence[str], separator: str) -> str:
    """Return a CEL expression for the names of these fields that are set.

    It consists of literals only: the API server estimates the cost of a message
    expression, and cannot estimate ``join()`` and ``string()``.
    """
    parts = []
    for number, field in enumerate(fields):
        before = " || ".join(f"has(self.{earlier})" for earlier in fields[:number])
        lead = f"({before} ? '{separator}' : '') + " if before else ""
        parts.append(f"(has(self.{field}) ? {lead}'{field}' : '')")
    return " + ".join(parts)


def _matching(field: str, pattern: str, message: str) -> Rule:
    """Return the rule for a pattern that is also in the schema, whose message would be the regular expression."""
    return _invalid(f"!has(self.{field}) || self.{field}.matches({cel_string(pattern)})", message, field)


def _one_of(fields: Sequence[str]) -> tuple[Rule, ...]:
    """Return the rules for exactly one of these fields."""
    return (
        _required(_any(fields), f"has none of {', '.join(fields)}: add one"),
        _forbidden(f"{_count(fields)} <= 1", f"has more than one of {', '.join(fields)}: keep exactly one of them")
        | {"messageExpression": f"'has ' + {_listing(fields, ' and ')} + ': keep exactly one of them'"},
    )


_URL = _matching("url", URL_PATTERN, "must be an absolute URL that begins with http:// or https:// and names a host")

_TASK_SPEC: tuple[Rule, ...] = (
    _required(_any(SCHEDULE_FIELDS), f"must set exactly one of {', '.join(SCHEDULE_FIELDS)} (got none)"),
    _forbidden(
        f"{_count(SCHEDULE_FIELDS)} <= 1",
        f"has more than one of {', '.join(SCHEDULE_FIELDS)}: keep exactly one of them",
    )
    | {"messageExpression": f"'has ' + {_listing(SCHEDULE_FIELDS, ' and ')} + ': keep exactly one of them'"},
    _forbidden(
        "!has(self.timeZone) || has(self.schedule)",
        "is only valid with schedule: remove it, or set schedule",
        "timeZone",
    ),
    *(
        _forbidden(f"!has(self.runAt) || !has(self.{field})", "is not valid with runAt: remove it", field)
        for field in BOUND_FIELDS
    ),
    _forbidden(
        "!has(self.endAt) || !has(self.durationSeconds)",
        "is not valid with endAt: remove one of them",
        "durationSeconds",
    ),
    _invalid(
        "!has(self.startAt) || !has(self.endAt) || self.endAt >= self.startAt",
        "must not be before startAt: set a later time",
        "endAt",
    ),
    _forbidden(
        "!has(self.cooldownSeconds) || has(self.suspendAfterFailures)",
        "is only valid with suspendAfterFailures: set it, or remove cooldownSeconds",
        "cooldownSeconds",
    ),
    _invalid(
        # both have defaults, which are set before the rules run
        "self.missedRunPolicy != 'All' || self.concurrencyPolicy != 'Replace'",
        "must not be All if concurrencyPolicy is Replace, which would end each run: use Latest",
        "missedRunPolicy",
    ),
)

RULES: Mapping[str, Sequence[Rule]] = {
    "ScheduledTaskSpec": _TASK_SPEC,
    "Task": (
        _required(_any(TASK_TYPES), f"has no task type: add exactly one of {', '.join(TASK_TYPES)}"),
        _forbidden(
            f"{_count(TASK_TYPES)} <= 1",
            f"has more than one of the task types {', '.join(TASK_TYPES)}: keep exactly one",
        )
        | {"messageExpression": f"'has the task types ' + {_listing(TASK_TYPES, ' and ')} + ': keep exactly one'"},
    ),
    "HTTPTask": (
        _required(_any(("url", "targetRef")), "has neither url nor targetRef: add one"),
        _forbidden(f"{_count(('url', 'targetRef'))} <= 1", "has url and targetRef: keep exactly one of them"),
        _URL,
    ),
    "ContainerTask": (
        _matching("image", IMAGE_PATTERN, PATTERN_MESSAGES[IMAGE_PATTERN]),
        _forbidden(
            "(has(self.command) ? self.command.map(text, size(text)).sum() : 0)"
            " + (has(self.args) ? self.args.map(text, size(text)).sum() : 0)"
            " + (has(self.env) ? self.env.map(each, has(each.value) ? size(each.value) : 0).sum() : 0)"
            f" <= {MOST_TEXT}",
            TOO_MUCH_TEXT,
        ),
    ),
    "ContainerResources": tuple(
        _invalid(
            # longer values are rejected before, which limits the rule's cost
            f"!has(self.{field}) || self.{field}.all(name, self.{field}[name].matches({cel_string(QUANTITY)}))",
            PATTERN_MESSAGES[QUANTITY].replace("is", "has a value that is", 1),
            field,
        )
        for field in ("requests", "limits")
    ),
    "EnvironmentVariable": (
        _matching(
            "name",
            ENV_NAME_PATTERN,
            "is not a valid environment variable name: use letters, digits, '-', '_' and '.', not a digit first",
        ),
        _forbidden(
            "!has(self.valueFrom) || !has(self.value) || self.value == ''",
            "has value and valueFrom: keep exactly one of them",
        ),
    ),
    "VariableSource": _one_of(VARIABLE_SOURCES),
    "EnvironmentSource": _one_of(ENVIRONMENT_SOURCES),
    "Toleration": (
        _forbidden(
            "self.operator != 'Exists' || !has(self.value) || self.value == ''",
            "has operator Exists and a value: remove the value, or write operator: Equal",
        ),
        _required(
            "self.operator != 'Equal' || has(self.key)",
            "has no key: add one, or write operator: Exists to tolerate every taint",
        ),
        _forbidden(
            "!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
            "has tolerationSeconds without effect: NoExecute: add it, or remove tolerationSeconds",
        ),
    ),
    "HTTPTargetSpec": (_URL,),
    "TargetHeader": (
        _required(_any(("value", "secretKeyRef")), "has neither value nor secretKeyRef: add one"),
        _forbidden(f"{_count(('value', 'secretKeyRef'))} <= 1", "has value and secretKeyRef: keep exactly one of them"),
        _matching("name", HEADER_NAME_PATTERN, PATTERN_MESSAGES[HEADER_NAME_PATTERN]),
    ),
    "RunRequestSpec": (
        _required(_any(("task", "taskRef")), "must set taskRef or task"),
        _forbidden(f"{_count(('task', 'taskRef'))} <= 1", "has taskRef and task: keep exactly one of them"),
        _forbidden("self == oldSelf", "is immutable: delete the request and create another"),
    ),
}
"""The rules of each model, by its name."""
