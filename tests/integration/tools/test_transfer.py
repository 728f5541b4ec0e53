"""``carillon export`` and ``carillon import`` as users call them, with a real cluster and its kubectl."""

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from carillon_cli.__main__ import main
from carillon_core.adapters.kube import KubeConnection
from carillon_core.adapters.kube.connection import segment
from carillon_core.adapters.kube.objects import KubeObjectStore
from support.cluster import RunningCluster

TASK: dict[str, Any] = {
    "metadata": {"name": "nightly", "labels": {"team": "a"}, "annotations": {"note": "kept"}},
    "spec": {"schedule": "0 2 * * *", "task": {"http": {"targetRef": {"name": "shop"}}}},
}
TARGET: dict[str, Any] = {"metadata": {"name": "shop"}, "spec": {"url": "https://shop.example.com/", "method": "POST"}}

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(
    cluster: RunningCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Give the command, with the local cluster's kubectl if there is one."""
    if cluster.local is not None:
        program = tmp_path / "kubectl"
        binary = shlex.quote(str(cluster.local.binary))
        program.write_text(f'#!/bin/sh\nexec {binary} kubectl "$@"\n')
        program.chmod(0o755)
        monkeypatch.setenv("KUBECTL", str(program))

    def called(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["carillon", *arguments, "--kubeconfig", cluster.kubeconfig])
        code = main()
        said = capsys.readouterr()
        return code, said.out, said.err

    return called


async def fill(connection: KubeConnection, namespace: str) -> None:
    """Create a task and its target."""
    await KubeObjectStore(connection, "HTTPTarget").create(namespace, TARGET)
    await KubeObjectStore(connection).create(namespace, TASK)


async def new_namespace(connection: KubeConnection, name: str) -> None:
    """Create a namespace."""
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    await connection.request("POST", "/api/v1/namespaces", body=body)


async def test_what_is_exported_is_imported_as_it_was(
    connection: KubeConnection, namespace: str, run: Run, tmp_path: Path
) -> None:
    """An import into another namespace gives the same objects; a second import finds them, and writes nothing."""
    await fill(connection, namespace)
    code, text, err = run("export", "--namespace", namespace)
    assert (code, err) == (0, "")
    found = list(yaml.safe_load_all(text))
    assert [raw["kind"] for raw in found] == ["HTTPTarget", "ScheduledTask"]
    assert found[1]["metadata"] == {
        "name": "nightly",
        "namespace": namespace,
        **{k: TASK["metadata"][k] for k in ("labels", "annotations")},
    }
    assert all("status" not in raw for raw in found)
    file = tmp_path / "backup.yaml"
    file.write_text(text)
    other = f"{namespace}-b"
    await new_namespace(connection, other)
    assert run("import", str(file), "--namespace", other, "--dry-run")[0] == 0
    assert run("export", "--namespace", other)[1] == ""
    code, out, err = run("import", str(file), "--namespace", other, "--suspended")
    assert (code, out.splitlines()[-1], err) == (0, "summary: 2 created", "")
    again = list(yaml.safe_load_all(run("export", "--namespace", other)[1]))
    assert [raw["spec"] for raw in again] == [found[0]["spec"], {**found[1]["spec"], "suspend": True}]
    code, out, err = run("import", str(file), "--namespace", other)
    assert (code, out.splitlines()[-1]) == (1, "summary: 2 not written")
    assert err.count("already exists") == 2
    assert run("import", str(file), "--namespace", other, "--existing", "replace")[0] == 0
    task = await KubeObjectStore(connection).get(other, "nightly")
    assert task["spec"] == found[1]["spec"]
    code, out, _ = run("import", str(file), "--namespace", other, "--existing", "skip")
    assert (code, out.splitlines()[-1]) == (0, "summary: 2 skipped")
    await connection.request("DELETE", f"/api/v1/namespaces/{segment(other)}")


async def test_labels_select_what_is_exported(connection: KubeConnection, namespace: str, run: Run) -> None:
    """The selector has kubectl's syntax."""
    await fill(connection, namespace)
    code, text, _ = run("export", "--namespace", namespace, "--selector", "team=a")
    assert code == 0
    assert [raw["metadata"]["name"] for raw in yaml.safe_load_all(text)] == ["nightly"]


BAD: dict[str, tuple[list[dict[str, Any]], str]] = {
    "a field that does not exist": ([{**TASK, "spec": {**TASK["spec"], "cron": "x"}}], "spec.cron"),
    "no name": ([{**TASK, "metadata": {"generateName": "x-"}}], "metadata.name"),
    "one that stands there twice": ([TASK, TASK], "more than once"),
}


@pytest.mark.parametrize("case", BAD)
async def test_one_that_is_invalid_keeps_all_from_being_written(
    connection: KubeConnection, namespace: str, run: Run, tmp_path: Path, case: str
) -> None:
    """Each problem is reported with the fix; the other objects of the file are not created."""
    objects, want = BAD[case]
    file = tmp_path / "bad.json"
    typed = {"apiVersion": "carillon.dev/v1alpha1", "kind": "ScheduledTask"}
    target = {**typed, "kind": "HTTPTarget", **TARGET}
    file.write_text(
        json.dumps({"kind": "List", "apiVersion": "v1", "items": [target, *({**typed, **o} for o in objects)]})
    )
    code, out, err = run("import", str(file), "--namespace", namespace)
    assert (code, "created" in out) == (1, False)
    assert want in err
    assert await KubeObjectStore(connection, "HTTPTarget").list(namespace) == []
    code, out, _ = run("import", str(file), "--namespace", namespace, "--skip-invalid")
    assert (code, "HTTPTarget" in out, out.splitlines()[-1].startswith("summary: 1 created, ")) == (1, True, True)


async def test_what_the_cluster_refuses_is_said(namespace: str, run: Run, tmp_path: Path) -> None:
    """The message names the missing namespace; objects of other kinds are ignored and listed."""
    file = tmp_path / "tasks.yaml"
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}}
    typed = {"apiVersion": "carillon.dev/v1alpha1", "kind": "ScheduledTask", **TASK}
    file.write_text(yaml.safe_dump_all([secret, typed]))
    code, _, err = run("import", str(file), "--namespace", f"{namespace}-none")
    assert code == 2
    assert "not found" in err
    code, out, err = run("import", str(file), "--namespace", namespace)
    assert (code, err) == (0, "")
    assert "Secret default/s (document 1) ignored" in out


async def test_a_kubectl_that_is_not_there_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message has the fix."""
    monkeypatch.setenv("KUBECTL", "/nowhere/kubectl")
    code, out, err = run("export")
    assert (code, out) == (2, "")
    assert "install kubectl" in err
