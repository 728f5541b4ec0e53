"""How a run is asked for, and found again by its execution's id. The routes of runs and of run-task call it.

An execution's id is computed from the uid that the API server gives to the
RunRequest, so nobody can know it before the request is there. It is put on
the request as a label right after, before anybody is told of it: then a run
that the history does not know yet is found by one question, which the API
server answers by itself. A crash between the two leaves a request that runs
and a caller who was told nothing; with an Idempotency-Key the caller's next
try finds that request by its name, which is made of the key, and puts the
label on it. Without the permission to patch RunRequests there is no label,
and the run is found by its name, which the answer's Location carries.
"""

import hashlib
import json
from uuid import UUID, uuid4

from carillon_api.http.problems import Kind, RequestRefusedError
from carillon_api.schemas import RunAccepted, RunView, TaskOutput, TaskOutputQuery, TaskRun
from carillon_api.schemas.run_task import AnyRun
from carillon_api.services.context import Context
from carillon_api.views.objects import custom_resource, refuse
from carillon_api.views.runs import (
    own_run_problems,
    own_run_spec,
    recorded_output,
    run_execution_id,
    run_view,
    same_request,
    task_run_problems,
    task_run_spec,
    unrecorded_output,
)
from carillon_core.errors import (
    AlreadyExistsError,
    CarillonError,
    ForbiddenError,
    NotFoundError,
)
from carillon_core.logs import get_logger
from carillon_core.ports import JSONObject
from carillon_core.resources.names import KIND_REQUEST, LABEL_EXECUTION_ID, MAX_NAME_LENGTH, PLURAL_REQUESTS

SUFFIX_DIGITS = 20
"""Hexadecimal digits that make a request's name unique: of random, or of the caller and the key."""
LOOKED_AT = 20
"""So many requests with the label of an id are looked at: one is the true one, others may pretend to be."""

log = get_logger(__name__)


async def run_scheduled_task(ctx: Context, namespace: str, name: str, body: TaskRun, key: str | None) -> RunView:
    """Request a run of a ScheduledTask, as the caller.

    Args:
        ctx: The caller's.
        namespace: The task's.
        name: The task's.
        body: When and with which parameters it shall run.
        key: The caller's Idempotency-Key; see ``request_run``.

    Raises:
        InvalidResourceError: If the operator would refuse the run, as far as the caller may read the task.
        NotFoundError: There is no such task.

    """
    spec = task_run_spec(name, body)
    try:
        task = await ctx.tasks.get(namespace, name)
    except ForbiddenError:
        task = None
    refuse(task_run_problems(spec, task, ctx.clock()))
    return run_view(await request_run(ctx, namespace, name, spec, key))


async def run_unscheduled_task(ctx: Context, namespace: str, body: AnyRun, key: str | None) -> RunAccepted:
    """Request a run of a task that no schedule has, as the caller.

    Raises:
        InvalidResourceError: If its templates are wrong.

    """
    spec = own_run_spec(body)
    refuse(own_run_problems(spec))
    stored = await request_run(ctx, namespace, body.task_name, spec, key)
    return RunAccepted(id=run_execution_id(stored), namespace=namespace, run=stored["metadata"]["name"])


async def request_run(ctx: Context, namespace: str, prefix: str, spec: JSONObject, key: str | None) -> JSONObject:
    """Create a RunRequest as the caller, and return it as stored.

    Args:
        ctx: The caller's.
        namespace: Where.
        prefix: What its name begins with: a name that an object can have.
        spec: The request's spec.
        key: The caller's Idempotency-Key: the same one makes no second request for as long as the first is there.

    Raises:
        RequestRefusedError: As 422, if the key was used for another run.

    """
    name = request_name(prefix, ctx.caller.subject.name, key)
    try:
        stored = await ctx.requests.create(namespace, custom_resource(KIND_REQUEST, namespace, name, {}, spec))
    except AlreadyExistsError:
        if key is None:
            raise
        stored = await ctx.requests.get(namespace, name)
        if not same_request(stored, spec):
            detail = f"the key {key} was used for another run: send every new request with a new key"
            raise RequestRefusedError(Kind.KEY_REUSED, detail) from None
    if not is_labelled(stored):
        await ctx.record_change("run", PLURAL_REQUESTS, None, stored)
        await label(ctx, stored)
    return stored


def request_name(prefix: str, caller: str, key: str | None) -> str:
    """Return the name of a RunRequest: random, or made of the caller and the key if there is one."""
    suffix = hashlib.sha256(json.dumps([caller, key]).encode()).hexdigest() if key is not None else uuid4().hex
    kept = prefix[: MAX_NAME_LENGTH - SUFFIX_DIGITS - 1].rstrip("-.")
    return f"{kept}-{suffix[:SUFFIX_DIGITS]}"


def is_labelled(stored: JSONObject) -> bool:
    """Return whether a RunRequest can be found by its execution's id."""
    return (stored["metadata"].get("labels") or {}).get(LABEL_EXECUTION_ID) == str(run_execution_id(stored))


async def label(ctx: Context, stored: JSONObject) -> None:
    """Have a RunRequest found by its execution's id; without the permission it is found by its name alone."""
    namespace, name = stored["metadata"]["namespace"], stored["metadata"]["name"]
    uid = str(run_execution_id(stored))
    try:
        await ctx.requests.patch(namespace, name, {"metadata": {"labels": {LABEL_EXECUTION_ID: uid}}})
    except CarillonError as error:
        # the run goes on, and it is found by its name
        log.info("a run has no label with its execution's id", namespace=namespace, run=name, error=str(error))


async def task_output(ctx: Context, query: TaskOutputQuery) -> TaskOutput:
    """Return what became of a run.

    Raises:
        NotFoundError: Nobody knows that id, or the caller may not: the answer is the same.
        ForbiddenError: The caller names a namespace and may not read runs there.

    """
    try:
        record = await ctx.executions.get(query.id)
    except NotFoundError:
        raw = await _request_of(ctx, query)
        if raw is None:
            raise _unknown(query.id) from None
        return unrecorded_output(raw)
    if query.namespace not in {None, record.namespace}:
        raise _unknown(query.id)
    try:
        await ctx.authorize("get", namespace=record.namespace)
    except ForbiddenError as error:
        raise _unknown(query.id) from error
    return recorded_output(record)


async def _request_of(ctx: Context, query: TaskOutputQuery) -> JSONObject | None:
    """Return the RunRequest whose execution has that id, as far as the caller may see it."""
    if query.run is not None:
        found = [await ctx.requests.get(query.namespace or ctx.settings.default_namespace, query.run)]
    elif query.namespace is not None:
        found = await _labelled(ctx, query.namespace, query.id)
    else:
        try:
            found = await _labelled(ctx, None, query.id)
        except ForbiddenError:
            try:
                found = await _labelled(ctx, ctx.settings.default_namespace, query.id)
            except ForbiddenError:
                found = []
    # whoever may patch requests may label them: the id is computed, not read
    return next((raw for raw in found if run_execution_id(raw) == query.id), None)


async def _labelled(ctx: Context, namespace: str | None, uid: UUID) -> list[JSONObject]:
    page = await ctx.requests.page(namespace, limit=LOOKED_AT, label_selector=f"{LABEL_EXECUTION_ID}={uid}")
    return list(page.items)


def _unknown(uid: UUID) -> NotFoundError:
    return NotFoundError(
        f"no run {uid} is known here: if it was just asked for, follow the Location of that answer, which names its "
        "namespace"
    )
