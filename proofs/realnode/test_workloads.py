"""The parts of a Helm release besides pods and Services work on a real node."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from realnode.pods import HARDENED, await_account
from realnode.release import IMAGES
from support.waiting import until

if TYPE_CHECKING:
    from carillon_devcluster.realnode import RealNode

LABELS = {"app": "kept"}
META = {"name": "kept"}


def test_a_stateful_set_keeps_its_data(node: RealNode, namespace: str) -> None:
    """Its claim without a class gets a volume that its group can write to and that the next pod finds unchanged."""
    script = "echo . >> /data/starts && wc -l < /data/starts && exec sleep 3600"
    create(node, namespace, {**stateful_set(script), "metadata": META})
    until(lambda: logged(node, namespace) == "1", 60, "the first pod has written")
    node.cluster.kubectl("delete", "pod", "kept-0", "--namespace", namespace, "--grace-period=1")
    until(lambda: logged(node, namespace) == "2", 60, "the second pod has found it")


def test_controllers_look_after_budgets_and_scalers(node: RealNode, namespace: str) -> None:
    """A budget counts its pods, and an autoscaler finds its target, although there are no metrics."""
    template = {
        "metadata": {"labels": LABELS},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [{**main("exec sleep 3600"), "resources": {}}]},
    }
    create(
        node,
        namespace,
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": META,
            "spec": {"replicas": 2, "selector": {"matchLabels": LABELS}, "template": template},
        },
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": META,
            "spec": {"minAvailable": 1, "selector": {"matchLabels": LABELS}},
        },
        {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": META,
            "spec": {
                "minReplicas": 2,
                "maxReplicas": 3,
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "kept"},
            },
        },
    )
    until(lambda: value(node, namespace, "pdb", "{.status.disruptionsAllowed}") == "1", 60, "the budget has counted")
    able = "{.status.conditions[?(@.type=='AbleToScale')].status}"
    until(lambda: value(node, namespace, "hpa", able) == "True", 60, "the scaler has found the Deployment")


def stateful_set(script: str) -> dict[str, Any]:
    """Return a StatefulSet of one pod with a volume at /data."""
    container = {**main(script), "volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    pod = {
        "terminationGracePeriodSeconds": 1,
        "securityContext": {"fsGroup": 65532},
        "containers": [container],
    }
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "8Gi"}}}
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "spec": {
            "serviceName": "kept",
            "selector": {"matchLabels": LABELS},
            "template": {"metadata": {"labels": LABELS}, "spec": pod},
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": claim}],
        },
    }


def main(script: str) -> dict[str, Any]:
    """Return a hardened container that runs a shell script."""
    return {
        "name": "main",
        "image": IMAGES["runner"],
        "command": ["sh", "-c", script],
        "securityContext": HARDENED,
    }


def create(node: RealNode, namespace: str, *objects: dict[str, Any]) -> None:
    """Create objects once the namespace accepts pods."""
    await_account(node, namespace)
    listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
    node.cluster.kubectl("create", "--namespace", namespace, "--filename", "-", stdin=listed)


def logged(node: RealNode, namespace: str) -> str:
    """Return the output of the StatefulSet's pod, or nothing if there is no pod."""
    return node.cluster.kubectl("logs", "kept-0", "--namespace", namespace, check=False).strip()


def value(node: RealNode, namespace: str, kind: str, path: str) -> str:
    """Return a value of an object."""
    return node.cluster.kubectl("get", kind, "kept", "--namespace", namespace, f"--output=jsonpath={path}")
