"""If Docker and kind are available, tests use pytest-kind's cluster: that path, with a replacement of kind."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from carillon_local.layout import ROOT
from support.cluster import RunningCluster

KIND = """#!{python}
import pathlib, shutil, sys
with pathlib.Path({calls!r}).open("a") as calls:
    calls.write(" ".join(word for word in sys.argv[1:] if not word.startswith("--kubeconfig")) + "\\n")
if sys.argv[1] == "create":
    given = next(word.partition("=")[2] for word in sys.argv if word.startswith("--kubeconfig="))
    shutil.copy({kubeconfig!r}, given)
"""


@pytest.mark.parametrize(
    ("worker", "want_name"),
    [
        pytest.param("", "pytest-kind", id="one process"),
        pytest.param("gw3", "pytest-kind-gw3", id="a worker of several"),
    ],
)
def test_tests_run_in_a_cluster_of_pytest_kind(
    worker: str, want_name: str, cluster: RunningCluster, tmp_path: Path
) -> None:
    """The kind on the path creates one cluster for each worker and deletes it at the end; the tests in it pass."""
    programs = tmp_path / "bin"
    programs.mkdir()
    calls = tmp_path / "calls"
    (programs / "docker").write_text("#!/bin/sh\n")
    kind = KIND.format(python=sys.executable, calls=str(calls), kubeconfig=cluster.kubeconfig)
    (programs / "kind").write_text(kind)
    for program in programs.iterdir():
        program.chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if name.startswith(("HOME", "LANG"))}
    environment = kept | {"PATH": f"{programs}:/usr/bin:/bin", "PYTEST_XDIST_WORKER": worker}
    # pytest-kind stores its state in the current folder
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    place = ("--rootdir", str(ROOT), "--config-file", str(ROOT / "pyproject.toml"))
    tests = ROOT / "tests" / "integration" / "tools" / "test_chart.py"
    done = subprocess.run(
        [*command, *place, str(tests), "-k", "misspelt"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 passed" in done.stdout, done.stdout + done.stderr
    assert calls.read_text().splitlines() == [
        "get clusters",
        f"create cluster --name={want_name}",
        f"delete cluster --name={want_name}",
    ]
