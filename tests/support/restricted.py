"""Checks a pod's spec against the Pod Security standard *restricted* and our own additions.

From https://kubernetes.io/docs/concepts/security/pod-security-standards/.
"""

from collections.abc import Iterator, Mapping
from typing import Any

VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}


def violations(spec: Mapping[str, Any], *, read_only: bool = True) -> list[str]:
    """Return the violations of a pod's spec.

    Args:
        spec: The pod's.
        read_only: Whether a root that can be written to, and a missing limit of memory, count too.

    """
    found = [f"has {name}" for name in ("hostNetwork", "hostPID", "hostIPC") if spec.get(name)]
    for volume in spec.get("volumes") or ():
        found += [f"has a volume of kind {kind}" for kind in volume.keys() - {"name"} - VOLUMES]
    pod = spec.get("securityContext") or {}
    if pod.get("runAsUser") == 0:
        found.append("runs as root")
    for container in [*(spec.get("initContainers") or ()), *spec["containers"]]:
        found += [f"{container['name']}: {what}" for what in _of_container(container, pod, read_only=read_only)]
    return found


def _of_container(container: Mapping[str, Any], pod: Mapping[str, Any], *, read_only: bool) -> Iterator[str]:
    own = container.get("securityContext") or {}
    both = {**pod, **own}
    if both.get("runAsNonRoot") is not True or both.get("runAsUser") == 0:
        yield "may run as root"
    if own.get("privileged") or own.get("allowPrivilegeEscalation") is not False:
        yield "may gain privileges"
    capabilities = own.get("capabilities") or {}
    if capabilities.get("drop") != ["ALL"] or set(capabilities.get("add") or ()) - {"NET_BIND_SERVICE"}:
        yield "keeps capabilities"
    if (both.get("seccompProfile") or {}).get("type") not in {"RuntimeDefault", "Localhost"}:
        yield "has no seccomp profile"
    if any(port.get("hostPort") for port in container.get("ports") or ()):
        yield "has a host's port"
    if read_only and own.get("readOnlyRootFilesystem") is not True:
        yield "can write to its root"
    if read_only and "memory" not in ((container.get("resources") or {}).get("limits") or {}):
        yield "has no limit of memory"
