"""The contract of ``ObjectStore``: invalid objects are refused with a message that says what to correct."""

import re
from typing import Any

import pytest

from carillon_core.errors import RefusedError
from carillon_core.ports import JSONObject
from support.store_adapters import SUM, Given, given, task

__all__ = ["given"]


def http(**fields: Any) -> JSONObject:
    """Return a spec with an HTTP task."""
    return {"intervalSeconds": 60, "task": {"http": {"url": "https://example.com/"} | fields}}


BAD_SPECS: dict[str, tuple[JSONObject, str, str]] = {
    "no time to run": ({"task": SUM}, "spec", "must set exactly one of schedule, intervalSeconds, runAt"),
    "two times to run": (
        {"schedule": "@hourly", "intervalSeconds": 5, "task": SUM},
        "spec",
        "has schedule and intervalSeconds: keep exactly one of them",
    ),
    "three times to run": (
        {"schedule": "@hourly", "intervalSeconds": 5, "runAt": "2027-01-01T00:00:00Z", "task": SUM},
        "spec",
        "has schedule and intervalSeconds and runAt: keep exactly one of them",
    ),
    "a time zone without a cron schedule": (
        {"intervalSeconds": 5, "timeZone": "Europe/Berlin", "task": SUM},
        "spec.timeZone",
        "is only valid with schedule: remove it, or set schedule",
    ),
    "no task": ({"intervalSeconds": 5}, "spec.task", "is required: add it"),
    "no task type": ({"intervalSeconds": 5, "task": {}}, "spec.task", "add exactly one of sleep, counter, http, sum"),
    "two task types": (
        {"intervalSeconds": 5, "task": SUM | {"counter": {}}},
        "spec.task",
        "task types .*counter.* sum.*: keep exactly one",
    ),
    "an interval of nothing": (
        {"intervalSeconds": 0, "task": SUM},
        "spec.intervalSeconds",
        "at least 1 |greater than or equal to 1",
    ),
    "an interval of over a year": (
        {"intervalSeconds": 31622401, "task": SUM},
        "spec.intervalSeconds",
        "at most 31622400|less than or equal to 31622400",
    ),
    "an interval that is no number": (
        {"intervalSeconds": "often", "task": SUM},
        "spec.intervalSeconds",
        "integer|whole number",
    ),
    "a time that is none": ({"runAt": "tomorrow", "task": SUM}, "spec.runAt", "date"),
    "an empty schedule": ({"schedule": "", "task": SUM}, "spec.schedule", "at least 1 char"),
    "a time-out of nothing": (
        {"intervalSeconds": 5, "timeoutSeconds": 0, "task": SUM},
        "spec.timeoutSeconds",
        "at least 1 |greater than or equal to 1",
    ),
    "a policy that there is not": (
        {"intervalSeconds": 5, "concurrencyPolicy": "Perhaps", "task": SUM},
        "spec.concurrencyPolicy",
        "Forbid.*Allow",
    ),
    "a field that there is not": (
        {"intervalSeconds": 5, "paused": True, "task": SUM},
        "spec.paused",
        "is an unknown field: remove it or correct its spelling",
    ),
    "a nested field that there is not": (
        {"intervalSeconds": 5, "task": {"sleep": {"durationSeconds": 1, "unit": "s"}}},
        "spec.task.sleep.unit",
        "is an unknown field",
    ),
    "a sleep without a duration": (
        {"intervalSeconds": 5, "task": {"sleep": {}}},
        "spec.task.sleep.durationSeconds",
        "is required: add it",
    ),
    "a sum of text": ({"intervalSeconds": 5, "task": {"sum": {"a": "one", "b": 2}}}, "spec.task.sum.a", "number"),
    "a URL of another scheme": (
        http(url="ftp://example.com"),
        "spec.task.http.url",
        "must be an absolute URL that begins with http:// or https:// and names a host",
    ),
    "a method that there is not": (http(method="FETCH"), "spec.task.http.method", "GET"),
    "a status code beyond HTTP": (http(expectedStatuses=[99]), "spec.task.http.expectedStatuses[0]", "100"),
    "a header's name with a space": (http(headers={"a b": "c"}), "spec.task.http.headers", "HTTP does not allow|match"),
    "a one-shot that begins": (
        {"runAt": "2027-01-01T00:00:00Z", "startAt": "2027-01-01T00:00:00Z", "task": SUM},
        "spec.startAt",
        "is not valid with runAt: remove it",
    ),
    "a one-shot that ends": (
        {"runAt": "2027-01-01T00:00:00Z", "endAt": "2027-01-01T00:00:00Z", "task": SUM},
        "spec.endAt",
        "is not valid with runAt: remove it",
    ),
    "a one-shot that lasts": (
        {"runAt": "2027-01-01T00:00:00Z", "durationSeconds": 60, "task": SUM},
        "spec.durationSeconds",
        "is not valid with runAt: remove it",
    ),
    "a one-shot that is counted": (
        {"runAt": "2027-01-01T00:00:00Z", "maxRuns": 1, "task": SUM},
        "spec.maxRuns",
        "is not valid with runAt: remove it",
    ),
    "two ends": (
        {"schedule": "@hourly", "endAt": "2027-01-01T00:00:00Z", "durationSeconds": 60, "task": SUM},
        "spec.durationSeconds",
        "is not valid with endAt: remove one of them",
    ),
    "an end before the start": (
        {"schedule": "@hourly", "startAt": "2027-01-01T00:00:00+01:00", "endAt": "2026-12-31T22:59:59Z", "task": SUM},
        "spec.endAt",
        "must not be before startAt: set a later time",
    ),
    "a cool-down of no circuit": (
        {"intervalSeconds": 5, "cooldownSeconds": 60, "task": SUM},
        "spec.cooldownSeconds",
        "is only valid with suspendAfterFailures: set it, or remove cooldownSeconds",
    ),
    "all missed runs, each ending the one before": (
        {"intervalSeconds": 5, "missedRunPolicy": "All", "concurrencyPolicy": "Replace", "task": SUM},
        "spec.missedRunPolicy",
        "must not be All if concurrencyPolicy is Replace, which would end each run: use Latest",
    ),
    "a jitter of over a day": (
        {"intervalSeconds": 5, "jitterSeconds": 86401, "task": SUM},
        "spec.jitterSeconds",
        "86400",
    ),
    "a retry that shrinks": (
        {"intervalSeconds": 5, "retry": {"factor": 0.5}, "task": SUM},
        "spec.retry.factor",
        "at least 1 |greater than or equal to 1",
    ),
    "a request to nowhere": (
        {"intervalSeconds": 5, "task": {"http": {"method": "GET"}}},
        "spec.task.http",
        "has neither url nor targetRef: add one",
    ),
    "a request to two places": (
        http(targetRef={"name": "hook"}),
        "spec.task.http",
        "has url and targetRef: keep exactly one of them",
    ),
    "an environment variable that is none": (
        {"intervalSeconds": 5, "task": {"container": {"image": "busybox", "env": [{"name": "1=x"}]}}},
        "spec.task.container.env[0].name",
        "is not a valid environment variable name: use letters, digits, '-', '_' and '.', not a digit first",
    ),
    "a container as root": (
        {"intervalSeconds": 5, "task": {"container": {"image": "busybox", "runAsUser": 0}}},
        "spec.task.container.runAsUser",
        "at least 1 |greater than or equal to 1",
    ),
    "a plugin without a name": (
        {"intervalSeconds": 5, "task": {"plugin": {"parameters": {"a": 1}}}},
        "spec.task.plugin.name",
        "is required: add it",
    ),
    "a header's value of two lines": (
        http(headers={"a": "b\nc"}),
        "spec.task.http.headers",
        "HTTP does not allow|match",
    ),
}


@pytest.mark.parametrize(("spec", "path", "want"), BAD_SPECS.values(), ids=BAD_SPECS)
async def test_a_bad_spec_is_refused_with_the_mend(given: Given, spec: JSONObject, path: str, want: str) -> None:
    """The error names the field and says what to write instead."""
    with pytest.raises(RefusedError) as refused:
        await given.store.create(given.namespace, task("bad", **spec))
    problems = [p for p in refused.value.problems if p.path.startswith(path)]
    assert problems, [str(p) for p in refused.value.problems]
    assert any(re.search(want, p.message) for p in problems), [str(p) for p in problems]
    assert await given.store.list(given.namespace) == []


async def test_a_missing_spec_is_refused(given: Given) -> None:
    """An object without a spec is refused."""
    body = task("bad")
    del body["spec"]
    with pytest.raises(RefusedError) as refused:
        await given.store.create(given.namespace, body)
    assert [str(p) for p in refused.value.problems] == ["spec: is required: add it"]


async def test_a_patch_to_a_bad_spec_is_refused(given: Given) -> None:
    """A patch must result in a valid spec."""
    await given.create("backup")
    with pytest.raises(RefusedError, match="keep exactly one"):
        await given.store.patch(given.namespace, "backup", {"spec": {"schedule": "@hourly"}})


@pytest.mark.parametrize(
    ("name", "want"),
    {
        "a" * 53: "must be at most 52 characters long",
        "Upper_Case": "lowercase RFC 1123 subdomain",
    }.items(),
)
async def test_a_bad_name_is_refused_with_the_mend(given: Given, name: str, want: str) -> None:
    """Names have at most 52 characters, so that a Job's name has room for the time of the slot."""
    with pytest.raises(RefusedError) as refused:
        await given.create(name)
    (problem,) = refused.value.problems
    assert problem.path == "metadata.name"
    assert want in problem.message
    assert (await given.create("a" * 52))["metadata"]["name"] == "a" * 52
