"""The admission webhook in the test's process, called by a real API server, seen through kubectl."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from carillon_core.adapters.kube import KubeConnection
from carillon_core.adapters.kube.caller import KubeAPIServer
from carillon_core.adapters.kube.cluster import try_job
from carillon_core.adapters.kube.webhooks import apply_webhook_configuration
from carillon_core.domain.access.subjects import Access, Decision, Subject
from carillon_core.domain.launch.execution_token import TokenKey
from carillon_core.domain.launch.manifest import RunnerTemplate
from carillon_core.errors import RefusedError
from carillon_core.resources.names import API_VERSION
from carillon_operator.admission.admission import Admission
from carillon_operator.admission.job_trial import JobTrial
from carillon_operator.gather.handlers import run_kopf
from carillon_operator.state.observed_store import ObservedStore
from carillon_operator.state.work_queue import WorkQueue
from carillon_operator.webhook_settings import WebhookSettings
from support.certificates import LOOPBACK, make_certificates
from support.cluster import RunningCluster
from support.ports import own_port

CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"


@dataclass(slots=True)
class Webhook:
    """A webhook's settings, and kubectl as users run it."""

    connection: KubeConnection
    cluster: RunningCluster
    namespace: str
    settings: WebhookSettings

    async def apply(
        self, kind: str, name: str, spec: Any, *, user: str | None = None, verb: str = "apply", **meta: dict[str, str]
    ) -> tuple[int, str]:
        """Apply or create an object, as a user if one is named; return kubectl's exit code and standard error."""
        body = {
            "apiVersion": API_VERSION,
            "kind": kind,
            "metadata": {"name": name, "namespace": self.namespace, **meta},
            "spec": spec,
        }
        assert self.cluster.local is not None
        acting = [] if user is None else ["--as", user]
        command = self.cluster.local.kubectl_command([verb, "--filename", "-", *acting])
        pipe = asyncio.subprocess.PIPE
        kubectl = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe)
        _, said = await kubectl.communicate(json.dumps(body).encode())
        return kubectl.returncode or 0, said.decode()

    @asynccontextmanager
    async def running(self, **changes: Any) -> AsyncIterator[ObservedStore]:
        """Run kopf with the webhook until the block ends."""
        apply = changes.pop("apply_configuration", partial(apply_webhook_configuration, self.connection))
        server = KubeAPIServer(self.connection)

        async def ask(subject: Subject, access: Access) -> Decision:
            return await server.acting_as(subject).review(access)

        review = changes.pop("review_access", ask)
        now = partial(datetime.now, UTC)
        trial = JobTrial(RunnerTemplate("runner:1", TokenKey(b"k" * 32)), partial(try_job, self.connection), now)
        admission = Admission(self.settings.model_copy(update=changes), apply, review, now, trial=trial)
        store, stop = ObservedStore(), asyncio.Event()
        queue = WorkQueue(lambda: datetime.now(UTC))
        kopf = asyncio.ensure_future(run_kopf(store, queue, stop, admission=admission))
        try:
            yield store
            assert not kopf.done(), "the webhook ended the operator"
        finally:
            stop.set()
            await asyncio.wait_for(kopf, 30)

    async def serves(self) -> bool:
        """Return whether the API server already calls the webhook."""
        spec = {"schedule": "61 * * * *", "task": {"sum": {"a": 1, "b": 2}}}
        body = {"apiVersion": API_VERSION, "kind": "ScheduledTask", "metadata": {"name": "probe"}, "spec": spec}
        path = f"/apis/{API_VERSION}/namespaces/{self.namespace}/scheduledtasks"
        try:
            await self.connection.request("POST", path, params={"dryRun": "All"}, body=body)
        except RefusedError as error:
            return "denied the request" in str(error)
        return False


@pytest.fixture
async def webhook(
    cluster: RunningCluster,
    connection: KubeConnection,
    namespace: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Webhook]:
    """Give a webhook that is not running yet; its configuration is deleted after the test."""
    if cluster.local is None:
        pytest.skip("the API server of another cluster does not reach this process")
    # kopf's login uses the client library, which reads KUBECONFIG only when it is imported
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", cluster.kubeconfig)
    made = make_certificates(tmp_path)
    settings = WebhookSettings(
        port=own_port(),
        cert_file=made.cert,
        key_file=made.key,
        ca_file=made.ca,
        address=LOOPBACK,
        host=LOOPBACK,
    )
    yield Webhook(connection, cluster, namespace, settings)
    if (await connection.request("GET", CONFIGURATIONS))["items"]:
        await connection.request("DELETE", f"{CONFIGURATIONS}/carillon")
