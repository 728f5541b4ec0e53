"""A Python client generated from the OpenAPI document works with the facade, with typed specs."""

import json
import subprocess
from pathlib import Path

from carillon_local.layout import ROOT
from carillon_openapi.client import generate
from carillon_openapi.programs import installed
from support.stack import Stack

SECONDS = 60
PROGRAM = """
import json
import sys

from carillon_client import AuthenticatedClient
from carillon_client.api.tasks import create_namespaced_task, get_task
from carillon_client.models import HTTPTask, ScheduledTaskSpec, Task, TaskCreate, TaskView

url, token, namespace = sys.argv[1:]
client = AuthenticatedClient(url, token, raise_on_unexpected_status=True, httpx_args={"trust_env": False})
http = HTTPTask(url="https://example.com/", expected_statuses=[200, 204])
spec = ScheduledTaskSpec(interval_seconds=60, suspend=True, task=Task(http=http))
created = create_namespaced_task.sync(namespace, client=client, body=TaskCreate(name="generated", spec=spec))
assert isinstance(created, TaskView), created
task = get_task.sync(namespace, "generated", client=client)
assert isinstance(task.spec.task.http, HTTPTask), task
json.dump({"spec": task.spec.to_dict(), "year": task.created_at.year}, sys.stdout)
"""


def test_a_generated_client_creates_a_task_and_reads_it(stack: Stack, namespace: str, tmp_path: Path) -> None:
    """The generator's own Python environment runs the client."""
    programs = installed()
    generate(programs, ROOT / "api" / "openapi.json", tmp_path / "carillon_client")
    (tmp_path / "program.py").write_text(PROGRAM)
    token = stack.http.headers["Authorization"].removeprefix("Bearer ")
    done = subprocess.run(
        [str(programs.python), "program.py", stack.api_url, token, namespace],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    read = json.loads(done.stdout)
    assert read["spec"]["intervalSeconds"] == 60
    assert read["spec"]["suspend"] is True
    assert read["spec"]["task"] == {"http": {"url": "https://example.com/", "expectedStatuses": [200, 204]}}
    assert read["year"] > 2000
