"""Several operators: the next one leads when the leader is gone, and shards share the tasks."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from carillon_core.domain.shard import Shard
from carillon_local.layout import RUNNER_IMAGE
from support.waiting import until

if TYPE_CHECKING:
    from support.stack import Stack

LEASE = "carillon-operator"
STEP = timedelta(seconds=1)


@contextmanager
def operators(stack: Stack, *each: dict[str, str]) -> Iterator[list[str]]:
    """Run operators instead of the shared one; give their names."""
    stack.end("operator")
    names = [f"operator-{number}" for number in range(len(each))]
    try:
        for name, settings in zip(names, each, strict=True):
            always = {"CARILLON_RUNNER_IMAGE": RUNNER_IMAGE, "CARILLON_POD_NAME": name}
            stack.spawn(name, "carillon_operator", **(always | settings))
        for name in names:
            until(partial(says, stack, name, "ready"), 60, f"{name} is ready")
        yield names
    finally:
        for name in names:
            if stack.known(name):
                stack.end(name)
        stack.start_operator()


def says(stack: Stack, name: str, message: str) -> bool:
    """Return whether an operator has logged this message."""
    return f'"message": "{message}"' in stack.log(name)


def holder(stack: Stack, namespace: str, lease: str = LEASE) -> str:
    """Return the holder of a Lease; empty if there is none."""
    found = stack.get(f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/{lease}")
    return str(((found or {}).get("spec") or {}).get("holderIdentity") or "")


def await_leader(stack: Stack, namespace: str, *candidates: str) -> str:
    """Wait until one of them leads and has observed everything; return its name."""
    until(lambda: holder(stack, namespace) in candidates, 60, f"one of {candidates} leads")
    leader = holder(stack, namespace)
    until(lambda: says(stack, leader, "caught up"), 60, f"{leader} has seen what is there")
    return leader


def times_run(stack: Stack, namespace: str, task: str) -> list[tuple[datetime, datetime]]:
    """Return the start and the end of each execution of a task, in order."""
    rows = stack.rows(namespace, task, "succeeded")
    return sorted((row["started_at"], row["finished_at"]) for row in rows)


def assert_sound(stack: Stack, namespace: str) -> None:
    """Assert that every slot of ``steady`` ran and counted once, and that those of ``slow`` (Forbid) never overlap."""
    rows = stack.rows(namespace, "steady", "succeeded")
    slots = [row["slot"] for row in rows]
    assert slots == [slots[0] + k * STEP for k in range(len(slots))], "none is lost, none is doubled"
    assert sorted(row["result"]["value"] for row in rows) == list(range(1, len(rows) + 1))
    spans = times_run(stack, namespace, "slow")
    assert all(end <= begin for (_, end), (begin, _) in pairwise(spans))


def apply_both(stack: Stack, namespace: str) -> None:
    """Apply a task whose slots must all run, and one that takes longer than its interval."""
    counted: dict[str, Any] = {"intervalSeconds": 1, "missedRunPolicy": "All", "concurrencyPolicy": "Allow"}
    slow: dict[str, Any] = {"intervalSeconds": 1, "concurrencyPolicy": "Forbid"}
    stack.apply(namespace, "steady", **counted, task={"counter": {}})
    stack.apply(namespace, "slow", **slow, task={"sleep": {"durationSeconds": 1}})
    for task in ("steady", "slow"):
        stack.await_rows(namespace, task, 2, "succeeded")


@pytest.mark.parametrize(
    ("number", "want_exit"),
    [
        pytest.param(signal.SIGKILL, -signal.SIGKILL, id="killed"),
        pytest.param(signal.SIGTERM, 0, id="told to stop"),
    ],
)
def test_the_next_operator_goes_on_where_the_leader_ended(
    stack: Stack, namespace: str, number: signal.Signals, want_exit: int
) -> None:
    """No slot is lost or runs twice; a stopped leader hands over, a killed one is replaced."""
    with operators(stack, *[{"CARILLON_LEASE_NAMESPACE": namespace}] * 2) as names:
        first = await_leader(stack, namespace, *names)
        (second,) = {*names} - {first}
        apply_both(stack, namespace)
        assert not says(stack, second, "launched"), "who stands by launches nothing"
        assert stack.end(first, number) == want_exit
        ended = datetime.now(UTC)
        assert await_leader(stack, namespace, second) == second
        for task in ("steady", "slow"):
            stack.await_slot_after(namespace, task, ended + 2 * STEP)
        assert says(stack, second, "launched")
        released = says(stack, first, "released the Lease")
        # where the end of its turns takes long, it leaves the Lease to expire
        cut_off = says(stack, first, "turns cut off") or says(stack, first, "Lease not released, it expires by itself")
        assert (released or cut_off) == (number is signal.SIGTERM)
        stack.kubectl("delete", "scheduledtask", "slow", "--namespace", namespace, "--wait=false")
        stack.apply(namespace, "steady", intervalSeconds=1, suspend=True, task={"counter": {}})
        until(lambda: not any(map(is_active, stack.jobs(namespace))), 60, "nothing runs any more")
        assert_sound(stack, namespace)


def is_active(job: Mapping[str, Any]) -> bool:
    """Return whether a Job has not ended."""
    return not any(c["type"] in {"Complete", "Failed"} for c in (job.get("status") or {}).get("conditions") or ())


def test_two_shards_share_the_tasks(stack: Stack, namespace: str) -> None:
    """Each task, with its requests, belongs to one shard, which alone launches, closes and logs."""
    each = [
        {"CARILLON_LEASE_NAMESPACE": namespace, "CARILLON_SHARDS": "2", "CARILLON_SHARD": str(index)}
        for index in range(2)
    ]
    tasks = [f"task-{number}" for number in range(8)]
    with operators(stack, *each) as names:
        until(lambda: all(holder(stack, namespace, f"{LEASE}-{i}") for i in range(2)), 60, "each shard has its leader")
        spec = {"intervalSeconds": 2, "task": {"sum": {"a": 1, "b": 2}}}
        request = {"kind": "RunRequest", "spec": {"taskRef": {"name": "task-0"}, "concurrencyPolicy": "Allow"}}
        own = {"kind": "RunRequest", "spec": {"task": {"sum": {"a": 1, "b": 2}}}}
        stack.apply_objects(namespace, *({"metadata": {"name": name}, "spec": spec} for name in tasks))
        stack.apply_objects(namespace, {**request, "metadata": {"name": "now"}})
        stack.apply_objects(namespace, *({**own, "metadata": {"name": f"own-{n}"}} for n in range(4)))
        wanted = [*tasks, *(f"own-{n}" for n in range(4))]
        for name in wanted:
            stack.await_rows(namespace, name, 1, "succeeded")
        until(lambda: any(r["cause"] == "manual" for r in stack.rows(namespace, "task-0", "succeeded")), 60, "now ran")
        shards = {index: launched(stack.log(name), namespace) for index, name in enumerate(names)}
        for index, launches in shards.items():
            uids = {name: uid_of(stack, namespace, name) for name in launches}
            assert uids, "each has some of the tasks"
            assert all(Shard(index, 2).owns(uid) for uid in uids.values())
        assert not shards[0] & shards[1]
        assert shards[0] | shards[1] == {*wanted}
        for name in tasks:
            rows = stack.rows(namespace, name)
            keys = [(row["slot"], row["cause"]) for row in rows]
            assert len(keys) == len(set(keys))
            assert not [row for row in rows if row["status"] in {"failed", "cancelled"}]


def uid_of(stack: Stack, namespace: str, name: str) -> str:
    """Return the uid of a task, or of the request with this name."""
    plural = "runrequests" if name.startswith("own-") else "scheduledtasks"
    uid: str = stack.ours(namespace, plural, name)["metadata"]["uid"]
    return uid


def launched(log: str, namespace: str) -> set[str]:
    """Return the names of the launches in a namespace, from a log."""
    said = [json.loads(line) for line in log.splitlines() if '"message": "launched"' in line]
    found = [line["task"].partition("/") for line in said]
    return {name for there, _, name in found if there == namespace}
