"""The set-up: announcements, quick checks, and the failure of one part, which ends the other."""

import os
import socket
import sys
import time
from pathlib import Path

import pytest

import preflight
import setup
from preflight import SetupError, check_ports, check_python, check_space, memory_warning, plan
from support.waiting import until
from unit_pythons import ends, pythons


def test_the_plan_names_each_part_with_its_time_and_place() -> None:
    """It announces steps that take minutes; if everything is installed, it prints nothing."""
    assert plan(packages=False, cluster=False) == []
    both = "\n".join(plan(packages=True, cluster=True))
    for words in ("min on", ".venv", ".carillon/bin", "GOCACHE", "side by side"):
        assert words in both
    assert "cluster" not in "\n".join(plan(packages=True, cluster=False))


def test_a_port_that_is_taken_is_known_at_once(tmp_path: Path) -> None:
    """A port of our own earlier run is accepted."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with pytest.raises(SetupError, match=f"CARILLON_API_PORT: 127.0.0.1:{port} is in use"):
            check_ports({"CARILLON_API_PORT": port}, tmp_path)
        (tmp_path / "api-port.json").write_text(port)
        check_ports({"CARILLON_API_PORT": port}, tmp_path)
    check_ports({"CARILLON_HTTPBIN_PORT": port}, tmp_path)


@pytest.mark.parametrize("port", ["0", "65536", "http", "-1"])
def test_a_port_that_is_none_is_refused(port: str, tmp_path: Path) -> None:
    """The message has the setting's name and the valid range."""
    with pytest.raises(SetupError, match="must be a port from 1 to 65535"):
        check_ports({"CARILLON_API_PORT": port}, tmp_path)


def test_a_full_disk_is_known_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says how much is needed and where."""
    check_space(tmp_path)
    monkeypatch.setattr(preflight, "ENVIRONMENT_BYTES", 1 << 60)
    with pytest.raises(SetupError, match=f"the Python packages need 1 GB, and {tmp_path} has"):
        check_space(tmp_path)


def test_little_memory_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container's limit counts, too."""
    monkeypatch.setattr(preflight, "COMFORTABLE_BYTES", 2_000_000)
    monkeypatch.setattr(preflight, "MEMORY_LIMIT", tmp_path / "memory.max")
    assert memory_warning() is None
    (tmp_path / "memory.max").write_text("max\n")
    assert memory_warning() is None
    (tmp_path / "memory.max").write_text("1000000\n")
    assert "0.0 GB of memory is free" in str(memory_warning())


@pytest.mark.parametrize(
    ("name", "value", "want"),
    [
        pytest.param("version_info", (3, 10, 4), "Python 3.11 or later is required", id="too old"),
        pytest.param("path", [], "python3.*-venv", id="Debian's without python3-venv"),
    ],
)
def test_a_python_that_cannot_do_it_is_known_at_once(
    name: str, value: object, want: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names the package to install."""
    check_python()
    if name == "path":
        monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    else:
        monkeypatch.setattr(sys, name, type("version", (tuple,), {"major": 3, "minor": 10})(value))
    with pytest.raises(SetupError, match=want):
        check_python()


def fake_build(folder: Path, script: str) -> None:
    """Replace the local cluster's build by a program."""
    package = folder / "devcluster" / "carillon_devcluster"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text(script)


def test_a_build_that_fails_ends_the_installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends at once, not when the installation is complete."""
    monkeypatch.setattr(setup, "ROOT", tmp_path)
    fake_build(tmp_path, "raise SystemExit(1)")
    builder = setup.Builder()
    began = time.monotonic()
    with pytest.raises(SetupError, match="the local cluster was not built"):
        setup._run(tmp_path / "log", "install", ["sleep", "600"], builder)  # noqa: SLF001  # the step itself
    assert time.monotonic() - began < 60


def test_an_installation_that_fails_ends_the_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This includes all processes of the build."""
    monkeypatch.setattr(setup, "ROOT", tmp_path)
    children = tmp_path / "child"
    fake_build(
        tmp_path,
        "import pathlib, subprocess\n"
        "child = subprocess.Popen(['sleep', '600'])\n"
        f"pathlib.Path({str(children)!r}).write_text(str(child.pid))\n"
        "child.wait()\n",
    )
    builder = setup.Builder()
    ready = ["sh", "-c", f"until test -s {children}; do :; done; echo no such package; exit 1"]
    with pytest.raises(SetupError, match=r"could not install; the end of log:\nno such package"):
        setup._run(tmp_path / "log", "install", ready, builder)  # noqa: SLF001  # the step itself
    builder.end()
    until(lambda: not is_alive(int(children.read_text())), 60, "the build's child ends")


def is_alive(pid: int) -> bool:
    """Return whether a process is running; a zombie is not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_the_pythons_are_found_where_they_are(tmp_path: Path) -> None:
    """They are on PATH or in pyenv; broken or old ones are ignored."""
    shims, version = tmp_path / "shims", tmp_path / "versions" / "3.13.9" / "bin"
    for folder, names in {shims: ("python3.10", "python3.12"), version: ("python3.13",)}.items():
        folder.mkdir(parents=True)
        for name in names:
            (folder / name).write_text("#!/bin/sh\necho 3\n")
            (folder / name).chmod(0o755)
    (shims / "python3.11").write_text("#!/bin/sh\nexit 127\n")
    (shims / "python3.11").chmod(0o755)
    found = pythons({"PATH": f"{shims}", "PYENV_ROOT": str(tmp_path)})
    assert found == {(3, 12): shims / "python3.12", (3, 13): version / "python3.13"}
    assert ends(found) == [(3, 12), (3, 13)]
    assert ends([(3, 12)]) == [(3, 12)]


def test_an_environment_is_made_again_when_what_it_is_made_of_changes(tmp_path: Path) -> None:
    """Its stamp shows its inputs; an interrupted installation has no stamp."""
    environment = setup.Environment(tmp_path, Path(sys.executable))
    assert not environment.is_current()
    (tmp_path / ".carillon-stamp").write_text("of another")
    assert not environment.is_current()
    assert environment.interpreter == tmp_path / "bin" / "python"
    assert os.fspath(environment.interpreter)
