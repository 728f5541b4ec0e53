"""Starting, stopping, breaking and repairing whole clusters."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from carillon_devcluster import LocalCluster, NotRunningError, PartDiedError
from carillon_devcluster.layout import SOURCES
from carillon_devcluster.processes import marked, start_time
from devcluster.cluster_help import IMAGES, apply, get, job, phase, pod, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def own(build_root: Path, tmp_path: Path) -> Iterator[LocalCluster]:
    """Return a new cluster that is not started."""
    made = LocalCluster("own", tmp_path / "state", build_root=build_root)
    made.set_images(IMAGES)
    yield made
    made.delete()


def pids(cluster: LocalCluster) -> list[int]:
    """Return the parts' processes."""
    return [part.pid for part in cluster.status().parts if part.pid]


def kill(cluster: LocalCluster, name: str) -> None:
    """Kill a part with SIGKILL."""
    pid = next(part.pid for part in cluster.status().parts if part.name == name)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    until(f"{name} to be dead", lambda: cluster.status().state == "broken")


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line."""
    return subprocess.run(
        [sys.executable, "-m", "carillon_devcluster", *arguments],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(SOURCES)},
    )  # fmt: skip


def test_a_restart_keeps_objects_and_fails_what_was_running(own: LocalCluster) -> None:
    """Finished pods stay finished, running ones are reported as lost, and stop leaves no process behind."""
    own.start()
    address = own.api_url
    apply(own, job("finished", "true"), pod("lost", "echo up; sleep 1000 & setsid sleep 1000 & wait"))
    own.kubectl("wait", "--for=condition=Complete", "job/finished", "--timeout=30s")
    until("the pod to run", lambda: phase(own, "lost") == "Running")
    parts = pids(own)

    own.stop()
    assert own.status().state == "stopped"
    assert not [pid for pid in parts if start_time(pid)]
    assert marked(f"CARILLON_TERMINATION_LOG={own.files.pods}/") == []
    with pytest.raises(NotRunningError):
        own.check()

    own.start()
    assert own.api_url == address
    assert get(own, "job", "finished")["status"]["succeeded"] == 1
    until("the pod to be reported lost", lambda: phase(own, "lost") == "Failed")
    assert get(own, "pod", "lost")["status"]["reason"] == "NodeRestarted"


def test_a_killed_node_leaves_nothing_behind_after_stop(own: LocalCluster) -> None:
    """Even processes that have left their session are found."""
    own.start()
    apply(own, pod("orphan", "setsid sleep 1000 & exec sleep 1000"))
    mark = f"CARILLON_TERMINATION_LOG={own.files.pods}/"
    until("both processes to run", lambda: len(marked(mark)) == 2)
    kill(own, "node")
    own.stop()
    assert marked(mark) == []


def test_a_dead_part_is_named_with_the_end_of_its_log_and_mended_by_start(own: LocalCluster) -> None:
    """Status and check name the part and the reason; start restarts only that part."""
    own.start()
    before = {part.name: part.pid for part in own.status().parts}
    kill(own, "kube-scheduler")
    with pytest.raises(PartDiedError, match=r"kube-scheduler is not running") as caught:
        own.check()
    assert str(own.files.log("kube-scheduler")) in str(caught.value)
    own.start()
    after = {part.name: part.pid for part in own.status().parts}
    assert {name for name in before if before[name] != after[name]} == {"kube-scheduler"}
    own.check()


def test_two_clusters_run_side_by_side(cluster: LocalCluster, own: LocalCluster) -> None:
    """Each has its own objects and its own processes."""
    own.start()
    own.kubectl("create", "configmap", "only-here")
    assert get(own, "configmap", "only-here")
    assert not get(cluster, "configmap", "only-here")
    own.delete()
    cluster.check()


def test_starting_a_running_cluster_changes_nothing(cluster: LocalCluster) -> None:
    """The processes and the address are the same."""
    before = cluster.status()
    cluster.start()
    assert cluster.status() == before


def test_the_kubeconfig_is_for_its_owner_alone(cluster: LocalCluster) -> None:
    """It contains an administrator's key."""
    assert cluster.kubeconfig.stat().st_mode & 0o777 == 0o600


def test_the_command_line_tells_the_status(cluster: LocalCluster, build_root: Path) -> None:
    """It is printed as text or JSON, and is the exit code."""
    root = cluster.files.log("x").parents[3]
    place = ("--name", cluster.name, "--root", str(root), "--build-root", str(build_root))
    told = command("status", *place, "--json")
    assert (told.returncode, json.loads(told.stdout)["state"]) == (0, "running")
    assert "running" in command("status", *place).stdout
    assert command("status", "--name", "nobody", "--root", str(root)).returncode == 3
    assert command("kubeconfig", *place).stdout.strip() == str(cluster.kubeconfig)
    listed = command("kubectl", *place, "--", "get", "nodes", "-o", "name")
    assert listed.stdout == "node/local\n"


def test_a_lost_record_leaves_no_process_behind(own: LocalCluster, tmp_path: Path) -> None:
    """The processes are found by their arguments, and the old ones do not prevent a new start."""
    own.start()
    first = pids(own)
    (record,) = tmp_path.rglob("state.json")
    record.write_text("no json")
    own.start()
    assert not [pid for pid in first if start_time(pid)]
    second = pids(own)
    record.write_text("")
    own.stop()
    assert not [pid for pid in second if start_time(pid)]
