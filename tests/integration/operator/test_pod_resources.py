"""Our verdicts on pod resources agree with a real API server's verdicts on the Jobs' pods."""

from dataclasses import replace

import pytest

from carillon_core.adapters.kube import KubeConnection
from carillon_core.contract import Cause
from carillon_core.domain.decision.plan import Launch
from carillon_core.domain.execution import execution_id
from carillon_core.domain.launch.execution_token import TokenKey
from carillon_core.domain.launch.manifest import RunnerTemplate, job_manifest
from carillon_core.domain.launch.order import slot_order
from carillon_core.errors import RefusedError
from support.builders import TASK_UID, at, make_task
from support.pod_cases import CASES

SLOT = Launch(at("00:01"), execution_id(TASK_UID, at("00:01"), Cause.SCHEDULE))


@pytest.mark.parametrize("case", [name for name, (_, default, _) in CASES.items() if default is not None])
async def test_the_api_server_takes_what_we_take_and_refuses_what_we_refuse(
    connection: KubeConnection, namespace: str, case: str
) -> None:
    """The Job is created in a dry run."""
    resources, default, want = CASES[case]
    assert default is not None
    task = make_task().every(60).with_spec(pod={"resources": resources}).observed()
    order = slot_order(replace(task, meta=task.meta.model_copy(update={"namespace": namespace})), SLOT)
    manifest = job_manifest(order, RunnerTemplate("runner:1", TokenKey(b"k" * 32), pod=default))
    path, dry = f"/apis/batch/v1/namespaces/{namespace}/jobs", {"dryRun": "All"}
    if want is None:
        await connection.request("POST", path, params=dry, body=manifest)
        return
    with pytest.raises(RefusedError) as refused:
        await connection.request("POST", path, params=dry, body=manifest)
    assert "resources" in str(refused.value)
