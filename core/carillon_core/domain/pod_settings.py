"""Merges the operator's default pod settings with a task's own. Pure."""

from collections.abc import Mapping
from typing import Any

from carillon_core.resources.containers import ContainerResources
from carillon_core.resources.pods import PodSettings

RUNNER_RESOURCES = ContainerResources(requests={"cpu": "10m", "memory": "48Mi"}, limits={"memory": "256Mi"})
"""The resources of runners for which neither the operator's defaults nor the task set any."""


def merged(default: PodSettings, own: PodSettings) -> PodSettings:
    """Return the settings of a pod: the task's fields win; lists are joined, the default's items first."""
    tolerations = [*default.tolerations, *(each for each in own.tolerations if each not in default.tolerations)]
    secrets = [*default.image_pull_secrets, *(s for s in own.image_pull_secrets if s not in default.image_pull_secrets)]
    return PodSettings(
        node_selector={**default.node_selector, **own.node_selector},
        tolerations=tolerations,
        priority_class_name=own.priority_class_name or default.priority_class_name,
        service_account_name=own.service_account_name or default.service_account_name,
        image_pull_secrets=secrets,
        resources=joined(default.resources, own.resources),
    )


def joined(default: ContainerResources, own: ContainerResources) -> ContainerResources:
    """Return the default resources with each entry of the own resources replacing the default's."""
    return ContainerResources(requests={**default.requests, **own.requests}, limits={**default.limits, **own.limits})


def pod_fields(settings: PodSettings) -> Mapping[str, Any]:
    """Return the settings as fields of a pod's spec, without the resources, which belong to the container."""
    given = settings.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"resources"})
    return {name: value for name, value in given.items() if value}


def resources_field(resources: ContainerResources) -> dict[str, dict[str, str]]:
    """Return resources as a field of a container, without empty parts."""
    both = {"requests": dict(resources.requests), "limits": dict(resources.limits)}
    return {name: part for name, part in both.items() if part}
