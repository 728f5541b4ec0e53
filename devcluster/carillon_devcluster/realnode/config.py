"""The configuration of the node's programs. All other settings have their defaults."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from typing import TYPE_CHECKING

from carillon_devcluster.realnode import dns
from carillon_devcluster.realnode.build import CNI_PLUGINS
from carillon_devcluster.realnode.network import ADDRESS, SUBNET
from carillon_devcluster.realnode.places import NODE_NAME, PAUSE_IMAGE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from carillon_devcluster.realnode.build import Programs
    from carillon_devcluster.realnode.places import Places

PORTS = ("kubelet", "kube-proxy-health", "kube-proxy-metrics")
CONTAINERD = """\
version = 4
root = '{folder}/containerd'
state = '{folder}/containerd-run'
imports = []
disabled_plugins = ['io.containerd.nri.v1.nri', 'io.containerd.image-verifier.v1.bindir']

[plugins.'io.containerd.server.v1.grpc']
address = '{run}/containerd.sock'

[plugins.'io.containerd.server.v1.ttrpc']
address = '{run}/containerd.sock.ttrpc'

[plugins.'io.containerd.shim.v1.manager']
socket_dir = '{run}'

[plugins.'io.containerd.internal.v1.opt']
path = '{folder}/opt'

[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = '{pause}'

[plugins.'io.containerd.cri.v1.runtime']
# A container cannot lower its score without CAP_SYS_RESOURCE, which a containerized machine may not have.
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true
cdi_spec_dirs = []

[plugins.'io.containerd.cri.v1.runtime'.cni]
bin_dirs = ['{plugins}']
conf_dir = '{folder}/cni'
use_internal_loopback = true

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
runtime_type = 'io.containerd.runc.v2'

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
BinaryName = '{runc}'
Root = '{run}/runc'
SystemdCgroup = false
"""


def write(places: Places, programs: Programs, ports: Mapping[str, int]) -> None:
    """Write every configuration file into the node's folder."""
    (places.folder / "cni").mkdir(parents=True, exist_ok=True)
    places.run.mkdir(parents=True, exist_ok=True, mode=0o711)
    (places.folder / "containerd.toml").write_text(
        CONTAINERD.format(
            folder=places.folder,
            run=places.run,
            pause=PAUSE_IMAGE,
            plugins=CNI_PLUGINS,
            runc=programs.path("runc"),
        )
    )
    (places.folder / "cni" / "10-carillon.conflist").write_text(json.dumps(cni(places), indent=2))
    (places.folder / "kubelet.json").write_text(json.dumps(kubelet(places, ports), indent=2))
    # an unreachable one would delay every first query by six seconds
    answering = [address for address in dns.resolvers() if dns.responds(address)]
    names = dns.corefile(places.files.kubeconfig_of("coredns"), answering)
    (places.folder / "Corefile").write_text(names)


def cni(places: Places) -> dict[str, object]:
    """Return the pod network: a veth for each pod on the bridge, which already has its address."""
    bridge = {
        "type": "bridge",
        "bridge": places.bridge,
        "isGateway": True,
        "hairpinMode": True,
        # our own nftables table does the masquerading; it can be removed as a whole
        "ipMasq": False,
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": SUBNET}]],
            "routes": [{"dst": "0.0.0.0/0"}],
            "dataDir": str(places.folder / "addresses"),
        },
    }
    return {"cniVersion": "1.0.0", "name": places.network, "plugins": [bridge]}


def kubelet(places: Places, ports: Mapping[str, int]) -> dict[str, object]:
    """Return the kubelet's configuration."""
    files = places.files
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": ADDRESS,
        "port": ports["kubelet"],
        "readOnlyPort": 0,
        "healthzPort": 0,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": False},
            "x509": {"clientCAFile": str(files.certificate("ca"))},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(files.certificate("kubelet")),
        "tlsPrivateKeyFile": str(files.key("kubelet")),
        "containerRuntimeEndpoint": f"unix://{places.socket}",
        "clusterDNS": [ADDRESS],
        "clusterDomain": dns.DOMAIN,
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{places.cgroup}",
        "failCgroupV1": False,
        "enforceNodeAllocatable": [],
        "failSwapOn": False,
        "oomScoreAdj": 0,
        "makeIPTablesUtilChains": False,
        "podLogsDir": str(places.folder / "logs"),
        "volumePluginDir": str(places.folder / "volume-plugins"),
        "serializeImagePulls": False,
        # loaded images cannot be pulled again
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "shutdownGracePeriod": "0s",
    }


def arguments(part: str, places: Places, ports: Mapping[str, int]) -> list[str]:
    """Return the arguments of one of the node's daemons."""
    files = places.files
    return {
        "containerd": [f"--config={places.folder / 'containerd.toml'}", "--log-level=info"],
        "coredns": ["coredns", f"--conf={places.folder / 'Corefile'}"],
        "kubelet": [
            "kubelet",
            f"--config={places.folder / 'kubelet.json'}",
            f"--kubeconfig={files.kubeconfig_of('kubelet')}",
            f"--root-dir={places.folder / 'kubelet'}",
            f"--cert-dir={places.folder / 'kubelet-pki'}",
            f"--hostname-override={NODE_NAME}",
            f"--node-ip={ADDRESS}",
        ],
        "kube-proxy": [
            "kube-proxy",
            f"--kubeconfig={files.kubeconfig_of('kube-proxy')}",
            "--proxy-mode=nftables",
            f"--cluster-cidr={SUBNET}",
            f"--hostname-override={NODE_NAME}",
            f"--bind-address={ADDRESS}",
            # keep the kernel's limits: they are the machine's, not the node's
            "--conntrack-max-per-core=0",
            "--conntrack-tcp-timeout-established=0s",
            "--conntrack-tcp-timeout-close-wait=0s",
            "--oom-score-adj=0",
            f"--healthz-bind-address={ADDRESS}:{ports['kube-proxy-health']}",
            f"--metrics-bind-address={ADDRESS}:{ports['kube-proxy-metrics']}",
        ],
    }[part]


def write_pause_image(program: Path, target: Path) -> None:
    """Write an image with one file, the program that holds a pod's namespaces, in Docker's archive format."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as files:
        _add(files, "pause", program.read_bytes(), mode=0o755)
    content = layer.getvalue()
    configuration = {
        "architecture": "arm64" if program.read_bytes()[18:20] == b"\xb7\x00" else "amd64",
        "os": "linux",
        "config": {"Entrypoint": ["/pause"], "User": "65535:65535"},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(content).hexdigest()}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [PAUSE_IMAGE], "Layers": ["layer.tar"]}]
    with tarfile.open(target, mode="w") as archive:
        _add(archive, "layer.tar", content)
        _add(archive, "config.json", json.dumps(configuration).encode())
        _add(archive, "manifest.json", json.dumps(manifest).encode())


def _add(archive: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), mode
    archive.addfile(member, io.BytesIO(content))
