"""What bodies of many shapes cost the facade, each measured in a process of its own.

``make hostile-bodies`` measures every shape in each operation, not only in those that read bodies in their own way.
"""

import json
import os
import subprocess
import sys

import pytest

from support.api import openapi_document
from support.hostile_bodies import OPERATIONS, SHAPES, pairs
from support.programs import unmeasured

ALL = bool(os.environ.get("CARILLON_ALL_HOSTILE_BODIES"))
MOST_KIB = 50 * 1024
MOST_SECONDS = 1.0


@pytest.mark.timeout(600)
def test_a_mebibyte_of_anything_takes_less_than_a_second_and_fifty_mebibytes() -> None:
    """In every operation that takes a body; the answer is a refusal or a result, and small."""
    command = [sys.executable, "-m", "support.hostile_bodies", *(["--all"] if ALL else [])]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=540, cwd="tests", env=unmeasured()
    )
    measured = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, done.stderr[-5000:]
    assert [(line["operation"], line["shape"]) for line in measured] == list(pairs(is_all=ALL))
    dear = [line for line in measured if line["kib"] > MOST_KIB or line["seconds"] > MOST_SECONDS]
    assert dear == []
    assert {line["status"] for line in measured} <= {200, 201, 202, 400, 413, 422}


def test_a_share_has_everything() -> None:
    """Each operation and each shape."""
    share = set(pairs(is_all=False))
    assert {operation for operation, _ in share} == set(OPERATIONS)
    assert {shape for _, shape in share} == set(SHAPES)
    assert share < set(pairs(is_all=True))


def test_every_operation_with_a_body_is_measured() -> None:
    """Those of the OpenAPI document."""
    paths = openapi_document()["paths"].values()
    taking = {each["operationId"] for path in paths for each in path.values() if "requestBody" in each}
    assert taking == set(OPERATIONS)
