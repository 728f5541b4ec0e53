"""An HTTP task with an internal URL on a real cluster: its Job runs, and nothing is called."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.manifests import target, task
from support.recording_server import RecordingServer

if TYPE_CHECKING:
    from support.stack import Stack


def test_the_operators_list_decides_what_a_task_may_call(stack: Stack, namespace: str) -> None:
    """The operator's setting opens the loopback; a closed address gets a row with the reason, after one attempt."""
    again = {"limit": 3, "initialDelaySeconds": 0}
    with RecordingServer() as server:
        stack.apply_objects(
            namespace,
            target("console", url=f"{server.url}/to", maxRedirects=1),
            task("opened", intervalSeconds=2, task={"http": {"targetRef": {"name": "console"}}}),
            task("metadata", intervalSeconds=2, task={"http": {"url": "http://169.254.169.254/"}}, retry=again),
        )
        stack.await_rows(namespace, "opened", 1, "succeeded")
        row = stack.await_rows(namespace, "metadata", 1, "failed")[0]
        assert server.to("/to")
    assert row["reason"] == "BlockedAddress"
    assert row["error"].startswith("169.254.169.254 (the metadata service of AWS")
    assert "CARILLON_HTTP_ALLOW on the operator" in row["error"]
    assert [attempt["number"] for attempt in stack.attempts(row)] == [1]
