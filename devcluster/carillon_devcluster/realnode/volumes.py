"""Persistent volumes of a real node: folders of its cluster, for all claims that name no other class.

There is no provisioner, so `node` creates some volumes at its start. Their type is "local", because the kubelet
applies a pod's fsGroup to it, but not to hostPath.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from carillon_devcluster.realnode.places import NODE_NAME

if TYPE_CHECKING:
    from carillon_devcluster.realnode.places import Places

CLASS = "local"
COUNT = 8
"""The total number of claims: a deleted claim does not release its volume."""

CAPACITY = "16Gi"
"""The size a claim may request. It is not enforced."""


def make(places: Places) -> str:
    """Create the folders, and return the class and the volumes for kubectl. Idempotent."""
    items: list[dict[str, object]] = [
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": CLASS, "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
            "provisioner": "kubernetes.io/no-provisioner",
            "volumeBindingMode": "WaitForFirstConsumer",
            "reclaimPolicy": "Retain",
        }
    ]
    here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [NODE_NAME]}
    for number in range(COUNT):
        folder = places.volumes / str(number)
        folder.mkdir(parents=True, exist_ok=True)
        spec = {
            "capacity": {"storage": CAPACITY},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": CLASS,
            "local": {"path": str(folder)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
        }
        metadata = {"name": f"{CLASS}-{number}"}
        items.append({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": metadata, "spec": spec})
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
