"""Applies the examples and waits until each has an execution in the history."""

import json
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx
import yaml

from carillon_local.access import api_key_headers
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
    """Return every object in ``examples/``, with the address of the httpbin to use."""
    objects: list[dict[str, Any]] = []
    for path in sorted(EXAMPLES.glob("*.yaml")):
        text = path.read_text().replace(PUBLIC_HTTPBIN, httpbin_url)
        objects.extend(doc for doc in yaml.safe_load_all(text) if doc)
    return objects


@dataclass(frozen=True, slots=True)
class Example:
    """An example that runs something: a task or a request."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        """Return its kind and name for messages."""
        return f"{self.kind} {self.namespace}/{self.name}"


RUNNING_KINDS = ("ScheduledTask", "RunRequest")


def apply_examples(target: Target, httpbin_url: str) -> list[Example]:
    """Apply the examples; return the tasks and requests."""
    objects = example_manifests(httpbin_url)
    target.kubectl("apply", "--filename", "-", stdin=yaml.safe_dump_all(objects))
    return [
        Example(o["kind"], o["metadata"].get("namespace", "default"), o["metadata"]["name"])
        for o in objects
        if o["kind"] in RUNNING_KINDS
    ]


def await_executions(target: Target, api_url: str, examples: list[Example], since: datetime) -> None:
    """Wait until each task has an execution that succeeded after ``since``, and each request one that succeeded.

    Raises:
        LocalError: It names those that have none, with the state of their pods, or a request that did not succeed.

    """
    missing = list(examples)
    deadline = time.monotonic() + WAIT_SECONDS
    with httpx.Client(base_url=api_url, headers=api_key_headers(), timeout=10, trust_env=False) as client:
        while missing:
            missing = [e for e in missing if not _has_run(target, client, e, since)]
            if missing and time.monotonic() > deadline:
                names = ", ".join(str(example) for example in missing)
                selector = ("--all-namespaces", "--selector", "app.kubernetes.io/managed-by=carillon")
                pods = "\n".join(target.kubectl("get", "pods", *selector).splitlines()[: 1 + SHOWN_PODS])
                late = f"no execution succeeded within {WAIT_SECONDS:.0f} s for: {names}"
                raise LocalError(f"{late}; see `make logs`. The pods:\n{pods}")
            if missing:
                time.sleep(0.25)


def _has_run(target: Target, client: httpx.Client, example: Example, since: datetime) -> bool:
    if example.kind == "RunRequest":
        return _has_finished(target, example)
    path = f"/api/v1/namespaces/{example.namespace}/tasks/{example.name}"
    found = client.get(path)
    answer = client.get(f"{path}/executions", params={"limit": 50, "status": "Succeeded"})
    if found.is_error or answer.is_error:
        return False
    uid = found.json()["uid"]
    items: list[Mapping[str, Any]] = answer.json()["items"]
    return any(i["taskUid"] == uid and datetime.fromisoformat(i["finishedAt"]) >= since for i in items)


def _has_finished(target: Target, example: Example) -> bool:
    """Return whether a request has succeeded.

    Raises:
        LocalError: It was refused or did not succeed, and is not repeated.

    """
    there = ("runrequest", example.name, "--namespace", example.namespace)
    status = json.loads(target.kubectl("get", *there, "--output", "json")).get("status") or {}
    if not status.get("finishedAt"):
        return False
    if status.get("result") != "Succeeded":
        why = status.get("message") or status.get("result")
        again = f"`kubectl delete runrequest {example.name} --namespace {example.namespace}`"
        raise LocalError(f"{example} did not succeed: {why}; fix the cause, then {again} and run `make run` again")
    return True
