"""The node treats a pod like a real node does, as far as local processes allow."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from carillon_devcluster.processes import start_time
from devcluster.cluster_help import IMAGES, apply, finished, get, job, main_state, phase, pod, until

if TYPE_CHECKING:
    from carillon_devcluster import LocalCluster


def test_a_job_runs_to_completion(cluster: LocalCluster) -> None:
    """A Job's pod is scheduled, run, and counted by the Job controller."""
    apply(cluster, job("completes", "echo done"))
    cluster.kubectl("wait", "--for=condition=Complete", "job/completes", "--timeout=30s")
    assert get(cluster, "job", "completes")["status"]["succeeded"] == 1


def test_the_environment_comes_from_secrets_config_maps_and_fields(cluster: LocalCluster) -> None:
    """Each kind of reference is resolved."""
    cluster.kubectl("create", "secret", "generic", "sec", "--from-literal=key=from-secret")
    cluster.kubectl("create", "configmap", "conf", "--from-literal=key=from-config")
    env: list[dict[str, Any]] = [
        {"name": "A", "valueFrom": {"secretKeyRef": {"name": "sec", "key": "key"}}},
        {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "conf", "key": "key"}}},
        {"name": "C", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "D", "value": "$(A)!"},
    ]
    apply(cluster, pod("env", 'echo "$A $B $C $D $FROM_IMAGE"', env=env))
    finished(cluster, "env")
    assert cluster.kubectl("logs", "env") == "from-secret from-config env from-secret! yes\n"


def test_a_missing_secret_is_waited_for(cluster: LocalCluster) -> None:
    """The pod's status names the missing Secret; the pod runs once it exists."""
    env = [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "late", "key": "key"}}}]
    apply(cluster, pod("waits-for-secret", 'test "$A" = now', env=env))

    def reason() -> str:
        state = main_state(get(cluster, "pod", "waits-for-secret"))
        return str(state.get("waiting", {}).get("reason"))

    until("the reason to be told", lambda: reason() == "CreateContainerConfigError")
    cluster.kubectl("create", "secret", "generic", "late", "--from-literal=key=now")
    assert finished(cluster, "waits-for-secret")["status"]["phase"] == "Succeeded"


def test_the_exit_code_and_the_termination_message_are_reported(cluster: LocalCluster) -> None:
    """They are in the same fields as on a real node."""
    apply(cluster, pod("fails", 'printf "no luck" > "$CARILLON_TERMINATION_LOG"; exit 7'))
    ended = main_state(finished(cluster, "fails"))["terminated"]
    assert (ended["exitCode"], ended["reason"], ended["message"]) == (7, "Error", "no luck")
    assert ended["startedAt"] <= ended["finishedAt"]


def test_a_long_termination_message_is_cut(cluster: LocalCluster) -> None:
    """A real node keeps 4096 bytes of it."""
    apply(cluster, pod("wordy", 'head -c 10000 /dev/zero | tr "\\0" x > "$CARILLON_TERMINATION_LOG"'))
    assert main_state(finished(cluster, "wordy"))["terminated"]["message"] == "x" * 4096


def test_a_missing_program_is_a_start_error(cluster: LocalCluster) -> None:
    """As with a real runtime, the exit code is 128, and the message names the program."""
    manifest = pod("no-program", "")
    manifest["spec"]["containers"][0]["command"] = ["no-such-program"]
    apply(cluster, manifest)
    ended = main_state(finished(cluster, "no-program"))["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (128, "StartError")
    assert "no-such-program" in ended["message"]


def test_an_unknown_image_cannot_be_pulled(cluster: LocalCluster) -> None:
    """The pod stays Pending, and the message names the image."""
    apply(cluster, pod("unknown", "", image="nobody/nothing:9"))

    def waiting() -> dict[str, str]:
        found: dict[str, str] = main_state(get(cluster, "pod", "unknown")).get("waiting", {})
        return found

    until("the image to be refused", lambda: waiting().get("reason") in {"ErrImagePull", "ImagePullBackOff"})
    assert "nobody/nothing:9" in waiting()["message"]
    assert phase(cluster, "unknown") == "Pending"
    cluster.kubectl("delete", "pod", "unknown")


def test_init_containers_run_first_and_in_order(cluster: LocalCluster) -> None:
    """The pod's main containers start when all of them have succeeded."""
    manifest = pod("with-init", "true")
    manifest["spec"]["initContainers"] = [
        {"name": "one", "image": "shell:1", "args": ["echo one"]},
        {"name": "two", "image": "shell:1", "args": ["exit 5"]},
    ]
    apply(cluster, manifest)
    found = finished(cluster, "with-init")["status"]
    codes = [status["state"]["terminated"]["exitCode"] for status in found["initContainerStatuses"]]
    assert (found["phase"], codes) == ("Failed", [0, 5])
    assert "waiting" in found["containerStatuses"][0]["state"]


def test_a_failed_container_is_restarted_if_the_pod_wants_that(cluster: LocalCluster) -> None:
    """With OnFailure it runs again, and the restart count increases."""
    apply(cluster, pod("again", "test -e here || { touch here; exit 1; }", restartPolicy="OnFailure"))
    found = finished(cluster, "again")["status"]
    assert (found["phase"], found["containerStatuses"][0]["restartCount"]) == ("Succeeded", 1)


def test_a_deleted_pod_gets_sigterm_and_its_whole_tree_ends(cluster: LocalCluster) -> None:
    """A process that handles SIGTERM ends at once with its children, well before the grace period is over."""
    apply(cluster, pod("polite", "sleep 1000 & echo $!; wait"))
    child = logged_number(cluster, "polite")
    cluster.kubectl("delete", "pod", "polite", "--timeout=10s")
    until("the child to end", lambda: not start_time(child))


def test_a_stubborn_process_is_killed_after_the_grace_period(cluster: LocalCluster) -> None:
    """It gets SIGTERM first, and SIGKILL only when the grace period is over."""
    # Kubernetes turns $$ in an argument into $.
    script = "trap 'echo not yet' TERM; echo $$$$; while true; do sleep 0.1; done"
    apply(cluster, pod("stubborn", script, terminationGracePeriodSeconds=2))
    pid = logged_number(cluster, "stubborn")
    before = time.monotonic()
    cluster.kubectl("delete", "pod", "stubborn", "--timeout=20s")
    assert time.monotonic() - before >= 2
    assert not start_time(pid)


def test_a_pod_deleted_in_its_init_container_stays_until_that_has_ended(cluster: LocalCluster) -> None:
    """None of its main containers is running, but a process is."""
    manifest = pod("early", "true")
    script = "trap 'sleep 1; exit' TERM; echo $$$$; while true; do sleep 0.1; done"
    manifest["spec"]["initContainers"] = [{"name": "first", "image": "shell:1", "args": [script]}]
    apply(cluster, manifest)
    until("the init container to run", lambda: cluster.kubectl("logs", "early", "-c", "first", check=False) != "")
    pid = int(cluster.kubectl("logs", "early", "-c", "first"))
    before = time.monotonic()
    cluster.kubectl("delete", "pod", "early", "--timeout=20s")
    assert 1 <= time.monotonic() - before < 10
    assert not start_time(pid)


def test_many_jobs_at_once_complete_and_leave_nothing_behind(cluster: LocalCluster) -> None:
    """No pod keeps a finalizer, so their namespace can be deleted."""
    cluster.kubectl("create", "namespace", "many")
    jobs = [job(f"one-{number}", "true") for number in range(20)]
    several = {"apiVersion": "v1", "kind": "List", "items": jobs}
    cluster.kubectl("create", "-n", "many", "-f", "-", stdin=json.dumps(several))
    cluster.kubectl("wait", "-n", "many", "--for=condition=Complete", "job", "--all", "--timeout=60s")
    pods = json.loads(cluster.kubectl("get", "pods", "-n", "many", "-o", "json"))["items"]
    assert [found["metadata"].get("finalizers", []) for found in pods] == [[]] * len(jobs)
    cluster.kubectl("delete", "namespace", "many", "--timeout=30s")


def test_a_process_killed_by_a_signal_tells_which(cluster: LocalCluster) -> None:
    """The exit code is 128 plus the signal's number."""
    apply(cluster, pod("suicide", "kill -KILL $$$$"))
    ended = main_state(finished(cluster, "suicide"))["terminated"]
    assert (ended["exitCode"], ended["signal"], ended["reason"]) == (137, 9, "Error")


def test_a_pod_past_its_deadline_fails(cluster: LocalCluster) -> None:
    """This is activeDeadlineSeconds of the pod itself."""
    apply(cluster, pod("too-long", "sleep 1000", activeDeadlineSeconds=1))
    status = finished(cluster, "too-long")["status"]
    assert (status["phase"], status["reason"]) == ("Failed", "DeadlineExceeded")
    assert main_state({"status": status})["terminated"]["exitCode"] == 143


def test_logs_can_be_tailed_and_followed(cluster: LocalCluster) -> None:
    """`kubectl logs` works with --tail, and with -f until the container ends."""
    apply(cluster, pod("talks", "echo one; echo two; until test -e stop; do sleep 0.05; done; echo three"))
    until("the first lines", lambda: cluster.kubectl("logs", "talks", check=False) == "one\ntwo\n")
    assert cluster.kubectl("logs", "talks", "--tail=1") == "two\n"
    with subprocess.Popen(
        cluster.kubectl_command(["logs", "-f", "talks"]), stdout=subprocess.PIPE, text=True
    ) as follow:
        assert follow.stdout is not None
        assert [follow.stdout.readline(), follow.stdout.readline()] == ["one\n", "two\n"]
        (home_of(cluster, "talks") / "stop").touch()
        assert follow.stdout.read() == "three\n"


def test_nothing_of_the_callers_environment_reaches_a_pod(
    cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This holds for variables at the cluster's start, and for those set later."""
    monkeypatch.setenv("LEAK", "now")
    apply(cluster, pod("clean", "env"))
    finished(cluster, "clean")
    names = {line.partition("=")[0] for line in cluster.kubectl("logs", "clean").splitlines()}
    expected = {
        "PATH",
        "HOME",
        "TMPDIR",
        "HOSTNAME",
        "FROM_IMAGE",
        "CARILLON_TERMINATION_LOG",
        "PWD",
        "_",
        "SHLVL",
        "OLDPWD",
    }
    assert {name for name in names - expected if not name.startswith("KUBERNETES_SERVICE_")} == set()


def test_only_the_api_server_may_read_logs_from_the_node(cluster: LocalCluster) -> None:
    """Without its client certificate, the connection fails."""
    port = get(cluster, "node", "local")["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"]
    address = ("127.0.0.1", port)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with context.wrap_socket(socket.create_connection(address)) as connection:
        connection.send(b"GET /containerLogs/default/any/main HTTP/1.0\r\n\r\n")
        with pytest.raises(ssl.SSLError, match=r"(?i)certificate[ _]required"):
            connection.recv(100)


def test_the_node_runs_as_this_user(cluster: LocalCluster) -> None:
    """Root is neither required nor used."""
    pid = next(part.pid for part in cluster.status().parts if part.name == "node")
    assert pid is not None
    assert Path(f"/proc/{pid}").stat().st_uid == os.getuid()


def test_a_container_is_the_user_that_it_names_where_the_node_is_root(cluster: LocalCluster) -> None:
    """It owns its folder and its termination log; an ordinary user's node says that it runs it as itself."""
    script = 'id -u; touch "$TMPDIR/made" here; echo told >> /dev/stdout; printf bye > "$CARILLON_TERMINATION_LOG"'
    apply(cluster, pod("user", script, securityContext={"runAsUser": 12345, "runAsNonRoot": True}))
    status = finished(cluster, "user")["status"]
    root = os.geteuid() == 0
    assert cluster.kubectl("logs", "user") == f"{12345 if root else os.geteuid()}\ntold\n"
    assert main_state({"status": status})["terminated"]["message"] == "bye"
    ignored = [each["message"] for each in status["conditions"] if each["type"] == "carillon.dev/UserIgnored"]
    assert len(ignored) == (0 if root else 1)


def test_no_container_runs_as_root(cluster: LocalCluster) -> None:
    """One that asks for it is another user; one that must not be root, and is, waits with kubelet's words."""
    apply(
        cluster,
        pod("root", "id -u", securityContext={"runAsUser": 0}),
        pod("torn", "id -u", securityContext={"runAsUser": 0, "runAsNonRoot": True}),
    )
    finished(cluster, "root")
    assert int(cluster.kubectl("logs", "root")) == (65534 if os.geteuid() == 0 else os.geteuid())

    def waiting() -> dict[str, str]:
        found: dict[str, str] = main_state(get(cluster, "pod", "torn")).get("waiting", {})
        return found

    until("it to be refused", lambda: waiting().get("reason") == "CreateContainerConfigError")
    assert waiting()["message"].startswith("container's runAsUser breaks non-root policy")
    cluster.kubectl("delete", "pod", "torn")


def test_a_closed_program_is_run_if_its_image_may_read_all(cluster: LocalCluster, tmp_path: Path) -> None:
    """As this checkout's Python is, in root's home: the container can read it, and write nothing, as access(2) says."""
    program = tmp_path / "program"
    asked = "import os, sys; print([os.access(sys.argv[1], how) for how in (os.F_OK, os.R_OK, os.W_OK)])"
    program.write_text(
        '#!/bin/sh\ncat "$0" > /dev/null && { true 2> /dev/null > "$0" || echo read; }\n'
        f"""exec {sys.executable} -c '{asked}' "$0"\n"""
    )
    program.chmod(0o555)
    tmp_path.chmod(0o700)
    cluster.set_images({**IMAGES, "closed:1": {"entrypoint": [str(program)], "readsAll": True}})
    apply(cluster, pod("closed", "", image="closed:1"))
    assert finished(cluster, "closed")["status"]["phase"] == "Succeeded"
    assert cluster.kubectl("logs", "closed") == "read\n[True, True, False]\n"


def logged_number(cluster: LocalCluster, name: str) -> int:
    """Return the number that a pod prints first."""
    until(f"pod {name} to print", lambda: cluster.kubectl("logs", name, check=False).strip().isdigit())
    return int(cluster.kubectl("logs", name))


def home_of(cluster: LocalCluster, name: str) -> Path:
    """Return the working folder of a pod's container."""
    uid: str = get(cluster, "pod", name)["metadata"]["uid"]
    return cluster.files.pods / uid / "main" / "home"
