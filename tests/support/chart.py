"""The chart as Helm renders it: objects, pods and containers for each set of values."""

from functools import cache
from typing import Any

import pytest

from carillon_chart.programs import CASES, pod_spec, rendered, values_of

every_case = pytest.mark.parametrize("case", CASES)
Object = dict[str, Any]


@cache
def objects(case: str) -> tuple[Object, ...]:
    """Return the objects for a set of values."""
    return tuple(rendered("--values", str(values_of(case))))


def of_kind(case: str, kind: str) -> dict[str, Object]:
    """Return the objects of one kind, by name."""
    return {o["metadata"]["name"]: o for o in objects(case) if o["kind"] == kind}


def pods(case: str) -> dict[str, Object]:
    """Return the specs of all pods, by kind and name of the owner."""
    found = {f"{o['kind']} {o['metadata']['name']}": pod_spec(o) for o in objects(case)}
    return {name: spec for name, spec in found.items() if spec is not None}


def containers(case: str) -> dict[str, Object]:
    """Return all containers and init containers, by pod and name."""
    return {
        f"{name}/{container['name']}": container
        for name, spec in pods(case).items()
        for container in (*(spec.get("initContainers") or ()), *spec["containers"])
    }
