"""The operator's liveness probe."""

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from carillon_operator.gather.handlers import run_kopf
from carillon_operator.state.observed_store import ObservedStore
from carillon_operator.state.work_queue import WorkQueue
from support.cluster import RunningCluster
from support.ports import own_port
from support.waiting import eventually


async def test_it_fails_while_the_operators_loop_does_not_turn(
    cluster: RunningCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kopf answers in its own thread, which continues while the operator's loop is blocked."""
    # kopf's login uses the client library, which reads KUBECONFIG only when it is imported
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", cluster.kubeconfig)
    port = own_port()
    endpoint = f"http://127.0.0.1:{port}/healthz"
    stop = asyncio.Event()
    queue = WorkQueue(lambda: datetime.now(UTC))

    def ask() -> int:
        try:
            with urlopen(endpoint, timeout=20) as answer:
                return int(answer.status)
        except HTTPError as error:
            return error.code

    def listens() -> bool:
        with socket.socket() as one:
            return one.connect_ex(("127.0.0.1", port)) == 0

    observing = asyncio.ensure_future(run_kopf(ObservedStore(), queue, stop, liveness_endpoint=endpoint))
    with ThreadPoolExecutor(1) as thread:
        await eventually(listens, 30)
        assert thread.submit(ask).result(30) == 500, "the loop was held up for as long as it was asked"
        assert await asyncio.wrap_future(thread.submit(ask)) == 200
    stop.set()
    await asyncio.wait_for(observing, 30)
