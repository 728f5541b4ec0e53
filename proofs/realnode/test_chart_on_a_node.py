"""The chart on a real node, through the life of a release: install, use, failover, upgrade, uninstall."""

from __future__ import annotations

import json
import os
import statistics
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from carillon_devcluster import ClusterError
from carillon_devcluster.realnode import network
from carillon_devcluster.realnode.places import NODE_NAME
from realnode.release import IMAGES, NAME, NAMESPACE, SECRET, Caller, Load, Release
from support.drained_load import DrainedLoad
from support.manifests import ONCE, request, task
from support.span_server import SpanServer
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.recording_server import RecordingServer

KILLS = int(os.environ.get("KILLS") or 20)
DRAINS = 2


def test_the_release_is_well(release: Release, report: list[str]) -> None:
    """``helm test`` runs a task from creation to end, through the Service and with the API's permissions."""
    said = release.helm("test", NAME, "--timeout", "5m")
    assert "Succeeded" in said
    ready = {component: len(release.ready(component)) for component in ("operator", "api", "recorder")}
    assert ready == {"operator": 2, "api": 2, "recorder": 2}
    report.append("helm install, helm test: 2 operators, 2 APIs and 2 recorders are ready, a task ran")


def python(script: str, **resources: Any) -> dict[str, Any]:
    """Return a container task that runs a program of a user's image."""
    command = ["/opt/carillon/bin/python", "-c", script]
    return {"container": {"image": IMAGES["runner"], "command": command, "runAsUser": 65532, "resources": resources}}


def test_every_task_type_runs_in_a_restricted_namespace(
    release: Release, restricted: str, httpbin_url: str, report: list[str]
) -> None:
    """Each runs in its container and has its result in the history; the upgrade below adds the plugin."""
    says = "open('/dev/termination-log', 'w').write('done')"
    release.apply_objects(
        restricted,
        task("nap", **ONCE, task={"sleep": {"durationSeconds": 1}}),
        task("tally", **ONCE, task={"counter": {}}),
        task("call", **ONCE, task={"http": {"url": f"{httpbin_url}/status/204"}}),
        task("add", **ONCE, task={"sum": {"a": 40, "b": 2}}),
        task("own", **ONCE, task=python(says)),
        task("greedy", **ONCE, task=python("bytearray(1 << 30)", limits={"memory": "64Mi"})),
        request("asked", task={"sum": {"a": 1, "b": 1}}),
    )
    want: dict[str, Callable[[dict[str, Any]], bool]] = {
        "nap": lambda result: result["sleptSeconds"] >= 1,
        "tally": lambda result: result["value"] == 1,
        "call": lambda result: result["statusCode"] == 204,
        "add": lambda result: result == {"sum": 42},
        "own": lambda result: result == {"exitCode": 0, "message": "done"},
        "asked": lambda result: result == {"sum": 2},
    }
    for name, is_right in want.items():
        (row,) = release.await_rows(restricted, name, 1, "succeeded", seconds=120)
        assert is_right(row["result"]), (name, row["result"])
    (row,) = release.await_rows(restricted, "greedy", 1, "failed", seconds=120)
    assert row["reason"] == "OOMKilled"
    report.append(f"{len(want) + 1} executions of every task type in a restricted namespace, one killed for its memory")


def test_an_image_that_is_nowhere_is_the_recorded_reason(release: Release, restricted: str) -> None:
    """Within a minute, although the cluster keeps retrying."""
    missing = {"container": {"image": "localhost/carillon-is-nowhere:1", "runAsUser": 1000}}
    release.apply_objects(restricted, task("imageless", **ONCE, task=missing))
    (row,) = release.await_rows(restricted, "imageless", 1, "failed", seconds=90)
    assert row["reason"] in {"ErrImagePull", "ImagePullBackOff"}
    assert (row["finished_at"] - row["slot"]).total_seconds() < 60


def test_the_admission_webhook_is_asked(release: Release, restricted: str) -> None:
    """The API server reaches it through its Service and trusts the chart's certificate."""
    never = task("never", schedule="0 0 31 2 *", task={"sum": {"a": 1, "b": 1}})
    with pytest.raises(ClusterError, match="admission webhook"):
        release.apply_objects(restricted, never)


def test_a_database_that_is_away_shows_in_readiness_and_in_the_log(release: Release) -> None:
    """Within seconds, and it recovers by itself when the database is back."""
    until(lambda: len(release.ready("api")) == 2, 60, "both APIs are ready")
    release.way.close()
    try:
        until(lambda: not release.ready("api"), 60, "no API is ready without its database")
        (name, *_) = sorted(pod["metadata"]["name"] for pod in release.own_pods("api"))
        said = release.kubectl("logs", name, "--namespace", NAMESPACE)
        assert "database" in said
    finally:
        release.way.open()
    until(lambda: len(release.ready("api")) == 2, 60, "both APIs are ready again")


def test_a_leader_that_is_killed_is_replaced_and_no_slot_suffers(
    release: Release, restricted: str, called: RecordingServer, report: list[str]
) -> None:
    """Repeatedly, with kill -9 under load; measures the time from the kill to the first launch by another pod."""
    load = Load(release, restricted, called)
    load.begin()
    gaps = [fail_over(release) for _ in range(KILLS)]
    ran = load.end()
    ordered = sorted(gaps)
    p99 = ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]
    report.append(
        f"{KILLS} leaders killed with kill -9: from the kill to the next leader's first launch "
        f"p50 {statistics.median(gaps):.2f} s, p99 {p99:.2f} s; from {ordered[0]:.2f} s to {ordered[-1]:.2f} s"
    )
    report.append(
        f"meanwhile {ran['steady'] + ran['calls']} slots ran exactly once each, {ran['slow']} of a Forbid task"
    )


def fail_over(release: Release) -> float:
    """Kill the leader once another pod is ready; return the seconds until another pod launches an execution."""
    until(
        lambda: len(release.ready("operator")) == 2 and release.leader() in release.ready("operator"),
        120,
        "one leads, one waits",
    )
    first = release.leader()
    killed = datetime.now(UTC)
    release.kill(first)
    until(lambda: release.leader() not in {"", first}, 60, f"a pod other than {first} leads")
    until(lambda: bool(launches(release, release.leader(), killed)), 60, "it launches")
    launched = launches(release, release.leader(), killed)[0]
    # the kubelet backs off longer on each restart; a new pod starts without back-off
    release.kubectl("delete", "pod", first, "--namespace", NAMESPACE, "--wait=false")
    until(lambda: first not in release.ready("operator"), 60, f"{first} is gone")
    return (launched - killed).total_seconds()


def launches(release: Release, pod: str, since: datetime) -> list[datetime]:
    """Return the launches of an operator pod since a time, from its log."""
    said = release.kubectl("logs", pod, "--namespace", NAMESPACE, "--since=2m", check=False).splitlines()
    times = [datetime.fromisoformat(json.loads(line)["time"]) for line in said if '"message": "launched"' in line]
    return [time for time in times if time > since]


def test_an_upgrade_and_a_rollback_lose_nothing(
    release: Release, restricted: str, called: RecordingServer, plugin_image: str, report: list[str]
) -> None:
    """Under load, every slot runs once and the API always answers; the new runner image adds a plugin."""
    load = Load(release, restricted, called)
    load.begin()
    repository, _, tag = plugin_image.rpartition(":")
    with Caller(release, restricted) as caller:
        release.upgrade(
            **{"operator.runnerImage.repository": repository, "operator.runnerImage.tag": tag, "api.rateLimit": "60"}
        )
        shout = {"plugin": {"name": "shout", "parameters": {"words": "at last"}}}
        release.apply_objects(restricted, task("shout", **ONCE, task=shout))
        (row,) = release.await_rows(restricted, "shout", 1, "succeeded", seconds=120)
        assert row["result"] == {"said": "AT LAST"}
        release.helm("rollback", NAME, "--wait", "--timeout", "5m")
    ran = load.end()
    assert caller.unanswered == []
    report.append(
        f"helm upgrade and rollback under load: {ran['steady'] + ran['calls']} slots ran once each, and {ran['slow']}"
        f" of a Forbid task; {caller.asked} questions to the API, all answered"
    )


def test_a_drain_doubles_nothing_and_ends_no_execution(release: Release, restricted: str, report: list[str]) -> None:
    """Runner and container tasks, Forbid and Replace, drained at work: a server that holds their requests saw all."""
    with SpanServer(network.ADDRESS) as server:
        load = DrainedLoad(release, restricted, server, IMAGES["runner"], "/opt/carillon/bin/python")
        load.begin()
        load.drain_until_met(NODE_NAME, DRAINS)
        ran = load.end()
    report.append(
        f"kubectl drain under load, {DRAINS} times: {sum(ran.values())} executions succeeded, none overlapped"
    )


def test_the_network_policies_are_there(release: Release) -> None:
    """The API server accepts each; all traffic is blocked except what a policy allows."""
    path = f"/apis/networking.k8s.io/v1/namespaces/{NAMESPACE}/networkpolicies"
    policies = {p["metadata"]["name"].removeprefix(f"{NAME}-"): p["spec"] for p in release.get(path)["items"]}
    closed = [spec for spec in policies.values() if not spec["podSelector"].get("matchLabels")]
    assert closed, policies.keys()
    assert {"operator", "api", "recorder"} <= {part for name in policies for part in name.split("-")}


def test_uninstalled_it_leaves_nothing_that_is_stuck(release: Release, restricted: str, report: list[str]) -> None:
    """With a running task: the release's objects are deleted, tasks stay, and tasks and CRDs can be deleted."""
    release.apply_objects(restricted, task("busy", **ONCE, task={"sleep": {"durationSeconds": 600}}))
    release.await_rows(restricted, "busy", 1, "running")
    release.helm("uninstall", NAME, "--wait", "--timeout", "3m")
    with suppress(TimeoutError):  # the next line reports what is left
        until(lambda: left_of(release) <= KEPT, 60, "")
    assert left_of(release) <= KEPT
    assert release.ours(restricted, "scheduledtasks", "busy")["spec"]
    namespaces = [
        name for name in release.kubectl("get", "namespaces", "--output", "name").split() if "restricted-" in name
    ]
    release.kubectl("delete", *namespaces, "--wait", "--timeout=120s")
    crds = [
        name for name in release.kubectl("get", "crds", "--output", "name").split() if name.endswith(".carillon.dev")
    ]
    release.kubectl("delete", *crds, "--wait", "--timeout=60s")
    release.kubectl("delete", "namespace", NAMESPACE, "--wait", "--timeout=120s")
    report.append(f"helm uninstall: only {len(crds)} CRDs remained; they and their tasks could be deleted")


KEPT = {"lease.coordination.k8s.io/carillon-operator"}
"""The objects that remain, as in the chart's README."""
ANYWAY = {
    "configmap/kube-root-ca.crt", "serviceaccount/default", "serviceaccount/e2e-admin", f"secret/{SECRET}",
}  # fmt: skip
"""The objects in the release's namespace before the installation."""


def left_of(release: Release) -> set[str]:
    """Return the objects of the release: those in its namespace and those with its labels."""
    kinds = release.kubectl("api-resources", "--verbs=list,delete", "--namespaced=true", "--output=name").split()
    listed = ",".join(kind for kind in kinds if not kind.startswith("events"))
    selector = f"app.kubernetes.io/instance={NAME}"
    wide = release.kubectl("api-resources", "--verbs=list,delete", "--namespaced=false", "--output=name").split()
    labelled = names_of(release, ",".join(wide), "--selector", selector)
    found = names_of(release, listed, "--namespace", NAMESPACE, "--ignore-not-found")
    return {name for name in found + labelled if not name.startswith("customresourcedefinition")} - ANYWAY


def names_of(release: Release, *what: str) -> list[str]:
    """Return the names of objects, prefixed with their kinds."""
    return release.kubectl("get", *what, "--output", "name").split()
