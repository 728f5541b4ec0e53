"""The real Kueue, built from its module and run as a process, with its own CRDs and webhooks."""

from __future__ import annotations

import base64
import functools
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import yaml

from carillon_devcluster.go_tools import GoTool, built
from carillon_devcluster.layout import Root
from carillon_devcluster.toolchain import environment, find_or_install
from carillon_local.layout import STATE
from support.certificates import LOOPBACK, make_certificates
from support.ports import own_port
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.stack import Stack

KUEUE = GoTool("kueue", "sigs.k8s.io/kueue/cmd/kueue", Path(__file__).parents[2] / "proofs" / "kueue" / "module")
GROUP = "kueue.x-k8s.io/v1beta2"
HOOKS = ("batch-v1-job", "kueue-x-k8s-io")
"""Parts of the paths of the webhooks for Jobs and Kueue's own objects."""

ELSEWHERE = (
    *("unshare", "--user", "--map-root-user", "--mount", "sh", "-euc"),
    'mount -t tmpfs none /etc && mkdir -p /etc/kueue/metrics && ln -s "$0" /etc/kueue/metrics/certs && exec "$@"',
)
"""Runs it where it finds a certificate at the one path at which it looks for that of its metrics, which nobody asks."""


class Kueue:
    """Kueue's controllers, and the queues that tests create."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        """Take the cluster, and the folder of its certificates and its log."""
        self._stack = stack
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._webhook, self._health = own_port(), own_port()

    def start(self) -> None:
        """Build it, install its objects, and wait until its webhooks respond."""
        program = built(KUEUE, Root(STATE), print)
        made = make_certificates(self._folder)
        shutil.copy(made.cert, self._folder / "tls.crt")
        shutil.copy(made.key, self._folder / "tls.key")
        authority = base64.b64encode(made.ca.read_bytes()).decode()
        manifests = module_folder() / "config" / "components"
        self._create(list(_crds(manifests / "crd", self._client(authority, "/convert"))))
        until(self._are_served, 60, "Kueue's kinds are served", 0.2)
        with (self._folder / "log").open("wb") as log:
            command = [str(program), "--config", str(self._config()), "--feature-gates=VisibilityOnDemand=false"]
            self._process = subprocess.Popen(
                [*ELSEWHERE, str(self._folder), *command],
                env={"KUBECONFIG": str(self._stack.cluster.kubeconfig), "HOME": str(self._folder)},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        until(self._is_ready, 60, "Kueue is ready", 0.2)
        self._create([self._with_urls(each, authority) for each in _webhooks(manifests)])

    def stop(self) -> None:
        """Stop it."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(60)

    def queue(self, namespace: str, name: str, *, cpu: str) -> str:
        """Create a LocalQueue with its own ClusterQueue and this much CPU; return the latter's name."""
        cluster_queue = f"{namespace}-{name}"
        self.create({"kind": "ResourceFlavor", "metadata": {"name": "any"}})
        self.create(
            {
                "kind": "ClusterQueue",
                "metadata": {"name": cluster_queue},
                "spec": {"namespaceSelector": {}, "resourceGroups": _groups(cpu)},
            }
        )
        self.create(
            {
                "kind": "LocalQueue",
                "metadata": {"name": name, "namespace": namespace},
                "spec": {"clusterQueue": cluster_queue},
            }
        )
        return cluster_queue

    def change(self, cluster_queue: str, **spec: Any) -> None:
        """Change a ClusterQueue: ``cpu`` is its quota, other arguments are fields of its spec."""
        changed = {"resourceGroups": _groups(spec.pop("cpu"))} if "cpu" in spec else {}
        patch = json.dumps({"spec": changed | spec})
        self._stack.kubectl(
            "patch", f"clusterqueue.{GROUP.partition('/')[0]}", cluster_queue, "--type=merge", "-p", patch
        )

    def workloads(self, namespace: str) -> list[dict[str, Any]]:
        """Return Kueue's workloads for the Jobs of a namespace."""
        items: list[dict[str, Any]] = self._stack.get(f"/apis/{GROUP}/namespaces/{namespace}/workloads")["items"]
        return items

    def create(self, item: dict[str, Any]) -> None:
        """Create or replace one of Kueue's objects."""
        self._create([{"apiVersion": GROUP, **item}])

    def _create(self, items: list[dict[str, Any]]) -> None:
        listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
        self._stack.kubectl("apply", "--server-side", "--filename", "-", stdin=listed)

    def _are_served(self) -> bool:
        kinds = {each["name"] for each in (self._stack.get(f"/apis/{GROUP}") or {"resources": []})["resources"]}
        return kinds >= {"workloads", "localqueues", "clusterqueues", "resourceflavors", "cohorts", "topologies"}

    def _is_ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._folder / "log").read_text()[-2000:]
        try:
            return httpx.get(f"http://{LOOPBACK}:{self._health}/readyz", trust_env=False).is_success
        except httpx.HTTPError:
            return False

    def _config(self) -> Path:
        config = {
            "apiVersion": "config.kueue.x-k8s.io/v1beta2",
            "kind": "Configuration",
            "health": {"healthProbeBindAddress": f"{LOOPBACK}:{self._health}"},
            "metrics": {"bindAddress": "0"},
            "webhook": {"host": LOOPBACK, "port": self._webhook, "certDir": str(self._folder)},
            "leaderElection": {"leaderElect": False},
            "internalCertManagement": {"enable": False},
            "integrations": {"frameworks": ["batch/job"]},
        }
        file = self._folder / "config.yaml"
        file.write_text(yaml.safe_dump(config))
        return file

    def _client(self, authority: str, path: str) -> dict[str, str]:
        """Return the client configuration of one of its webhooks."""
        return {"url": f"https://{LOOPBACK}:{self._webhook}{path}", "caBundle": authority}

    def _with_urls(self, configuration: dict[str, Any], authority: str) -> dict[str, Any]:
        hooks = [each for each in configuration["webhooks"] if any(w in _path(each) for w in HOOKS)]
        return {
            **configuration,
            "webhooks": [{**each, "clientConfig": self._client(authority, _path(each))} for each in hooks],
        }


@functools.cache
def module_folder() -> Path:
    """Return the folder of Kueue's sources with its manifests."""
    go = find_or_install(Root(STATE), print)
    command = [str(go), "mod", "download", "-json", "sigs.k8s.io/kueue"]
    found = subprocess.run(
        command, cwd=KUEUE.module, env=environment(go, os.environ), check=True, capture_output=True, text=True
    )
    return Path(json.loads(found.stdout)["Dir"])


def _crds(folder: Path, client: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Yield Kueue's CRDs; it is to convert those kinds itself that its own installation has it convert."""
    patches = yaml.safe_load((folder / "kustomization.yaml").read_text())["patches"]
    converted = {yaml.safe_load((folder / each["path"]).read_text())["metadata"]["name"] for each in patches}
    webhook = {"clientConfig": client, "conversionReviewVersions": ["v1"]}
    for file in sorted((folder / "bases").glob("*.yaml")):
        crd: dict[str, Any] = yaml.safe_load(file.read_text())
        if crd["metadata"]["name"] in converted:
            crd["spec"]["conversion"] = {"strategy": "Webhook", "webhook": webhook}
        yield crd


def _webhooks(manifests: Path) -> Iterator[dict[str, Any]]:
    yield from yaml.safe_load_all((manifests / "webhook" / "manifests.yaml").read_text())


def _path(hook: dict[str, Any]) -> str:
    found: str = hook["clientConfig"]["service"]["path"]
    return found


def _groups(cpu: str) -> list[dict[str, Any]]:
    quotas = [{"name": "cpu", "nominalQuota": cpu}, {"name": "memory", "nominalQuota": "4Gi"}]
    return [{"coveredResources": ["cpu", "memory"], "flavors": [{"name": "any", "resources": quotas}]}]
