"""``carillon export``: the tasks and targets of a cluster as a file. ``importing`` reads the file again."""

import json
from collections.abc import Mapping
from typing import Any

from carillon_cli.kubectl import Cluster
from carillon_cli.yaml_text import yaml_text
from carillon_core.resources.names import (
    ANNOTATION_APPLIED,
    API_VERSION,
    GROUP,
    KIND,
    KIND_TARGET,
    PLURAL,
    PLURAL_TARGETS,
)

KINDS = {KIND_TARGET: PLURAL_TARGETS, KIND: PLURAL}
"""In the order in which they are written: targets before the tasks that use them."""
KEPT = ("name", "namespace", "labels", "annotations")


def exported(cluster: Cluster, namespace: str | None, selector: str | None) -> str:
    """Return the tasks and targets of a namespace, or of all, as YAML that can be applied or imported.

    Each object has its name, labels, annotations and spec, without a status or anything the cluster added. The order is
    fixed, so that two exports differ only where the objects do.
    """
    scope = ["--all-namespaces"] if namespace is None else [f"--namespace={namespace}"]
    chosen = [] if selector is None else [f"--selector={selector}"]
    kinds = ",".join(f"{plural}.{GROUP}" for plural in KINDS.values())
    items = json.loads(cluster.kubectl("get", kinds, *scope, *chosen, "--output=json")).get("items") or []
    order = list(KINDS)
    items.sort(key=lambda raw: (order.index(raw["kind"]), raw["metadata"]["namespace"], raw["metadata"]["name"]))
    return yaml_text([portable(raw) for raw in items])


def portable(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object without a status and what the cluster has added."""
    metadata = {key: raw["metadata"][key] for key in KEPT if raw["metadata"].get(key)}
    annotations = {key: value for key, value in metadata.pop("annotations", {}).items() if key != ANNOTATION_APPLIED}
    if annotations:
        metadata["annotations"] = annotations
    return {"apiVersion": API_VERSION, "kind": raw["kind"], "metadata": metadata, "spec": raw.get("spec")}
