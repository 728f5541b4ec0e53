"""One task whose decision does not end, or ends the process: it is set aside, and all others go on."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from support.planted_operator import DEFECTS
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.stack import Stack

MOST_MEMORY = 700_000_000
"""The limit of the operator's container, in bytes."""
LIVENESS_SECONDS = 60
"""How long the chart's liveness probe lets an operator hang: six periods of ten seconds."""


@contextmanager
def kubelet(stack: Stack, folder: Path) -> Iterator[list[int]]:
    """Run the planted operator as a node does: start it again when it ends, end it when it takes too much memory.

    Yields:
        Its exit codes so far.

    """
    codes: list[int] = []
    stop = threading.Event()

    def run() -> None:
        while not stop.is_set():
            stack.spawn_operator(
                "support.planted_operator",
                CARILLON_STATE_FOLDER=str(folder),
                PYTHONPATH="core:operator:tests:tools:devcluster:api",
            )
            process = psutil.Process(stack.pid("operator"))
            while stack.runs("operator") and not stop.wait(0.1):
                if process.memory_info().rss > MOST_MEMORY:
                    process.kill()
            codes.append(stack.end("operator"))

    stack.end("operator")
    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield codes
    finally:
        stop.set()
        thread.join()
        stack.start_operator()


def ready(task: dict[str, Any]) -> tuple[str, str]:
    """Return the status and the reason of a task's Ready condition."""
    found = [c for c in task.get("status", {}).get("conditions", ()) if c["type"] == "Ready"]
    return (found[0]["status"], found[0]["reason"]) if found else ("", "")


@pytest.mark.parametrize(
    ("defect", "most_ends"),
    [(defect, ends) for defect, ends in zip(DEFECTS, (0, 1, 2, 0, 2), strict=True)],
    ids=[work.__name__ for work in DEFECTS.values()],
)
def test_a_task_that_stops_the_operator_is_set_aside(
    stack: Stack, namespace: str, tmp_path: Path, defect: int, most_ends: int
) -> None:
    """The others go on within one liveness period; a change of its spec frees it."""
    with kubelet(stack, tmp_path) as codes:
        stack.apply(namespace, "steady", intervalSeconds=1, task={"sum": {"a": 1, "b": 2}})
        stack.await_executions(namespace, "steady", 1, "Succeeded", seconds=60)
        stack.apply(namespace, "planted", intervalSeconds=1, timeoutSeconds=defect, task={"sum": {"a": 1, "b": 2}})
        until(
            lambda: ready(stack.task(namespace, "planted")) == ("False", "Quarantined"), LIVENESS_SECONDS, "set aside"
        )
        before = len(stack.executions(namespace, "steady", "Succeeded"))
        stack.await_executions(namespace, "steady", before + 2, "Succeeded", seconds=30)
        assert len(codes) <= most_ends
        assert stack.executions(namespace, "planted") == []
        stack.apply(namespace, "planted", intervalSeconds=1, timeoutSeconds=30, task={"sum": {"a": 1, "b": 2}})
        stack.await_executions(namespace, "planted", 1, "Succeeded", seconds=30)
        assert ready(stack.task(namespace, "planted")) == ("True", "Scheduled")
