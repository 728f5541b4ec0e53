"""Forks operators from a process that has imported their modules: a start takes milliseconds, not a second.

Each operator equals ``python -m carillon_operator``: a process in its own
session that runs this module as ``__main__``. ``operators`` starts the zygote
and exchanges JSON lines with it: ``{"id", "environment", "folder"}`` asks for an
operator; ``{"id", "pid"}`` and ``{"id", "code"}`` report its start and end. When
its input ends, it kills the operators.
"""

import gc
import json
import os
import runpy
import selectors
import signal
import sys
from typing import Any

import kubernetes.aio.config
import kubernetes.config

from carillon_core import logs
from carillon_core.adapters import kube
from carillon_core.adapters.postgres import history
from carillon_operator import application, settings
from carillon_operator.gather import handlers
from faults.processes.clock import STEP_VARIABLE, step_clock
from faults.processes.operators import LOG

_PRELOADED = (kubernetes.aio.config, kubernetes.config, logs, kube, history, application, handlers, settings)
"""Modules that are imported before the fork."""


def main() -> None:
    """Serve until the input ends."""
    gc.freeze()
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the harness ends the zygote by closing its input
    running: dict[int, int] = {}
    with selectors.DefaultSelector() as selector:
        selector.register(woken, selectors.EVENT_READ)
        selector.register(sys.stdin.fileno(), selectors.EVENT_READ)
        rest = b""
        while True:
            for key, _ in selector.select():
                chunk = os.read(key.fd, 65536)
                if key.fd == woken:
                    _reap(running)
                    continue
                if not chunk:
                    for pid in running:
                        os.kill(pid, signal.SIGKILL)
                    return
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    asked = json.loads(line)
                    pid = _start(asked)
                    running[pid] = asked["id"]
                    _say({"id": asked["id"], "pid": pid})


def _reap(running: dict[int, int]) -> None:
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        _say({"id": running.pop(pid), "code": os.waitstatus_to_exitcode(status)})


def _say(what: dict[str, int]) -> None:
    os.write(sys.stdout.fileno(), json.dumps(what).encode() + b"\n")


def _start(asked: dict[str, Any]) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        os.setsid()
        os.chdir(asked["folder"])
        log = os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        os.environ.clear()
        os.environ.update(asked["environment"])
        if step := float(os.environ.pop(STEP_VARIABLE, "0")):
            step_clock(step)
        sys.argv = ["carillon_operator"]
        runpy.run_module("carillon_operator", run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    finally:
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
