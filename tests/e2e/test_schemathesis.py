"""The facade under schemathesis: everything that its OpenAPI document describes, and much that it forbids."""

import os
import subprocess
import sys
from pathlib import Path

from carillon_local.layout import free_port
from support.stack import Stack
from support.waiting import until

CONFIG = Path(__file__).with_name("schemathesis.toml")
EXAMPLES = 12
SECONDS = 900


def test_no_request_breaks_what_the_document_says(stack: Stack, namespace: str, tmp_path: Path) -> None:
    """No 5xx, no undocumented status, type, header or body; what the document forbids is refused, the rest is not."""
    port = free_port(0)
    stack.spawn("fuzzed-api", "carillon_api", **stack.api_settings(port, CARILLON_RATE_LIMIT="100000"))
    try:
        base = f"http://127.0.0.1:{port}"
        until(lambda: stack.ready(base), 60, "the API is ready")
        done = subprocess.run(
            [
                sys.executable, "-m", "schemathesis.cli", "--no-color", "--config-file", str(CONFIG), "run", f"{base}/openapi.json",
                "--header", f"Authorization: {stack.http.headers['Authorization']}",
                "--checks", "all", "--max-examples", str(EXAMPLES), "--seed", "1", "--workers", "2",
                "--continue-on-failure", "--suppress-health-check", "all", "--output-truncate", "true",
            ],
            env={**os.environ, "CARILLON_TEST_NAMESPACE": namespace, "NO_COLOR": "1"},
            capture_output=True, text=True, timeout=SECONDS, check=False, cwd=tmp_path,
        )  # fmt: skip
    finally:
        stack.end("fuzzed-api")
    said = "\n".join(line[:500] for line in done.stdout.splitlines())
    assert done.returncode == 0, said[-20_000:] + done.stderr[-2_000:]
    assert "Traceback" not in stack.log("fuzzed-api")
