"""What a real node is told and where it keeps its things. Nothing is built or started: `make e2e` does."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from carillon_devcluster import ClusterError, build, parts
from carillon_devcluster.layout import Root
from carillon_devcluster.realnode import config, leftovers, network
from carillon_devcluster.realnode.build import CNI_PLUGINS, MODULE, check_machine
from carillon_devcluster.realnode.places import PAUSE_IMAGE, Places

PORTS = {name: 40_000 + number for number, name in enumerate((*parts.PORTS, *config.PORTS))}


@pytest.fixture
def places(tmp_path: Path) -> Places:
    """Return the places of a node whose state root has a long path."""
    return Places(Root(tmp_path / ("long" * 20)).cluster("x"))


def test_the_control_plane_listens_where_pods_reach_it(places: Places) -> None:
    """At the bridge's address, by a certificate that names it, as the endpoint of its service."""
    place = parts.Place(address=network.ADDRESS, certificate="apiserver-bridge", process_node=False)
    flags = parts.arguments("kube-apiserver", places.files, PORTS, {}, place)
    assert {f"--bind-address={network.ADDRESS}", f"--advertise-address={network.ADDRESS}"} <= set(flags)
    assert f"--tls-cert-file={places.files.certificate('apiserver-bridge')}" in flags
    assert "--endpoint-reconciler-type=lease" in flags
    assert "node" not in place.parts


def test_without_a_real_node_the_control_plane_is_as_before(places: Places) -> None:
    """On loopback alone, with the node of processes."""
    flags = parts.arguments("kube-apiserver", places.files, PORTS, {})
    assert {"--bind-address=127.0.0.1", "--endpoint-reconciler-type=none"} <= set(flags)
    assert parts.ON_LOOPBACK.parts == parts.PARTS


def test_what_only_a_real_node_needs_is_no_source_of_the_others_program() -> None:
    """A change of the node's module must not have everyone build the control plane again."""
    assert not [path for path in build.sources() if MODULE in path.parents]
    assert (MODULE / "go.mod").exists()


def test_a_socket_has_a_short_path_wherever_the_state_is(places: Places) -> None:
    """A shim's socket is a folder and 64 characters; a socket's path has 107 at most."""
    assert len(str(places.run / ("f" * 64))) <= 107
    assert len(places.bridge) <= 15


def test_two_clusters_share_no_name(tmp_path: Path) -> None:
    """Bridge, cgroup, network and sockets are named for the cluster's folder."""
    one, other = (Places(Root(tmp_path).cluster(name)) for name in ("one", "other"))
    for name in ("bridge", "cgroup", "network", "run"):
        assert getattr(one, name) != getattr(other, name)


def test_the_node_keeps_what_it_can_below_its_folder(places: Places) -> None:
    """No daemon of the machine's is met, and one folder goes when the node stops."""
    text = config.CONTAINERD.format(
        folder=places.folder, run=places.run, pause=PAUSE_IMAGE, plugins=CNI_PLUGINS, runc="/x/runc"
    )
    told = [line.split("'")[1] for line in text.splitlines() if line.startswith(("root", "state", "address", "Root"))]
    assert len(told) == 5
    assert all(path.startswith((f"{places.folder}/", f"{places.run}/")) for path in told)
    kubelet = config.kubelet(places, PORTS)
    assert str(kubelet["podLogsDir"]).startswith(f"{places.folder}/")
    assert kubelet["cgroupRoot"] == f"/{places.cgroup}"


def test_the_kubelet_knows_its_callers(places: Places) -> None:
    """By certificate, and what they may do the API server says; nobody is anonymous."""
    told = json.loads(json.dumps(config.kubelet(places, PORTS)))
    assert told["authentication"]["anonymous"] == {"enabled": False}
    assert told["authorization"] == {"mode": "Webhook"}
    assert (told["readOnlyPort"], told["address"]) == (0, network.ADDRESS)


def test_the_pause_image_is_one_program(tmp_path: Path) -> None:
    """Docker's form of an archive: a manifest that names the image, a configuration, a layer with one file."""
    program = tmp_path / "pause"
    program.write_bytes(b"\x7fELF" + bytes(20))
    config.write_pause_image(program, tmp_path / "pause.tar")
    with tarfile.open(tmp_path / "pause.tar") as archive:
        manifest = json.load(archive.extractfile("manifest.json"))  # type: ignore[arg-type]  # it is a file
        layer = archive.extractfile(manifest[0]["Layers"][0])
        with tarfile.open(fileobj=layer) as files:
            assert [(member.name, member.mode) for member in files] == [("pause", 0o755)]
        configuration = json.load(archive.extractfile(manifest[0]["Config"]))  # type: ignore[arg-type]  # the same
    assert manifest[0]["RepoTags"] == [PAUSE_IMAGE]
    assert configuration["config"]["Entrypoint"] == ["/pause"]


def test_a_machine_that_lacks_something_is_told_what(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root is asked for first, then Debian's packages by name."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ClusterError, match=r"run this as root|apt-get install .*nftables"):
        check_machine()


def test_mounts_are_found_at_and_below_a_folder() -> None:
    """The folder itself counts, a namesake beside it does not."""
    found = list(leftovers.mounts_below(Path("/proc")))
    assert Path("/proc") in found
    assert list(leftovers.mounts_below(Path("/pro"))) == []
