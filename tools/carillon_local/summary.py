"""The summary of ``make run``: the tasks, the latest executions, the delays of launches, the addresses."""

import json
import math
import shlex
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import httpx

from carillon_local.access import api_key_headers
from carillon_local.layout import API_KEY, shown
from carillon_local.services import OPERATOR
from carillon_local.target import Target

NO_ISOLATION = "The local node isolates nothing: containers are processes on this machine. Run only what you trust."
SHOWN_EXECUTIONS = 12
SHOWN_CHARACTERS = 78


def print_summary(target: Target, api_url: str) -> None:
    """Print the summary."""
    print("\n$ kubectl get scheduledtasks --all-namespaces")
    print(target.kubectl("get", "scheduledtasks", "--all-namespaces", "--request-timeout=5s").rstrip())
    print("\nThe latest executions:")
    with httpx.Client(base_url=api_url, headers=api_key_headers(), timeout=10, trust_env=False) as client:
        items = client.get("/api/v1/executions", params={"limit": SHOWN_EXECUTIONS}).raise_for_status().json()["items"]
    print(_table(["SLOT", "TASK", "STATUS", "SECONDS", "RESULT OR REASON"], [_row(item) for item in items]))
    late = launch_delays_ms()
    if late:
        print(
            f"\nJobs created after their slot's time: p50 {_percentile(late, 50)} ms, p99 {_percentile(late, 99)} ms, "
            f"most {late[-1]} ms ({len(late)} launches since the operator's start)"
        )


def print_addresses(kubeconfig: str, api_url: str) -> None:
    """Print the addresses."""
    print(f"\nREST      {api_url}/docs")
    print(f'          curl -H "X-API-Key: $(cat {shlex.quote(shown(API_KEY))})" {api_url}/api/v1/tasks')
    print(f"kubectl   export KUBECONFIG={shlex.quote(kubeconfig)}")
    print("          kubectl get scheduledtasks --watch")
    print("stop      make stop")


def launch_delays_ms() -> list[int]:
    """Return the delays of the launches since the operator's start, in milliseconds, sorted.

    Slots that were due before it was ready are excluded: they only show how long no operator was running.
    """
    delays: list[int] = []
    ready: datetime | None = None
    try:
        lines = OPERATOR.log.read_text(errors="replace").splitlines()
    except OSError:
        return delays
    for line in lines:
        try:
            event = json.loads(line)
            when, message = datetime.fromisoformat(event["time"]), event["message"]
        except (ValueError, KeyError, TypeError):
            continue
        if message == "ready":
            ready = when
        elif message == "launched" and ready and when - timedelta(milliseconds=event["late_ms"]) >= ready:
            delays.append(int(event["late_ms"]))
    return sorted(delays)


def _percentile(values: Sequence[int], percent: int) -> int:
    """Return the nearest-rank percentile of sorted values."""
    return values[max(0, math.ceil(len(values) * percent / 100) - 1)]


def _row(item: dict[str, Any]) -> list[str]:
    outcome = item.get("error") or item.get("message")
    if outcome is None:
        result = dict(item.get("result") or {})
        result.pop("body", None)
        outcome = json.dumps(result)
    seconds = item.get("durationSeconds")
    return [
        item["slot"],
        f"{item['namespace']}/{item['task']}",
        item["status"],
        "" if seconds is None else f"{seconds:.2f}",
        outcome if len(outcome) <= SHOWN_CHARACTERS else outcome[: SHOWN_CHARACTERS - 1] + "…",
    ]


def _table(head: list[str], rows: list[list[str]]) -> str:
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in [head, *rows])
