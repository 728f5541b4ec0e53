"""The configuration and the paths of a real node. Nothing is built or started; `make e2e` does that."""

from __future__ import annotations

import concurrent.futures
import json
import socket
import tarfile
from pathlib import Path

import pytest

from carillon_devcluster import ClusterError, build, parts, toolchain
from carillon_devcluster.layout import Root
from carillon_devcluster.realnode import config, dns, leftovers, network, volumes
from carillon_devcluster.realnode.build import CNI_PLUGINS, MODULE, check_machine
from carillon_devcluster.realnode.places import PAUSE_IMAGE, Places

PORTS = {name: 40_000 + number for number, name in enumerate((*parts.PORTS, *config.PORTS))}


@pytest.fixture
def places(tmp_path: Path) -> Places:
    """Return the paths of a node whose state root has a long path."""
    return Places(Root(tmp_path / ("long" * 20)).cluster("x"))


def test_the_control_plane_listens_where_pods_reach_it(places: Places) -> None:
    """It listens at the bridge's address, with a certificate for it, as the endpoint of its Service."""
    place = parts.Place(address=network.ADDRESS, certificate="apiserver-bridge", process_node=False)
    flags = parts.arguments("kube-apiserver", places.files, PORTS, {}, place)
    assert {f"--bind-address={network.ADDRESS}", f"--advertise-address={network.ADDRESS}"} <= set(flags)
    assert f"--tls-cert-file={places.files.certificate('apiserver-bridge')}" in flags
    assert "--endpoint-reconciler-type=lease" in flags
    assert "node" not in place.parts


def test_without_a_real_node_the_control_plane_is_as_before(places: Places) -> None:
    """It listens on loopback only, with the node of local processes."""
    flags = parts.arguments("kube-apiserver", places.files, PORTS, {})
    assert {"--bind-address=127.0.0.1", "--endpoint-reconciler-type=none"} <= set(flags)
    assert parts.ON_LOOPBACK.parts == parts.PARTS


def test_what_only_a_real_node_needs_is_no_source_of_the_others_program() -> None:
    """A change of the node's module must not trigger a build of the control plane."""
    assert not [path for path in build.sources() if MODULE in path.parents]
    assert (MODULE / "go.mod").exists()


def test_a_socket_has_a_short_path_wherever_the_state_is(places: Places) -> None:
    """A shim's socket is a folder plus 64 characters; the path of a socket has at most 107."""
    assert len(str(places.run / ("f" * 64))) <= 107
    assert len(places.bridge) <= 15


def test_two_clusters_share_no_name(tmp_path: Path) -> None:
    """Bridge, cgroup, network and sockets are named after the cluster's folder."""
    one, other = (Places(Root(tmp_path).cluster(name)) for name in ("one", "other"))
    for name in ("bridge", "cgroup", "network", "run"):
        assert getattr(one, name) != getattr(other, name)


def test_the_node_keeps_what_it_can_below_its_folder(places: Places) -> None:
    """It shares nothing with the machine's daemons, and one folder is deleted when the node stops."""
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
    """Callers need a certificate, and the API server authorizes them; anonymous access is off."""
    told = json.loads(json.dumps(config.kubelet(places, PORTS)))
    assert told["authentication"]["anonymous"] == {"enabled": False}
    assert told["authorization"] == {"mode": "Webhook"}
    assert (told["readOnlyPort"], told["address"]) == (0, network.ADDRESS)


def test_the_pause_image_is_one_program(tmp_path: Path) -> None:
    """It is an archive in Docker's format: a manifest with the image's name, a configuration, a layer with one file."""
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
    """First root is required, then Debian's packages are named."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ClusterError, match=r"run this as root|apt-get install .*nftables"):
        check_machine()


def test_mounts_are_found_at_and_below_a_folder() -> None:
    """The folder itself counts, but not a folder with a longer name."""
    found = list(leftovers.mounts_below(Path("/proc")))
    assert Path("/proc") in found
    assert list(leftovers.mounts_below(Path("/pro"))) == []


@pytest.mark.parametrize(
    ("text", "want"),
    [
        pytest.param("nameserver 192.0.2.1\nsearch example.org\n", ["192.0.2.1"], id="one"),
        pytest.param("nameserver 192.0.2.1 # ours\nnameserver 2001:db8::1\n", ["192.0.2.1", "2001:db8::1"], id="two"),
        pytest.param("nameserver 127.0.0.53\n", ["127.0.0.53"], id="one on loopback, which the host's process reaches"),
        pytest.param(f"nameserver {network.ADDRESS}\n", [], id="the node itself would ask itself for ever"),
        pytest.param("nameserver\nnameserver nonsense\n#nameserver 192.0.2.1\n", [], id="none that could be asked"),
    ],
)
def test_other_names_are_asked_of_the_machines_resolvers(tmp_path: Path, text: str, want: list[str]) -> None:
    """They are read from resolv.conf; without resolvers, other names do not exist, without a delay."""
    file = tmp_path / "resolv.conf"
    file.write_text(text)
    found = dns.resolvers(file)
    told = dns.corefile(tmp_path / "kubeconfig", found)
    assert found == want
    assert (f"forward . {' '.join(want)} {{" in told, "rcode NXDOMAIN" in told) == (bool(want), not want)
    assert told.count("{") == told.count("}")


def test_a_machine_without_a_file_of_resolvers_has_none(tmp_path: Path) -> None:
    """A missing file is not an error."""
    assert dns.resolvers(tmp_path / "absent") == []


def test_the_kubelet_names_the_dns_that_is_started(places: Places) -> None:
    """Pods get the address of CoreDNS and the domain that it serves."""
    told = config.kubelet(places, PORTS)
    names = dns.corefile(places.files.kubeconfig_of("coredns"), [])
    assert told["clusterDNS"] == [network.ADDRESS]
    assert f"bind {network.ADDRESS}\n" in names
    assert f"kubernetes {told['clusterDomain']} " in names


def test_dns_reads_names_and_nothing_else() -> None:
    """It may list and watch, but not read Secrets or pods, or write."""
    role, binding = json.loads(dns.rights())["items"]
    assert {verb for rule in role["rules"] for verb in rule["verbs"]} == {"list", "watch"}
    assert {name for rule in role["rules"] for name in rule["resources"]} == {
        "services",
        "namespaces",
        "endpointslices",
    }
    assert [subject["name"] for subject in binding["subjects"]] == [dns.USER]
    assert f'"{dns.USER}"' in (MODULE / "pki.go").read_text()


QUIET = "127.0.9.7"
"""An address at which no other test connects: at 127.0.0.1 a client of theirs may hold the port meanwhile."""


@pytest.mark.parametrize(("kind", "want"), [(socket.SOCK_DGRAM, "UDP"), (socket.SOCK_STREAM, "TCP")])
def test_a_port_that_somebody_holds_is_told(kind: socket.SocketKind, want: str) -> None:
    """The other program may listen at all addresses; the message names protocol, port and address."""
    with socket.socket(socket.AF_INET, kind) as holder:
        holder.bind(("0.0.0.0", 0))  # noqa: S104  # the test needs all addresses
        if kind == socket.SOCK_STREAM:
            holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(ClusterError, match=rf"{want} port {port} of 127\.0\.9\.7 .*ss -lntup"):
            dns.check_port(QUIET, port)
        assert not dns.answers(QUIET, port)
    dns.check_port(QUIET, port)


@pytest.mark.parametrize(
    ("reply", "want"),
    [
        pytest.param(b"\x80\x00\x00\x01\x00\x01", (True, True), id="it knows the name"),
        pytest.param(b"\x80\x03\x00\x01\x00\x00", (False, True), id="there is no such name"),
        pytest.param(b"\x80\x00\x00\x01\x00\x00", (False, True), id="the name has no address"),
        pytest.param(b"", (False, False), id="half an answer"),
    ],
)
def test_a_server_is_known_by_what_it_answers(
    reply: bytes, want: tuple[bool, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The node is ready when its DNS resolves a Service; a resolver of the machine counts if it responds at all."""
    monkeypatch.setattr(dns, "ANSWER_WITHIN", 60.0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
        with concurrent.futures.ThreadPoolExecutor(1) as asker:
            asked = [asker.submit(dns.answers, "127.0.0.1", port), asker.submit(dns.responds, "127.0.0.1", port)]
            for _ in asked:
                question, caller = server.recvfrom(512)
                server.sendto(question[:2] + reply, caller)
            assert tuple(answer.result() for answer in asked) == want


def test_a_server_that_says_nothing_is_passed_over() -> None:
    """An unreachable resolver would delay every pod."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        assert not dns.responds("127.0.0.1", server.getsockname()[1])


def test_a_go_that_is_too_old_for_the_node_is_not_taken(tmp_path: Path) -> None:
    """Each module names its Go version; the node's containerd needs a later one than the control plane."""
    (tmp_path / "go.mod").write_text("module x\n\ngo 1.99.3\n")
    assert toolchain.wanted_version(tmp_path) == (1, 99, 3)
    assert toolchain.find(Root(tmp_path), tmp_path) is None
    assert toolchain.wanted_version(MODULE) >= toolchain.wanted_version()


def test_volumes_lie_in_the_clusters_folder(places: Places) -> None:
    """A claim without a class gets one; each is a folder that is deleted with the cluster."""
    first, *made = json.loads(volumes.make(places))["items"]
    assert first["metadata"]["annotations"] == {"storageclass.kubernetes.io/is-default-class": "true"}
    folders = {Path(volume["spec"]["local"]["path"]) for volume in made}
    assert len(folders) == volumes.COUNT
    assert all(folder.is_dir() and places.files.path in folder.parents for folder in folders)
    assert not [folder for folder in folders if places.folder in folder.parents]
