"""The facade under schemathesis: everything that its OpenAPI document describes, and much that it forbids.

``make schemathesis CASES=10000`` runs more of it.
"""

import json
import math
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.ports import own_port
from support.programs import unmeasured
from support.stack import Stack
from support.waiting import until

CONFIG = Path(__file__).with_name("schemathesis.toml")
CASES = int(os.environ.get("CARILLON_SCHEMATHESIS_CASES", "0"))
"""How many requests there have to be; 0 for as many as ``EXAMPLES`` makes."""
BAD_REQUEST, CONFLICT = 400, 409
EXAMPLES = 8
FEWER = """
[[operations]]
include-operation-id = ["createTask", "previewTask", "previewNamespacedTask", "createTarget"]

[operations.phases.coverage]
enabled = false
"""
"""With ``EXAMPLES``: these read the same bodies as createNamespacedTask and createNamespacedTarget."""
SECONDS = 600 + CASES // 5
"""Some two minutes on idle cores; this much where everything else runs beside it."""
MOST_UNAUTHENTICATED = 0.01
EXISTING: dict[str, dict[str, Any]] = {
    "tasks": {"schedule": "@yearly", "task": {"sum": {"a": 1, "b": 2}}},
    "targets": {"url": "https://example.com/"},
}
"""What each kind has under the name that ``CONFIG`` asks for."""
UNREACHED = {
    *(("GET", path) for path in ("/healthz", "/readyz", "/metrics", "/api/v1/health")),
    ("GET", "/api/v1/metrics/prometheus"),
    ("GET", "/api/v1/executions/{id}"),
    ("GET", "/api/v1/executions/{id}/logs"),
    ("POST", "/api/v1/executions/{id}/retry"),
    ("POST", "/api/v1/executions/{id}/cancel"),
    ("GET", "/api/v1/get-task-output"),
    ("GET", "/api/v1/namespaces/{namespace}/runs/{name}"),
    ("DELETE", "/api/v1/namespaces/{namespace}/runs/{name}"),
    ("GET", "/api/v1/events"),
}
"""Operations without a success in the log: probes have no line, no schema says which executions and runs exist, and the
stream of events is left out, because it does not end."""


@pytest.mark.timeout(SECONDS + 120)
def test_no_request_breaks_what_the_document_says(stack: Stack, namespace: str, tmp_path: Path) -> None:
    """There are no 5xx and nothing undocumented; forbidden requests are rejected, allowed ones are not."""
    # its tasks are real and run; this limits the number of pods
    stack.kubectl("create", "quota", "few", "--namespace", namespace, "--hard=pods=10")
    for kind, spec in EXISTING.items():
        created = stack.http.post(f"/api/v1/namespaces/{namespace}/{kind}", json={"name": "fuzzed", "spec": spec})
        assert created.status_code == 201, created.text
    port = own_port()
    base = f"http://127.0.0.1:{port}"
    unmeasured_too = {"COVERAGE_PROCESS_CONFIG": ""}
    limits = {"CARILLON_RATE_LIMIT": "100000", "CARILLON_RATE_BURST": "100000", "CARILLON_FAILED_AUTH_BURST": "100000"}
    stack.start_facade("fuzzed", port, CARILLON_DEFAULT_NAMESPACE=namespace, **limits, **unmeasured_too)
    try:
        until(lambda: _is_ready(base), 60, "the API is ready")
        document = without_security(httpx.get(f"{base}/openapi.json", timeout=30, trust_env=False).json())
        done = fuzzed(stack, base, document, namespace, tmp_path)
    finally:
        stack.end("fuzzed")
    said = "\n".join(line[:500] for line in done.stdout.splitlines())
    answers = answered(stack.log("fuzzed"))
    statuses = Counter(status for _, _, status in answers.elements())
    sys.stdout.write(f"{statuses.total()} requests: {dict(sorted(statuses.items()))}\n")
    assert done.returncode == 0, said[-20_000:] + done.stderr[-2_000:]
    assert "Traceback" not in stack.log("fuzzed")
    assert statuses[401] <= statuses.total() * MOST_UNAUTHENTICATED, statuses
    assert statuses.total() - statuses[401] >= CASES
    succeeded = {(method, route) for method, route, status in answers if status < BAD_REQUEST or status == CONFLICT}
    operations = {(method.upper(), route) for route, path in document["paths"].items() for method in path}
    assert operations - succeeded <= UNREACHED


def fuzzed(
    stack: Stack, base: str, document: dict[str, Any], namespace: str, folder: Path
) -> subprocess.CompletedProcess[str]:
    """Return what Schemathesis says of an API and its document."""
    config = folder / "schemathesis.toml"
    config.write_text(CONFIG.read_text() + ("" if CASES else FEWER))
    given = folder / "openapi.json"
    given.write_text(json.dumps(document))
    return subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "--no-color", "--config-file", str(config), "run", str(given)),
            *("--url", base, "--header", f"Authorization: {stack.http.headers['Authorization']}"),
            # one worker: with more, parsing Python in two threads at once now and then breaks off in Python 3.11
            # all checks are on by default; named here, they could not be off for an operation
            *("--max-examples", str(examples(document)), "--seed", "1", "--workers", "1"),
            *("--continue-on-failure", "--suppress-health-check", "all"),
        ],
        env={**unmeasured(), "CARILLON_TEST_NAMESPACE": namespace},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        cwd=folder,
    )


def without_security(document: dict[str, Any]) -> dict[str, Any]:
    """Return a document without its ways to authenticate.

    schemathesis would add an API key of its own beside the token that it is given, and a request with both is refused.
    """
    document["components"].pop("securitySchemes")
    for path in document["paths"].values():
        for operation in path.values():
            operation.pop("security", None)
    return document


def examples(document: dict[str, Any]) -> int:
    """Return how many examples of each operation make the cases that are asked for."""
    operations = sum(len(path) for path in document["paths"].values())
    return max(EXAMPLES, math.ceil(CASES / operations))


def answered(log: str) -> Counter[tuple[str, str, int]]:
    """Return how often an operation, by method and path, answered with a status, by the facade's log."""
    lines = (json.loads(line) for line in log.splitlines() if '"message": "request"' in line)
    return Counter((line["method"], line["route"], line["status"]) for line in lines if line["route"] is not None)


def _is_ready(base: str) -> bool:
    try:
        return httpx.get(f"{base}/readyz", trust_env=False).is_success
    except httpx.HTTPError:
        return False
