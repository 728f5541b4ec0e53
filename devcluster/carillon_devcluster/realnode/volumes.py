"""Persistent volumes of a real node: folders of its cluster's own, bound by any claim that names no other class.

Nothing provisions volumes here, so some are made beforehand; `node` does it at its start. They are of the type
"local", since a kubelet gives those to a pod's fsGroup, which it does for no hostPath.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from carillon_devcluster.realnode.places import NODE_NAME

if TYPE_CHECKING:
    from carillon_devcluster.realnode.places import Places

CLASS = "local"
COUNT = 8
"""The number of claims in all: a deleted claim does not release its volume."""

CAPACITY = "16Gi"
"""The size a claim may request. It is not enforced."""


def make(places: Places) -> str:
    """Make the folders, and return the class and the volumes for kubectl. Harmless if they are there."""
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
