"""The stream of changes, from kubectl, operator and runners to a client that reads it over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.streams import EVENTS, Event, parsed

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

    from support.stack import Stack


def events(response: httpx.Response) -> Iterator[Event]:
    """Yield the events of a response; a silence of more than two heartbeats is an error."""
    block: list[str] = []
    for line in response.iter_lines():
        if line:
            block.append(line)
            continue
        if (event := parsed("\n".join(block))) is not None:
            yield event
        block.clear()


def test_a_page_follows_a_task(stack: Stack, namespace: str) -> None:
    """What kubectl applies, the operator launches and a runner records comes without being asked for; and once."""
    query = {"namespace": namespace}
    with stack.http.stream("GET", EVENTS, params=query, timeout=40) as response:
        assert response.status_code == 200, response.read()
        came = events(response)
        assert next(came).type == "ready"
        stack.apply(namespace, "followed", intervalSeconds=2, task={"sum": {"a": 1, "b": 2}})
        first = next(came)
        assert (first.type, first.data["name"], first.data["generation"]) == ("task", "followed", 1)
        ended = next(e for e in came if e.type == "execution" and e.data["status"] == "Succeeded")
    assert stack.http.get(f"/api/v1/executions/{ended.data['id']}").json()["status"] == "Succeeded"
    with stack.http.stream("GET", EVENTS, params=query, headers={"Last-Event-ID": str(first.id)}, timeout=40) as again:
        came = events(again)
        assert next(came).data == {"resumed": True}
        assert next(e for e in came if e.data.get("id") == ended.data["id"] and e.data["status"] == "Succeeded")
    nobody = stack.http.get(EVENTS, params=query, headers={"Authorization": "Bearer nobodys"})
    assert nobody.status_code == 401
