"""The commands as programs, run by Python as modules."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from carillon_core import contract
from carillon_core.contract import ExitCode
from carillon_core.resources.__main__ import crd_yaml
from carillon_core.resources.crd.definitions import KINDS, crd_of
from support.builders import RUNNER_ENV


def test_make_manifests_writes_the_crds(tmp_path: Path) -> None:
    """``make manifests`` writes the checked-in files, byte for byte."""
    command = [sys.executable, "-m", "carillon_core.resources"]
    subprocess.run([*command, "--output", str(tmp_path / "made")], check=True)
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert {f.name: f.read_text() for f in (tmp_path / "made").iterdir()} == {k.file_name: crd_yaml(k) for k in KINDS}
    assert list(yaml.safe_load_all(printed)) == [crd_of(kind) for kind in KINDS]


def test_the_cli_runs_as_a_module() -> None:
    """``python -m carillon_cli`` is the same program, with the same exit code."""
    command = [sys.executable, "-m", "carillon_cli", "next", "often"]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 2


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (contract.ENV_TIMEOUT_SECONDS, "soon"),
        (contract.ENV_DATABASE_URL, "postgresql://carillon:hunter2@db:5432:5432/carillon?no=such"),
    ],
)
def test_the_runner_names_a_bad_variable_in_one_line_and_exits_with_misconfigured(name: str, value: str) -> None:
    """This includes URLs that only libpq rejects, whose own message would contain the password."""
    done = subprocess.run(
        [sys.executable, "-m", "carillon_runner"],
        check=False,
        capture_output=True,
        text=True,
        env={**RUNNER_ENV, name: value},
    )
    assert done.returncode == ExitCode.MISCONFIGURED
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith(f"carillon-runner: {name} ")
    assert "hunter2" not in done.stderr
