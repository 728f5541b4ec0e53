"""Our images run without privileges on a read-only root file system, which only a real node can show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from realnode.pods import HARDENED, run
from realnode.release import IMAGES

if TYPE_CHECKING:
    from carillon_devcluster.realnode import RealNode


@pytest.mark.parametrize(
    ("image", "command", "want"),
    [
        pytest.param("runner", [], "CARILLON_TASK is not set", id="the runner"),
        pytest.param("operator", [], "DATABASE_URL: must be set to", id="the operator, the image's default"),
        pytest.param("operator", ["carillon-api"], "DATABASE_URL: must be set to", id="the API"),
        pytest.param("operator", ["carillon-recorder"], "DATABASE_URL: must be set to", id="the recorder"),
        pytest.param("operator", ["carillon-migrate", "current"], "DATABASE_URL", id="the migrations"),
    ],
)
def test_a_program_without_settings_says_which_is_missing(
    node: RealNode, namespace: str, image: str, command: list[str], want: str
) -> None:
    """With all of Kubernetes' hardening, each program starts, says which setting it lacks and exits with 2."""
    container: dict[str, Any] = {"name": "main", "image": IMAGES[image], "securityContext": HARDENED}
    if command:
        container["command"] = command
    ended = run(node, namespace, container)
    assert (ended["exitCode"], want in node.cluster.kubectl("logs", "once", "--namespace", namespace)) == (2, True)


def test_a_pod_reaches_the_api_server_by_its_service(node: RealNode, namespace: str) -> None:
    """The pod has the cluster's certificate, and kube-proxy routes the Service to the API server."""
    script = (
        "import os, ssl, urllib.request\n"
        "context = ssl.create_default_context(cafile='/var/run/secrets/kubernetes.io/serviceaccount/ca.crt')\n"
        "url = f\"https://{os.environ['KUBERNETES_SERVICE_HOST']}/version\"\n"
        "print(os.getuid(), urllib.request.urlopen(url, context=context, timeout=20).status)\n"
    )
    command = ["/opt/carillon/bin/python", "-c", script]
    ended = run(
        node,
        namespace,
        {"name": "main", "image": IMAGES["runner"], "command": command, "securityContext": HARDENED},
    )
    logged = node.cluster.kubectl("logs", "once", "--namespace", namespace)
    assert (ended["exitCode"], logged.strip()) == (0, "65532 200")


def test_a_container_that_takes_more_than_its_limit_is_killed(node: RealNode, namespace: str) -> None:
    """The kernel kills a program that exceeds its memory limit, and the status says so."""
    container = {
        "name": "main",
        "image": IMAGES["runner"],
        "command": ["/opt/carillon/bin/python", "-c", "bytearray(256 << 20)"],
        "resources": {"limits": {"memory": "64Mi"}},
    }
    assert run(node, namespace, container)["reason"] == "OOMKilled"
