"""The choice of ports, and the identity of processes. These tests need no cluster."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

from carillon_devcluster import ports, processes
from carillon_devcluster.files import readable_by_others
from carillon_devcluster.processes import Process
from carillon_devcluster.state import State

PYTHON = Path(sys.executable)
SLEEP = [sys.executable, "-c", "import time; time.sleep(1000)"]


def test_chosen_ports_differ_and_are_free() -> None:
    """There is one port for each name."""
    chosen = ports.choose(["a", "b", "c"], {})
    assert len(set(chosen.values())) == 3
    assert all(ports.is_free(port) for port in chosen.values())


def test_a_wanted_port_is_kept_if_it_is_free() -> None:
    """Addresses therefore survive a restart."""
    wanted = ports.choose(["a"], {})
    assert ports.choose(["a", "b"], wanted)["a"] == wanted["a"]


def test_a_busy_port_is_replaced() -> None:
    """If another program listens there, another port is chosen."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        busy = server.getsockname()[1]
        assert not ports.is_free(busy)
        assert ports.choose(["a"], {"a": busy})["a"] != busy


def test_the_same_wanted_port_is_given_once() -> None:
    """Two names cannot share a port."""
    port = ports.choose(["a"], {})["a"]
    chosen = ports.choose(["a", "b"], {"a": port, "b": port})
    assert chosen["a"] == port
    assert chosen["b"] != port


def test_a_process_is_itself_and_no_other() -> None:
    """The id is not enough: the start time has to be the same, too."""
    me = processes.identify(os.getpid())
    assert me.alive()
    assert not Process(me.pid, "1").alive()
    assert not Process(me.pid, "").alive()


def test_a_reused_number_is_not_signalled() -> None:
    """A process with another start time is not ours."""
    with subprocess.Popen(SLEEP) as other:
        processes.stop([Process(other.pid, "1")], grace=0.1)
        assert other.poll() is None
        other.kill()


def test_a_daemon_is_ended_and_its_log_written(tmp_path: Path) -> None:
    """It has only the given environment, and is stopped by SIGTERM."""
    script = "import os, time; print(sorted(os.environ), flush=True); time.sleep(1000)"
    log = tmp_path / "log"
    daemon = processes.spawn(PYTHON, ["-c", script], log, {"ONLY": "this", "LC_CTYPE": "C.UTF-8"})
    assert processes.wait_until(lambda: log.exists() and "\n" in log.read_text(), 10)
    assert log.read_text() == "['LC_CTYPE', 'ONLY']\n"
    assert os.getsid(daemon.pid) == daemon.pid
    processes.stop([daemon], grace=5)
    assert not daemon.alive()


def test_what_daemons_create_for_others_does_not_depend_on_the_callers_umask(tmp_path: Path) -> None:
    """It is theirs inside the block, and ours again behind it."""
    script = "import pathlib, sys; pathlib.Path(sys.argv[1]).mkdir()"
    before = os.umask(0o077)
    try:
        with readable_by_others():
            daemon = processes.spawn(PYTHON, ["-c", script, str(tmp_path / "theirs")], tmp_path / "log", {})
            assert processes.wait_until(lambda: not daemon.alive(), 10)
        (tmp_path / "ours").mkdir()
    finally:
        os.umask(before)
    modes = [(tmp_path / name).stat().st_mode & 0o777 for name in ("theirs", "ours")]
    assert modes == [0o755, 0o700]


def test_a_stubborn_daemon_is_killed(tmp_path: Path) -> None:
    """It gets SIGKILL after the grace period."""
    script = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(1000)"
    log = tmp_path / "log"
    daemon = processes.spawn(PYTHON, ["-c", script], log, {})
    assert processes.wait_until(lambda: log.exists() and "up" in log.read_text(), 10)
    processes.stop([daemon], grace=0.1)
    assert not daemon.alive()


def test_pods_of_a_killed_node_are_found_by_their_records_and_their_environment(tmp_path: Path) -> None:
    """The record of a process that has ended, or of another one, is ignored."""
    folder = tmp_path / "uid" / "main"
    folder.mkdir(parents=True)
    (folder / "process.json").write_text(f'{{"pid": {os.getpid()}, "start": "1"}}')
    mark = {"CARILLON_TERMINATION_LOG": f"{folder}/termination-log"}
    with subprocess.Popen(SLEEP, env=mark, start_new_session=True) as orphan:
        assert processes.wait_until(lambda: len(processes.marked(f"CARILLON_TERMINATION_LOG={tmp_path}/")) == 1, 10)
        assert processes.kill_pods(tmp_path) == 1
        assert not processes.identify(orphan.pid).alive()


def test_a_state_that_cannot_be_read_is_an_empty_one(tmp_path: Path) -> None:
    """The file may be truncated or missing."""
    path = tmp_path / "state.json"
    assert State.read(path) == State()
    path.write_text('{"ports": {')
    assert State.read(path) == State()


def test_a_state_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Writing and reading it gives the same state."""
    state = State(ports={"a": 1}, processes={"etcd": Process(2, "3")}, kubeconfig="/somewhere")
    state.write(tmp_path / "state.json")
    assert State.read(tmp_path / "state.json") == state
