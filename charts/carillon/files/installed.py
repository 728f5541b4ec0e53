"""What `helm test` runs in a pod: the API is ready, and a task that it creates is run and recorded."""

import json
import os
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

TOKEN = Path(os.environ.get("TOKEN_FILE", "/var/run/secrets/kubernetes.io/serviceaccount/token"))
API = os.environ["API_URL"]
NAME = f"helm-test-{int(time.time())}"
TASKS = f"/api/v1/namespaces/{os.environ['NAMESPACE']}/tasks"
SECONDS = 180
TOO_MANY_REQUESTS = 429
MOST_WAITS = 10


def call(method: str, path: str, body: object = None) -> Any:
    """Return the API's answer, or end with what it refuses and why; a limit of requests is waited for."""
    headers = {"Authorization": f"Bearer {TOKEN.read_text().strip()}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(API + path, data, headers, method=method)  # noqa: S310  # the chart's own Service
    for _ in range(MOST_WAITS):
        try:
            with urllib.request.urlopen(request, timeout=15) as answer:  # noqa: S310  # the same
                said = answer.read()
        except urllib.error.HTTPError as error:
            if error.code != TOO_MANY_REQUESTS:
                sys.exit(f"{method} {path}: {error.code} {error.read().decode(errors='replace')}")
            time.sleep(float(error.headers["Retry-After"]))
        except OSError as error:
            sys.exit(f"{method} {path}: {error}")
        else:
            return json.loads(said) if said else None
    sys.exit(f"{method} {path}: {MOST_WAITS} times too many requests; raise api.rateLimit and api.rateBurst")


def await_success() -> None:
    """Return when the task's execution has succeeded; end if it fails or does not come."""
    deadline = time.monotonic() + SECONDS
    status = "not launched"
    while time.monotonic() < deadline:
        found = call("GET", f"{TASKS}/{NAME}/executions")["items"]
        status = found[0]["status"] if found else status
        if status == "Succeeded":
            return
        if found and status != "Running":
            sys.exit(f"the task's execution is {status}: {json.dumps(found[0])}")
        time.sleep(1)
    sys.exit(f"after {SECONDS} seconds the task's execution is {status}: look at the operator's log")


print(json.dumps(call("GET", "/readyz")))
spec = {"intervalSeconds": 1, "maxRuns": 1, "task": {"sum": {"a": 1, "b": 2}}}
call("POST", TASKS, {"name": NAME, "spec": spec})
try:
    await_success()
finally:
    call("DELETE", f"{TASKS}/{NAME}")
print("a task was created, run, recorded and deleted")
