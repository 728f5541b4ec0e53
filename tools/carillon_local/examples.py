"""The examples: applied, and awaited until each has an execution on record."""

import socket
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import httpx
import yaml

from carillon_local.layout import EXAMPLES, LocalError
from carillon_local.target import Target

PUBLIC_HTTPBIN = "https://httpbin.org"
WAIT_SECONDS = 90.0
SHOWN_PODS = 8


def reaches_public_httpbin() -> bool:
    """Return whether httpbin.org can be reached from here."""
    try:
        with socket.create_connection(("httpbin.org", 443), timeout=2):
            return True
    except OSError:
        return False


def example_manifests(httpbin_url: str) -> list[dict[str, Any]]:
    """Return every object of ``examples/``, with the address of the httpbin to use."""
    objects: list[dict[str, Any]] = []
    for path in sorted(EXAMPLES.glob("*.yaml")):
        text = path.read_text().replace(PUBLIC_HTTPBIN, httpbin_url)
        objects.extend(doc for doc in yaml.safe_load_all(text) if doc)
    return objects


def apply_examples(target: Target, httpbin_url: str) -> list[tuple[str, str]]:
    """Apply the examples; return the namespace and name of each task."""
    objects = example_manifests(httpbin_url)
    target.kubectl("apply", "--filename", "-", stdin=yaml.safe_dump_all(objects))
    return [(o["metadata"].get("namespace", "default"), o["metadata"]["name"]) for o in objects]


def await_executions(target: Target, api_url: str, tasks: list[tuple[str, str]], since: datetime) -> None:
    """Wait until each task has an execution that succeeded after ``since``.

    Raises:
        LocalError: Naming the tasks that have none, and how their pods stand.

    """
    missing = list(tasks)
    deadline = time.monotonic() + WAIT_SECONDS
    with httpx.Client(base_url=api_url, timeout=10, trust_env=False) as client:
        while missing:
            missing = [task for task in missing if not _has_run(client, task, since)]
            if missing and time.monotonic() > deadline:
                names = ", ".join("/".join(t) for t in missing)
                selector = ("--all-namespaces", "--selector", "app.kubernetes.io/managed-by=carillon")
                pods = "\n".join(target.kubectl("get", "pods", *selector).splitlines()[: 1 + SHOWN_PODS])
                late = f"no execution succeeded within {WAIT_SECONDS:.0f} s for: {names}"
                raise LocalError(f"{late}; see `make logs`. The pods:\n{pods}")
            if missing:
                time.sleep(0.25)


def _has_run(client: httpx.Client, task: tuple[str, str], since: datetime) -> bool:
    path = "/api/v1/namespaces/{}/tasks/{}".format(*task)
    found = client.get(path)
    answer = client.get(f"{path}/executions", params={"limit": 50, "status": "succeeded"})
    if found.is_error or answer.is_error:
        return False
    uid = found.json()["uid"]
    items: list[Mapping[str, Any]] = answer.json()["items"]
    return any(i["taskUid"] == uid and datetime.fromisoformat(i["finishedAt"]) >= since for i in items)
