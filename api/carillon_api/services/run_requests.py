"""Request a run, and find it again by its execution's id. The routes of runs and of run-task call it.

An execution's id is computed from the uid that the API server gives to the
RunRequest, so it is known only after the request has been created. It is then
written to a label of the request before the caller gets it, so that a run that
is not in the history yet is found by one call with a label selector. After a
crash between the two steps, the run exists and the caller got no response; if
the caller repeats the call with the same Idempotency-Key, the request is found
by its name, which is derived from the key, and gets its label. Callers who may
not patch or list RunRequests, or after the request was deleted, find the run
because it is remembered beside the answers to idempotency keys, which all
replicas share and which expire after a day.
"""

import asyncio
import hashlib
import json
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from carillon_api.http.problems import Kind, RequestRefusedError
from carillon_api.schemas import RunAccepted, RunView, TaskOutput, TaskOutputQuery, TaskRun
from carillon_api.schemas.run_task import AnyRun
from carillon_api.services.changes.dry_runs import created_run
from carillon_api.services.context import Context
from carillon_api.views.objects import as_object, custom_resource, refuse
from carillon_api.views.runs import (
    AcceptedRun,
    accepted_output,
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
from carillon_core.domain.execution import ExecutionRecord
from carillon_core.errors import (
    AlreadyExistsError,
    CarillonError,
    ForbiddenError,
    NotFoundError,
    UnavailableError,
)
from carillon_core.logs import get_logger
from carillon_core.ports import JSONObject, StoredAnswer
from carillon_core.resources.names import KIND_REQUEST, LABEL_EXECUTION_ID, MAX_NAME_LENGTH, PLURAL_REQUESTS

SUFFIX_DIGITS = 20
"""The number of hexadecimal digits that make a request's name unique: random, or a hash of caller and key."""
ACCEPTED_KEY = "accepted run"
"""No caller can use it as an Idempotency-Key: it has a space."""
WRITE_SECONDS = 1.0
"""How long a response waits until its run is remembered. Otherwise the run is still found by its label or its name."""
ACCEPTED = 202
GIVEN_UP = timedelta(minutes=10)
"""How long after its request a run may still get a row although its RunRequest is deleted: its Job may be ending, or
the history may have been unavailable."""
LOOKED_AT = 20
"""How many requests with an id's label are read: one has that id, others may carry the label wrongly."""

log = get_logger(__name__)


async def run_scheduled_task(ctx: Context, namespace: str, name: str, body: TaskRun, key: str | None) -> RunView:
    """Request a run of a ScheduledTask, as the caller.

    Args:
        ctx: The caller's.
        namespace: The task's.
        name: The task's.
        body: When to run it, and with which parameters.
        key: The caller's Idempotency-Key; see ``request_run``.

    Raises:
        InvalidResourceError: If the operator would reject the run; checked only if the caller may read the task.
        NotFoundError: The task does not exist.

    """
    spec = task_run_spec(name, body)
    try:
        task = await ctx.tasks.get(namespace, name)
    except ForbiddenError:
        task = None
    refuse(task_run_problems(spec, task, ctx.clock()))
    stored = await request_run(ctx, namespace, name, spec, key)
    return run_view(stored).model_copy(update={"dry_run": created_run(stored) if ctx.dry_run else None})


async def run_unscheduled_task(ctx: Context, namespace: str, body: AnyRun, key: str | None) -> RunAccepted:
    """Request a run with its own task, as the caller.

    Raises:
        InvalidResourceError: If its templates are invalid.

    """
    spec = own_run_spec(body)
    refuse(own_run_problems(spec, ctx.clock()))
    stored = await request_run(ctx, namespace, body.task_name, spec, key)
    dry_run = created_run(stored) if ctx.dry_run else None
    run = stored["metadata"]["name"]
    return RunAccepted(id=run_execution_id(stored), namespace=namespace, run=run, dry_run=dry_run)


async def request_run(ctx: Context, namespace: str, prefix: str, spec: JSONObject, key: str | None) -> JSONObject:
    """Create a RunRequest as the caller, and return it as stored.

    Args:
        ctx: The caller's.
        namespace: The request's namespace.
        prefix: The beginning of its name; a valid object name.
        spec: The request's spec.
        key: The caller's Idempotency-Key; while the first request exists, the same key creates no second one.

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
            detail = f"the key {key} was used for another run: use a new key for each new request"
            raise RequestRefusedError(Kind.KEY_REUSED, detail) from None
    if not ctx.dry_run and not is_labelled(stored):
        await ctx.record_change("run", PLURAL_REQUESTS, None, stored)
        await make_known(ctx, stored)
    return stored


def request_name(prefix: str, caller: str, key: str | None) -> str:
    """Return the name of a RunRequest: random, or derived from the caller and the key if there is a key."""
    suffix = hashlib.sha256(json.dumps([caller, key]).encode()).hexdigest() if key is not None else uuid4().hex
    kept = prefix[: MAX_NAME_LENGTH - SUFFIX_DIGITS - 1].rstrip("-.")
    return f"{kept}-{suffix[:SUFFIX_DIGITS]}"


def is_labelled(stored: JSONObject) -> bool:
    """Return whether a RunRequest has the label with its execution's id."""
    return (stored["metadata"].get("labels") or {}).get(LABEL_EXECUTION_ID) == str(run_execution_id(stored))


async def make_known(ctx: Context, stored: JSONObject) -> None:
    """Let a run be found by its execution's id before it has a row in the history."""
    await asyncio.gather(_label(ctx, stored), _remember(ctx, stored))


async def _label(ctx: Context, stored: JSONObject) -> None:
    """Label a RunRequest with its execution's id, if the caller has the permission."""
    namespace, name = stored["metadata"]["namespace"], stored["metadata"]["name"]
    uid = str(run_execution_id(stored))
    try:
        await ctx.requests.patch(namespace, name, {"metadata": {"labels": {LABEL_EXECUTION_ID: uid}}})
    except CarillonError as error:
        # the run is not affected; it can still be found by its name
        log.info("run not labelled with its execution's id", namespace=namespace, run=name, error=str(error))


async def _remember(ctx: Context, stored: JSONObject) -> None:
    """Remember a RunRequest by its execution's id; a failure is only logged."""
    uid, meta = run_execution_id(stored), stored["metadata"]
    own = as_object(as_object(stored.get("spec")).get("task"))
    now = ctx.clock()
    fields = {"namespace": meta["namespace"], "run": meta["name"], "taskName": next(iter(own), None)}
    body = json.dumps({**fields, "at": now.isoformat()}).encode()
    store, owner = ctx.backends.idempotency, _owner_of(uid)
    try:
        async with asyncio.timeout(WRITE_SECONDS):
            if (await store.reserve(owner, ACCEPTED_KEY, uid.bytes, now)).mine:
                await store.finish(owner, ACCEPTED_KEY, StoredAnswer(ACCEPTED, {}, body))
    except (UnavailableError, TimeoutError) as error:
        log.warning("accepted run not stored by its execution's id", run=meta["name"], why=str(error))


async def _accepted_run(ctx: Context, uid: UUID) -> AcceptedRun | None:
    """Return the run with this execution's id, if it was requested within a day; this does not check permissions."""
    answer = await ctx.backends.idempotency.answer(_owner_of(uid), ACCEPTED_KEY, ctx.clock())
    if answer is None:
        return None
    given = json.loads(answer.body)
    at = datetime.fromisoformat(given["at"])
    return AcceptedRun(given["namespace"], given["run"], given["taskName"], at)


def _owner_of(uid: UUID) -> str:
    return f"run {uid}"


async def task_output(ctx: Context, query: TaskOutputQuery) -> TaskOutput:
    """Return the status and the output of a run.

    Raises:
        NotFoundError: The run does not exist, or the caller may not read it; the message is the same.
        ForbiddenError: The query has a namespace, and the caller may not read runs there.

    """
    try:
        record = await ctx.executions.get(query.id)
    except NotFoundError:
        raw = await _request_of(ctx, query)
        return await _accepted_output(ctx, query) if raw is None else unrecorded_output(raw)
    return await _recorded_output(ctx, query, record)


async def _recorded_output(ctx: Context, query: TaskOutputQuery, record: ExecutionRecord) -> TaskOutput:
    if query.namespace not in {None, record.namespace}:
        raise _unknown(query.id)
    try:
        await ctx.authorize("get", namespace=record.namespace)
    except ForbiddenError as error:
        raise _unknown(query.id) from error
    return recorded_output(record)


async def _accepted_output(ctx: Context, query: TaskOutputQuery) -> TaskOutput:
    """Return the output of a run that was requested and that the caller cannot look for among the RunRequests."""
    accepted = await _accepted_run(ctx, query.id)
    if accepted is None or query.namespace not in {None, accepted.namespace}:
        raise _unknown(query.id)
    try:
        await ctx.authorize("get", namespace=accepted.namespace)
    except ForbiddenError as error:
        raise _unknown(query.id) from error
    try:
        raw = await ctx.requests.get(accepted.namespace, accepted.run)
    except ForbiddenError:
        return accepted_output(query.id, accepted)
    except NotFoundError:
        raw = None
    if raw is not None and run_execution_id(raw) == query.id:
        return unrecorded_output(raw)
    try:
        # it is deleted when it has ended, and its row may have come since
        return await _recorded_output(ctx, query, await ctx.executions.get(query.id))
    except NotFoundError:
        return accepted_output(query.id, accepted, deleted=True, is_over=ctx.clock() - accepted.at >= GIVEN_UP)


async def _request_of(ctx: Context, query: TaskOutputQuery) -> JSONObject | None:
    """Return the RunRequest whose execution has this id, if the caller may read it."""
    if query.run is not None:
        try:
            found = [await ctx.requests.get(query.namespace or ctx.settings.default_namespace, query.run)]
        except NotFoundError:
            found = []
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
    # a label is no proof, because callers may patch it: compute the id
    return next((raw for raw in found if run_execution_id(raw) == query.id), None)


async def _labelled(ctx: Context, namespace: str | None, uid: UUID) -> list[JSONObject]:
    page = await ctx.requests.page(namespace, limit=LOOKED_AT, label_selector=f"{LABEL_EXECUTION_ID}={uid}")
    return list(page.items)


def _unknown(uid: UUID) -> NotFoundError:
    return NotFoundError(
        f"run {uid} not found, or you may not read it: if you have just requested it, follow the Location header of"
        " that response"
    )
