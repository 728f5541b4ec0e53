"""What the largest bodies of all shapes cost the facade: ``python -m support.hostile_bodies`` prints a line for each.

Each request has a process of its own, forked from one that has imported everything and answered an ordinary request:
what it prints is how much memory and processor time that one request took.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

from carillon_api.http.json_text import MAX_VALUES
from support.api import EVERY_MINUTE, MERGE_PATCH, TASKS, Facade, facade
from support.executions import of_a_task

T = TypeVar("T")

MIB = 1024 * 1024
MOST_TOLD = 64 * 1024
"""How many bytes a refusal may have."""
EXECUTION = UUID(int=7)
JSON = {"Content-Type": "application/json"}
OPERATIONS: Mapping[str, tuple[str, str, Mapping[str, str]]] = {
    "createTask": ("POST", "/api/v1/tasks", JSON),
    "createNamespacedTask": ("POST", TASKS, JSON),
    "replaceTask": ("PUT", f"{TASKS}/nightly", JSON),
    "patchTask": ("PATCH", f"{TASKS}/nightly", MERGE_PATCH),
    "createTarget": ("POST", "/api/v1/targets", JSON),
    "createNamespacedTarget": ("POST", "/api/v1/namespaces/team-a/targets", JSON),
    "replaceTarget": ("PUT", "/api/v1/namespaces/team-a/targets/shop", JSON),
    "patchTarget": ("PATCH", "/api/v1/namespaces/team-a/targets/shop", MERGE_PATCH),
    "runTask": ("POST", f"{TASKS}/nightly/run", JSON),
    "runOwnTask": ("POST", "/api/v1/run-task", JSON),
    "previewTask": ("POST", "/api/v1/preview", JSON),
    "previewNamespacedTask": ("POST", "/api/v1/namespaces/team-a/preview", JSON),
    "suggestOffset": ("POST", "/api/v1/load/suggest", JSON),
    "suggestNamespacedOffset": ("POST", "/api/v1/namespaces/team-a/load/suggest", JSON),
    "changeTasks": ("POST", "/api/v1/tasks/bulk", JSON),
    "changeNamespacedTasks": ("POST", f"{TASKS}/bulk", JSON),
    "changeExecutions": ("POST", "/api/v1/executions/bulk", JSON),
    "changeNamespacedExecutions": ("POST", "/api/v1/namespaces/team-a/executions/bulk", JSON),
    "retryExecution": ("POST", f"/api/v1/executions/{EXECUTION}/retry", JSON),
}
"""Every operation that takes a body."""


def _filled(opening: str, item: str, closing: str) -> str:
    """Return a body of nearly a mebibyte: an array with an item as often as there is room for."""
    count = (MIB - len((opening + closing).encode()) - 1) // len(f"{item},".encode())
    return opening + ",".join([item] * count) + closing


def _keys(opening: str, value: str, closing: str) -> str:
    """Return a body of nearly a mebibyte: an object with as many keys as there is room for."""
    count = (MIB - len(opening + closing)) // (len(value) + 11)
    return opening + ",".join(f'"k{k:06d}":{value}' for k in range(count)) + closing


def _fewer(body: str) -> str:
    """Return a body with as many values as are read, so that what comes after that limit is measured, too."""
    parts = body.split(",")
    if len(parts) < MAX_VALUES:
        return body
    values = max(1, parts[1].count("{") + parts[1].count("[") + 1)
    return ",".join([*parts[: MAX_VALUES // values - 40], parts[-1]])


def _shapes() -> Iterator[tuple[str, str]]:
    half, long = "K" * (MIB // 2), "K" * 30_000
    nul, accent = "\\u0000", "\\u00e9"
    spec = '{"name":"good","task_name":"http","spec":'
    yield "many unknown fields", _keys("{", "1", "}")
    yield "many unknown fields of the spec", _keys(f"{spec}{{", "1", "}}")
    yield "many parameters", _keys('{"parameters":{', "1", "}}")
    yield "an array under a long key", _filled(f'{{"{half}":[', "0", "]}")
    yield "bad texts under a long key", _filled(f'{{"{half}":[', '"\\u0000"', "]}")
    yield "long keys in long keys", f'{{"{long}":' * 31 + "1e999" + "}" * 31
    yield "long bad keys in long keys", f'{{"\\u0000{long}":' * 31 + "1" + "}" * 31
    yield "empty arrays", _filled("[", "[]", "]")
    yield "empty objects", _filled(f"{spec}[", "{}", "]}")
    yield "small objects", _filled(f'{spec}{{"task":{{"plugin":{{"name":"p","parameters":{{"a":[', '{"a":0}', "]}}}}}")
    yield "arrays of arrays", _filled("[", "[[[[0]]]]", "]")
    yield "nested deep", "[" * (MIB // 2) + "]" * (MIB // 2)
    yield "nested as objects", '{"a":' * (MIB // 6) + "1" + "}" * (MIB // 6)
    yield "never closed", "[" * MIB
    yield "a text that never ends", '"' + '\\"' * (MIB // 2 - 1)
    yield "quotes alone", '"' * MIB
    yield "a long name", f'{{"name":"{"a" * (MIB - 20)}"}}'
    yield "a long name of large characters", f'{{"name":"{"😀" * (MIB // 4 - 10)}"}}'
    yield "a long name of escapes", f'{{"name":"{accent * (MIB // 6 - 10)}"}}'
    yield "a long text of NULs", f'{{"name":"{nul * (MIB // 6 - 10)}"}}'
    yield "a long key", f'{{"{"a" * (MIB - 20)}":1}}'
    yield "the same key", _filled("{", '"a":1', "}")
    yield "two keys twice", _filled("{", '"a":1,"b":{"c":1,"c":2}', "}")
    yield "a long integer", f'{{"name":{"9" * (MIB - 20)}}}'
    yield "a long fraction", f'{{"name":0.{"1" * (MIB - 20)}}}'
    yield "a long exponent", f'{{"name":1e{"9" * (MIB - 20)}}}'
    yield "long integers", _filled("[", "9" * 4_000, "]")
    yield "numbers that overflow", _filled('{"parameters":{"a":[', "1e999", "]}}")
    yield "many labels", _keys('{"name":"good","spec":{},"labels":{', "1", "}}")
    yield "many good labels", _keys('{"name":"good","spec":{"intervalSeconds":5},"labels":{', '""', "}}")
    yield "many statuses", _filled(f'{spec}{{"task":{{"http":{{"expectedStatuses":[', '"x"', "]}}}}")
    yield "many headers", _keys(f'{spec}{{"task":{{"http":{{"headers":{{', "0", "}}}}}")
    yield "many arguments", _filled(f'{spec}{{"task":{{"container":{{"args":[', "0", "]}}}}")
    yield "many headers of a target", _filled(f'{spec}{{"url":"http://a/","headers":[', '{"name":0}', "]}}")
    yield "many resources", _keys(f'{spec}{{"task":{{"container":{{"resources":{{"limits":{{', "0", "}}}}}}")


_FULL = dict(_shapes())
_READ = {f"{shape}, as many as are read": _fewer(body) for shape, body in _FULL.items() if body.count(",") > 9_000}
TEMPLATES: Mapping[str, Mapping[str, Any]] = {
    "a template of many names": {"body": "{{ slot }}" * 6_500},
    "templates in all headers": {"headers": {f"X-{k}": "{{slot}}" * 1_000 for k in range(64)}},
    "a template of many unknown names": {"body": "".join(f"{{{{a{k}}}}}" for k in range(7_000))},
    "a template that nests": {"body": "{{ " + "(" * 30_000 + "slot" + ")" * 30_000 + " }}"},
    "a template of blocks": {"body": "{% if slot %}" * 5_000},
    "a template of whole blocks": {"body": "{% if slot %}{% endif %}" * 2_700},
    "a template of additions": {"body": "{{ slot" + "+slot" * 13_000 + " }}"},
    "a template of filters": {"body": "{{ slot" + "|e" * 30_000 + " }}"},
    "a template of loops": {"body": "{% for a in slot %}" * 90 + "{% endfor %}" * 90},
    "a template of brackets": {"body": "{{ " + "[" * 30_000 + "]" * 30_000 + " }}"},
    "a template of numbers": {"body": "{{ [" + "1," * 32_000 + "] }}"},
    "many templates of additions": {"headers": {f"X-{k}": "{{slot" + "+slot" * 1_600 + "}}" for k in range(64)}},
    "many templates of numbers": {"headers": {f"X-{k}": "{{[" + "1," * 4_000 + "]}}" for k in range(64)}},
}
"""What an HTTP task may say, as far as its schema knows."""
SHAPES = (*_FULL, *_READ, *TEMPLATES)
_WHOLE = {"createNamespacedTask", "patchTask", "createNamespacedTarget", "runOwnTask"}
"""Operations that are measured with every shape: one for each way in which bodies are read."""
_SHARES = 4


def pairs(*, is_all: bool) -> Iterator[tuple[str, str]]:
    """Yield the operations and shapes that are measured: all, or a share of them in which each of both occurs."""
    for number, operation in enumerate(OPERATIONS):
        for place, shape in enumerate(SHAPES):
            if is_all or operation in _WHOLE or (number + place) % _SHARES == 0:
                yield operation, shape


def body_of(operation: str, shape: str) -> bytes:
    """Return a shape as a body of an operation; one with templates is a body that the operation accepts."""
    text = _FULL.get(shape) or _READ.get(shape)
    return (text or json.dumps(_with_templates(operation, TEMPLATES[shape]))).encode()


def _with_templates(operation: str, said: Mapping[str, Any]) -> Mapping[str, Any]:
    http: dict[str, Any] = {"url": "http://example.com/", **said}
    if operation in {"runTask", "retryExecution"}:
        return {"parameters": http}
    if operation == "runOwnTask":
        return {"task_name": "http", **http}
    if "Target" in operation:
        spec = http | {"headers": [{"name": name, "value": value} for name, value in http.get("headers", {}).items()]}
    else:
        spec = {"schedule": "* * * * *", "task": {"http": http}}
        if operation == "patchTask":
            spec["task"]["sum"] = None  # what the stored task has
    return {"name": "good", "spec": spec} if operation.startswith("create") else {"spec": spec}


async def _facade_of(use: Callable[[Facade], Awaitable[T]]) -> T:
    async with facade() as rest:
        target = {"name": "shop", "spec": {"url": "https://example.com/"}}
        assert (await rest.client.post("/api/v1/namespaces/team-a/targets", json=target)).status_code == 201
        await of_a_task(rest, id=EXECUTION)
        return await use(rest)


async def _ordinary(rest: Facade) -> None:
    for method, path, headers in OPERATIONS.values():
        for body in ({"name": "other", "spec": EVERY_MINUTE}, {"spec": 5}):
            await rest.client.request(method, path, content=json.dumps(body).encode(), headers=headers)


def _status(field: str) -> int:
    """Return a field of this process' memory, in KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1])


def _peak_begins() -> int:
    """Begin to look for this process' peak of memory, and return what it has now, in KiB."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


async def _measured(rest: Facade, operation: str, body: bytes) -> tuple[int, int, float]:
    """Return a request's status, the memory that it took at its peak in KiB, and its processor time in seconds."""
    method, path, headers = OPERATIONS[operation]
    before, started = _peak_begins(), time.process_time()
    response = await rest.client.request(method, path, content=body, headers=headers)
    seconds = time.process_time() - started
    assert response.is_success or len(response.content) < MOST_TOLD, f"{len(response.content)} bytes of an answer"
    return response.status_code, _status("VmHWM") - before, seconds


def main() -> None:
    """Measure shapes in operations; every one in each with ``--all``."""
    asyncio.run(_facade_of(_ordinary))
    for operation, shape in pairs(is_all="--all" in sys.argv):
        child = os.fork()
        if child:
            assert os.waitpid(child, 0)[1] == 0, f"{operation}: {shape}"
            continue
        data = body_of(operation, shape)
        measuring = partial(_measured, operation=operation, body=data)
        status, kib, seconds = asyncio.run(_facade_of(measuring))
        line = {"operation": operation, "shape": shape, "status": status, "kib": kib, "seconds": round(seconds, 3)}
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()
        os._exit(0)


if __name__ == "__main__":
    main()
