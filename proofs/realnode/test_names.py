"""The cluster's DNS as pods see it: Services resolve, and unknown names do not exist."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from realnode.pods import HARDENED, await_account, run
from realnode.release import IMAGES
from support.waiting import until

if TYPE_CHECKING:
    from carillon_devcluster.realnode import RealNode

PYTHON = "/opt/carillon/bin/python"
RESOLVE = """\
import socket, sys
for name in sys.argv[1:]:
    try:
        found = sorted({entry[4][0] for entry in socket.getaddrinfo(name, None, socket.AF_INET)})
    except socket.gaierror as error:
        found = [{socket.EAI_NONAME: "NXDOMAIN", socket.EAI_AGAIN: "no answer"}.get(error.errno, str(error))]
    print(name, *found)
"""


def test_services_are_found_by_every_form_of_their_name(node: RealNode, namespace: str) -> None:
    """A short name refers to the pod's namespace; a headless Service resolves to its pods."""
    serve(node, namespace)
    address, pod = addresses(node, namespace)
    want = {
        "kubernetes.default.svc": "10.0.0.1",
        "kubernetes.default.svc.cluster.local.": "10.0.0.1",
        "web": address,
        f"web.{namespace}": address,
        "pods": pod,
        "first.pods": pod,
    }
    assert resolve(node, namespace, *want) == want


def test_a_service_is_reached_by_its_name(node: RealNode, namespace: str) -> None:
    """The name resolves to the Service's address, which kube-proxy routes to another pod."""
    serve(node, namespace)
    # kube-proxy writes its rules once a second; until then connections are refused and the pod restarts
    fetch = "import urllib.request; print(urllib.request.urlopen('http://web/answer', timeout=10).read().decode())"
    container = {"name": "main", "image": IMAGES["runner"], "command": [PYTHON, "-c", fetch]}
    ended = run(node, namespace, {**container, "securityContext": HARDENED}, restartPolicy="OnFailure")
    assert (ended["exitCode"], logged(node, namespace)) == (0, "it is me")


def test_a_name_that_nothing_has_does_not_exist(node: RealNode, namespace: str) -> None:
    """The answer is NXDOMAIN, not a time-out of the resolver."""
    names = (f"nothing.{namespace}.svc.cluster.local.", "kubernetes.nowhere.svc.cluster.local.")
    assert resolve(node, namespace, *names) == dict.fromkeys(names, "NXDOMAIN")


def serve(node: RealNode, namespace: str) -> None:
    """Run a web server in a pod with a Service and a headless Service."""
    script = "mkdir /tmp/web && echo -n it is me > /tmp/web/answer && cd /tmp/web && exec "
    container: dict[str, Any] = {
        "name": "main",
        "image": IMAGES["runner"],
        "command": ["sh", "-c", f"{script} {PYTHON} -m http.server 8000"],
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108  # the container's own
        "readinessProbe": {"tcpSocket": {"port": 8000}, "periodSeconds": 1},
        "securityContext": HARDENED,
    }
    spec = {
        "hostname": "first",
        "subdomain": "pods",
        "containers": [container],
        "volumes": [{"name": "tmp", "emptyDir": {}}],
    }
    labels = {"app": "web"}
    port = {"port": 80, "targetPort": 8000}
    objects = [
        {"kind": "Pod", "metadata": {"name": "web", "labels": labels}, "spec": spec},
        {"kind": "Service", "metadata": {"name": "web"}, "spec": {"selector": labels, "ports": [port]}},
        {
            "kind": "Service",
            "metadata": {"name": "pods"},
            "spec": {"selector": labels, "ports": [port], "clusterIP": "None"},
        },
    ]
    items = [{"apiVersion": "v1", **item} for item in objects]
    await_account(node, namespace)
    listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    node.cluster.kubectl("create", "--namespace", namespace, "--filename", "-", stdin=listed)
    ready = ("get", "endpointslices", "--namespace", namespace, "--output=jsonpath={..conditions.ready}")
    until(lambda: node.cluster.kubectl(*ready).split() == ["true", "true"], 60, "both Services have the pod")


def addresses(node: RealNode, namespace: str) -> tuple[str, str]:
    """Return the addresses of the Service and the pod."""
    get = ("get", "--namespace", namespace, "--output")
    return (
        node.cluster.kubectl(*get, "jsonpath={.spec.clusterIP}", "service", "web"),
        node.cluster.kubectl(*get, "jsonpath={.status.podIP}", "pod", "web"),
    )


def resolve(node: RealNode, namespace: str, *names: str) -> dict[str, str]:
    """Resolve names in a pod; return each with its address or error."""
    container = {"name": "main", "image": IMAGES["runner"], "command": [PYTHON, "-c", RESOLVE, *names]}
    run(node, namespace, {**container, "securityContext": HARDENED})
    return dict(line.split(" ", 1) for line in logged(node, namespace).splitlines())


def logged(node: RealNode, namespace: str) -> str:
    """Return the output of the test's pod."""
    return node.cluster.kubectl("logs", "once", "--namespace", namespace).strip()
