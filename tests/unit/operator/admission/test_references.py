"""What the webhook says of objects that a spec names."""

from collections.abc import Sequence
from typing import Any

import pytest

from carillon_operator.admission.references import MOST_SECRETS, References
from support.operator import Operator, operator

__all__ = ["operator"]
CALL: dict[str, Any] = {"http": {"targetRef": {"name": "crm"}}}
URL = {"url": "https://example.com/"}


async def told(
    operator: Operator, kind: str, spec: dict[str, Any], old: Any = None, *, may_read_secrets: bool = True
) -> Sequence[str]:
    """Return the warnings about an object named x."""
    cluster = operator.cluster
    references = References(cluster.get_object, cluster.secret_labels if may_read_secrets else None)
    new = {"metadata": {"namespace": "default", "name": "x"}, "spec": spec}
    return await references.warnings(kind, new, old and {"spec": old})


@pytest.mark.parametrize(("kind", "more"), [("ScheduledTask", {"intervalSeconds": 60}), ("RunRequest", {})])
async def test_a_target_that_does_not_exist_is_a_warning(operator: Operator, kind: str, more: dict[str, Any]) -> None:
    """It may be created later; a change that leaves the spec is not judged."""
    spec = {**more, "task": CALL}
    missing = "x: spec.task.http.targetRef: HTTPTarget crm does not exist in default: create it, or correct the name"
    assert await told(operator, kind, spec) == [missing]
    assert await told(operator, kind, spec, old=spec) == ()
    operator.cluster.put_object("HTTPTarget", "default", "crm", URL)
    assert await told(operator, kind, spec) == []
    assert await told(operator, kind, {**more, "task": {"counter": {}}}) == []


async def test_a_secret_that_cannot_be_used_is_a_warning(operator: Operator) -> None:
    """Once for each Secret, at its first reference; without the permission to read Secrets, nothing is said."""
    header = {"name": "A", "secretKeyRef": {"name": "keys", "key": "a"}}
    spec: dict[str, Any] = {**URL, "headers": [header, {**header, "name": "B"}]}
    spec |= {"signing": {"secretKeyRefs": [{"name": "signing", "key": "k"}]}}
    missing = "x: spec.headers[0].secretKeyRef: Secret keys does not exist in default: create it, or correct the name"
    operator.cluster.secret_marks["default", "signing"] = {"carillon.dev/http-target": "true"}
    assert await told(operator, "HTTPTarget", spec) == [missing]
    operator.cluster.secret_marks["default", "keys"] = {}
    (unlabelled,) = await told(operator, "HTTPTarget", spec)
    assert unlabelled.startswith("x: spec.headers[0].secretKeyRef: Secret keys lacks the label that permits its use")
    assert await told(operator, "HTTPTarget", spec, may_read_secrets=False) == []


async def test_a_target_with_many_secrets_costs_a_bounded_number_of_calls(operator: Operator) -> None:
    """The webhook's time is short."""
    headers = [{"name": f"H{k}", "secretKeyRef": {"name": f"s{k}", "key": "a"}} for k in range(64)]
    assert len(await told(operator, "HTTPTarget", {**URL, "headers": headers})) == MOST_SECRETS


async def test_an_unavailable_api_server_is_no_reason_to_refuse_or_warn(operator: Operator) -> None:
    """The look-up is a courtesy."""
    operator.cluster.outage = "connection refused"
    assert await told(operator, "RunRequest", {"task": CALL}) == ()
