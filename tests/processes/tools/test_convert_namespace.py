"""``carillon convert cronjob --namespace``, with a program in the place of kubectl."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.terminal import Terminal

CRONJOB: dict[str, Any] = {
    "apiVersion": "batch/v1",
    "kind": "CronJob",
    "metadata": {"name": "job", "namespace": "prod", "uid": "1", "creationTimestamp": "2026-01-01T00:00:00Z"},
    "spec": {
        "schedule": "0 2 * * *",
        "timeZone": "UTC",
        "jobTemplate": {
            "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "b"}]}}}
        },
    },
}


@pytest.fixture
def terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Terminal:
    """Give a terminal."""
    return Terminal(tmp_path, monkeypatch, capsys)


def kubectl(folder: Path, patch: pytest.MonkeyPatch, items: list[dict[str, Any]]) -> Path:
    """Stand in for kubectl with a program that notes its arguments; return where."""
    noted = folder / "arguments"
    answer = folder / "answer.json"
    answer.write_text(json.dumps({"kind": "List", "apiVersion": "v1", "items": items}))
    program = folder / "kubectl"
    program.write_text(f'#!/bin/sh\necho "$@" > {noted}\ncat {answer}\n')
    program.chmod(0o755)
    patch.setitem(os.environ, "KUBECTL", str(program))
    return noted


def test_a_namespace_is_read_through_kubectl(
    terminal: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only CronJobs are read, with the user's context."""
    noted = kubectl(tmp_path, monkeypatch, [CRONJOB])
    said = terminal.run("convert", "cronjob", "--namespace", "prod", "--context", "live")
    assert said.code == 0
    assert yaml.safe_load(said.out)["metadata"] == {"name": "job", "namespace": "prod"}
    assert noted.read_text() == "--context=live get cronjobs.batch --namespace=prod --output=json\n"


def test_an_empty_namespace_is_unusable(terminal: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A misspelt namespace looks the same."""
    kubectl(tmp_path, monkeypatch, [])
    said = terminal.run("convert", "cronjob", "--namespace", "prdo")
    assert (said.code, said.out) == (2, "")
    assert "namespace prdo has no CronJob" in said.err
