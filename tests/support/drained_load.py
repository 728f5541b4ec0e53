"""Tasks that run while their node is drained, and what must be true of them afterwards; on any kind of node."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from support.waiting import until

if TYPE_CHECKING:
    from support.span_server import SpanServer
    from support.view import View

PROGRAM = """
import http.client, os, signal, sys
url, path, polite = sys.argv[1:4]
signal.signal(signal.SIGTERM, lambda *_: os._exit(143) if polite == "polite" else None)
connection = http.client.HTTPConnection(url, timeout=60)
connection.request("POST", path, headers={"Idempotency-Key": os.environ["CARILLON_EXECUTION_ID"]})
if connection.getresponse().status != 200:
    sys.exit(1)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
connection.sock.sendall(b"kept")
"""
"""A container's work: one held request. A polite one ends at SIGTERM; another one finishes its work first."""
RETRY = {"limit": 5, "initialDelaySeconds": 0}
TASKS: dict[str, tuple[str, float, int, str]] = {
    # concurrencyPolicy, seconds of work, interval, what it is
    "patient": ("Forbid", 5, 6, "stubborn container"),
    "polite": ("Forbid", 6, 8, "polite container"),
    "hasty": ("Replace", 2, 5, "stubborn container"),
    "replaced": ("Replace", 7, 5, "polite container"),
    "asked": ("Forbid", 6, 8, "runner"),
    "asked-anew": ("Replace", 1, 6, "runner"),
}
AT_WORK = ("patient", "polite", "asked")
"""Those that a drain is to find at work."""
COUNTER = "counted"


class DrainedLoad:
    """Runner and container tasks, Forbid and Replace, in a namespace.

    Their work is a request that a server holds, so that it knows when each of their processes lived.
    """

    def __init__(self, view: View, namespace: str, server: SpanServer, image: str, python: str) -> None:
        """Take where to run, and what runs ``PROGRAM``.

        Args:
            view: The cluster and its history.
            namespace: Where the tasks are applied.
            server: Holds their requests; pods reach it.
            image: An image of containers with Python.
            python: Python's name in that image.

        """
        self._view = view
        self._namespace = namespace
        self._server = server
        self._image = image
        self._python = python

    def begin(self) -> None:
        """Apply the tasks, and wait until each has run."""
        for name, (policy, seconds, interval, what) in TASKS.items():
            self._view.apply(
                self._namespace,
                name,
                intervalSeconds=interval,
                concurrencyPolicy=policy,
                task=self._work(name, seconds, what),
                retry=RETRY if what == "runner" else {"limit": 0},
                timeoutSeconds=600,
            )
        self._view.apply(self._namespace, COUNTER, intervalSeconds=3, concurrencyPolicy="Forbid", task={"counter": {}})
        for name in (*TASKS, COUNTER):
            wanted = "cancelled" if name == "replaced" else "succeeded"
            self._view.await_rows(self._namespace, name, 1, wanted, seconds=120)

    def _path(self, name: str) -> str:
        return f"/{self._namespace}/{name}"

    def _work(self, name: str, seconds: float, what: str) -> dict[str, Any]:
        held = f"{self._path(name)}?hold={seconds}"
        if what == "runner":
            return {"http": {"url": f"{self._server.url}{held}", "method": "POST"}}
        address = self._server.url.removeprefix("http://")
        command = [self._python, "-c", PROGRAM, address, f"{held}&keep=1", what.split(maxsplit=1)[0]]
        return {"container": {"image": self._image, "command": command}}

    def drain(self, node: str) -> None:
        """Drain a node of the tasks' pods while some of them work, let it take pods again, and see that all go on."""
        until(lambda: all(self._server.at_work(self._path(name)) for name in AT_WORK), 180, "they work at once")
        began = datetime.now(UTC)
        try:
            # the operator stays: it has no other node to go to
            self._view.kubectl("drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--force",
                               f"--pod-selector=carillon.dev/task in ({','.join((*TASKS, COUNTER))})",
                               "--timeout=120s")  # fmt: skip
        finally:
            self._view.kubectl("uncordon", node)
        for name in (*TASKS, COUNTER):
            if name != "replaced":
                self._view.await_slot_after(self._namespace, name, began, seconds=400)

    def drain_until_met(self, node: str, least: int) -> None:
        """Drain a node ``least`` times, or up to three times as often until they have interrupted what they must."""
        for number in range(3 * least):
            if number >= least and not self._not_met():
                return
            self.drain(node)

    def end(self) -> dict[str, int]:
        """Suspend the tasks, wait for the last execution, and check them all; return how often each succeeded.

        Raises:
            AssertionError: Two executions of a task overlapped, an effect was doubled, or a row is not true.

        """
        for name in (*TASKS, COUNTER):
            patch = '{"spec": {"suspend": true}}'
            self._view.kubectl("patch", "scheduledtask", name, "--namespace", self._namespace, "--type=merge",
                               "--patch", patch)  # fmt: skip
        until(lambda: not self._view.rows(self._namespace, None, "running"), 300, "every execution has its end")
        until(lambda: not any(self._server.at_work(self._path(name)) for name in TASKS), 60, "nobody works any more")
        for name, (_, _, _, what) in TASKS.items():
            self._assert_true(name, what)
        counted = [row["result"]["value"] for row in self._view.rows(self._namespace, COUNTER, "succeeded")]
        assert sorted(counted) == list(range(1, len(counted) + 1)), "each counted once"
        assert self._not_met() == []
        return {name: len(self._view.rows(self._namespace, name, "succeeded")) for name in (*TASKS, COUNTER)}

    def _was_ended(self, row: dict[str, Any]) -> bool:
        return any(attempt["reason"] == "Terminated" for attempt in self._view.attempts(row))

    def _not_met(self) -> list[str]:
        """Return which tasks no drain has interrupted yet; a container and a runner must have gone on elsewhere."""
        found = []
        for name, reason in (("polite", "EvictionByEvictionAPI"), ("asked", "Terminated")):
            rows = self._view.rows(self._namespace, name, "succeeded")
            ended = [attempt["reason"] for row in rows for attempt in self._view.attempts(row)]
            if reason not in ended:
                found.append(f"no drain met {name} at work: {ended}")
        return found

    def _assert_true(self, name: str, what: str) -> None:
        assert self._server.overlaps(self._path(name)) == [], f"{name} ran beside itself"
        done = Counter(span.key for span in self._server.spans(self._path(name)) if span.done)
        twice = [key for key, times in done.items() if times > 1]
        if what == "runner":  # a request that was answered when the signal came is sent again, as the policy allows
            interrupted = [str(row["id"]) for row in self._view.rows(self._namespace, name) if self._was_ended(row)]
            twice = [key for key in twice if key not in interrupted]
        assert twice == [], f"{name} did its work twice"
        for row in self._view.rows(self._namespace, name):
            told = f"{name} ({what}): {row['status']} {row['reason']}: {row['message']}"
            # a runner's row is closed before it is told to end, so its request may still be answered
            if what != "runner" or row["status"] != "cancelled":
                assert (str(row["id"]) in done) is (row["status"] == "succeeded"), told
            allowed = {"succeeded", "skipped", "missed", *(["cancelled"] if TASKS[name][0] == "Replace" else [])}
            assert row["status"] in allowed, told
            assert row["status"] != "cancelled" or row["reason"] == "Replaced", told
