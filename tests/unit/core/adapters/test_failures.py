"""The errors that the API server's 403 stands for."""

import json

import pytest

from carillon_core.adapters.kube.failures import failure
from carillon_core.errors import CarillonError, ForbiddenError, RefusedError

OURS = (
    'admission webhook "httptargets.admission.carillon.dev" denied the request: spec.headers[0].secretKeyRef:'
    ' user "jane" needs the permission to get secrets "keys" in namespace "team-a"'
)
RBAC = 'jobs.batch is forbidden: User "jane" cannot create resource "jobs" in API group "batch"'
QUOTA = 'scheduledtasks.carillon.dev "a" is forbidden: exceeded quota: q'
OTHERS = 'admission webhook "policy.example.com" denied the request: not on a Friday'


@pytest.mark.parametrize(
    ("message", "want"),
    [(OURS, ForbiddenError), (RBAC, ForbiddenError), (QUOTA, RefusedError), (OTHERS, RefusedError)],
    ids=["our webhook", "RBAC", "a quota", "another webhook"],
)
def test_a_missing_permission_is_told_from_a_refusal(message: str, want: type[CarillonError]) -> None:
    """Our own webhook answers 403 only if the author lacks a permission."""
    body = {"kind": "Status", "status": "Failure", "message": message, "reason": "Forbidden", "code": 403}
    error = failure(403, json.dumps(body).encode(), "POST /apis")
    assert type(error) is want
    assert message in str(error)
