"""The facade tested with schemathesis: requests that its OpenAPI document describes, and many that it forbids."""

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from carillon_local.layout import free_port
from support.stack import Stack
from support.waiting import until

CONFIG = Path(__file__).with_name("schemathesis.toml")
EXAMPLES = 8
SECONDS = 600
"""It takes about two minutes on idle cores; this is enough on a busy machine."""


@pytest.mark.timeout(SECONDS + 120)
def test_no_request_breaks_what_the_document_says(stack: Stack, namespace: str, tmp_path: Path) -> None:
    """There are no 5xx and nothing undocumented; forbidden requests are rejected, allowed ones are not."""
    # its tasks are real and run; this limits the number of pods
    stack.kubectl("create", "quota", "few", "--namespace", namespace, "--hard=pods=10")
    port = free_port(0)
    base = f"http://127.0.0.1:{port}"
    limits = {"CARILLON_RATE_LIMIT": "100000", "CARILLON_RATE_BURST": "100000", "CARILLON_FAILED_AUTH_BURST": "100000"}
    stack.start_facade("fuzzed", port, CARILLON_DEFAULT_NAMESPACE=namespace, **limits)
    try:
        until(lambda: _is_ready(base), 60, "the API is ready")
        done = subprocess.run(
            [
                *(sys.executable, "-m", "schemathesis.cli", "--no-color", "--config-file", str(CONFIG)),
                *("run", f"{base}/openapi.json", "--header", f"Authorization: {stack.http.headers['Authorization']}"),
                # one worker: in Python 3.11, parsing Python in two threads at once sometimes fails
                *("--checks", "all", "--max-examples", str(EXAMPLES), "--seed", "1", "--workers", "1"),
                *("--continue-on-failure", "--suppress-health-check", "all"),
            ],
            env={**os.environ, "CARILLON_TEST_NAMESPACE": namespace},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
            cwd=tmp_path,
        )
    finally:
        stack.end("fuzzed")
    said = "\n".join(line[:500] for line in done.stdout.splitlines())
    assert done.returncode == 0, said[-20_000:] + done.stderr[-2_000:]
    assert "Traceback" not in stack.log("fuzzed")


def _is_ready(base: str) -> bool:
    try:
        return httpx.get(f"{base}/readyz", trust_env=False).is_success
    except httpx.HTTPError:
        return False
