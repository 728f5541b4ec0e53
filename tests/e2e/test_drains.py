"""A node that is drained under load: no execution runs beside another of its task, and none is done twice."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from support.drained_load import DrainedLoad
from support.span_server import SpanServer

if TYPE_CHECKING:
    from support.stack import Stack

PYTHON = "test/python:1"
DRAINS = 2


def test_a_drained_node_doubles_nothing_and_ends_no_execution(stack: Stack, namespace: str) -> None:
    """Runner and container tasks, Forbid and Replace; a server that holds their requests saw when each lived."""
    stack.add_images({PYTHON: {"entrypoint": [], "readsAll": True}})
    (node,) = stack.kubectl("get", "nodes", "--output=name").split()
    with SpanServer() as server:
        load = DrainedLoad(stack, namespace, server, PYTHON, sys.executable)
        load.begin()
        load.drain_until_met(node.removeprefix("node/"), DRAINS)
        assert load.end()["counted"] >= DRAINS
