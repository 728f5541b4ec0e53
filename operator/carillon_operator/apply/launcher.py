"""Creates Jobs. The Job's name is the slot's lock: creating it twice is impossible while it exists.

The reconciler calls it, one key at a time.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from carillon_core.domain.decision.plan import Reason
from carillon_core.domain.launch.manifest import RunnerTemplate, job_manifest
from carillon_core.domain.launch.order import Order
from carillon_core.domain.observed.job_reading import observed_job
from carillon_core.errors import AlreadyExistsError, ConflictError, NotFoundError, RefusedError, UnavailableError
from carillon_core.logs import get_logger
from carillon_core.ports import JobReader, JobWriter, JSONObject
from carillon_core.resources.base import MAX_MESSAGE
from carillon_operator.apply.announcer import Announcer
from carillon_operator.apply.runner_access import MissingLoginError, RunnerAccess
from carillon_operator.state.job_shelf import JobShelf
from carillon_operator.state.work_queue import Key

log = get_logger(__name__)

SecretProblem = Callable[[Order], Awaitable[str | None]]
"""Returns why an order may not use the Secrets of its HTTPTarget; None if it may."""


@dataclass(frozen=True, slots=True)
class LaunchRefusal:
    """Why a launch was refused permanently."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Conditions:
    """What is ensured and checked before a Job is created."""

    access: RunnerAccess
    secret_problem: SecretProblem


async def _refusal(manifest: JSONObject, launched: Awaitable[LaunchRefusal | None]) -> LaunchRefusal | None:
    """Return why a launch is refused, as it says itself or by its errors that are permanent."""
    try:
        return await launched
    except NotFoundError:  # the namespace is being deleted, and the task with it
        return LaunchRefusal(Reason.LAUNCH_REFUSED, f"the namespace {manifest['metadata']['namespace']} does not exist")
    except MissingLoginError as error:
        return LaunchRefusal(Reason.LAUNCH_REFUSED, str(error))
    except RefusedError as error:
        why = f"the API server rejected Job {manifest['metadata']['name']}: {error}"
        return LaunchRefusal(Reason.LAUNCH_REFUSED, why[:MAX_MESSAGE])


class Launcher:
    """Launches orders, and finds out whether a launch whose response was lost succeeded."""

    def __init__(
        self,
        *,
        reader: JobReader,
        writer: JobWriter,
        jobs: JobShelf,
        conditions: Conditions,
        template: RunnerTemplate,
        announcer: Announcer,
    ) -> None:
        """Take where to read and create Jobs."""
        self._reader = reader
        self._writer = writer
        self._jobs = jobs
        self._access = conditions.access
        self._secret_problem = conditions.secret_problem
        self._announcer = announcer
        self._template = template
        self._in_doubt: dict[Key, tuple[str, str]] = {}

    @property
    def in_doubt(self) -> bool:
        """Whether the response to a launch was lost, so that the Job may still be created."""
        return bool(self._in_doubt)

    def forget(self, key: Key) -> None:
        """Forget an unconfirmed launch of a task that is gone."""
        self._in_doubt.pop(key, None)

    async def resolve_doubt(self, key: Key) -> None:
        """Look for the Job of a launch whose response was lost, before anything else is decided under its key."""
        doubt = self._in_doubt.get(key)
        if doubt is None:
            return
        try:
            job = await self._reader.get_job(*doubt)
        except NotFoundError:
            pass
        else:
            self._jobs.put(job)
            log.info("launched, although the response was lost", task="/".join(key), job=doubt[1])
        del self._in_doubt[key]

    async def launch(self, key: Key, order: Order) -> LaunchRefusal | None:
        """Create the Job of an order; return the reason if the launch is refused permanently.

        Raises:
            UnavailableError: The Job may exist; ``resolve_doubt`` finds out in the next turn.
            ForbiddenError: The operator lacks the permission.

        """
        problem = await self._secret_problem(order)
        if problem is not None:
            return LaunchRefusal(Reason.SECRET_NOT_ALLOWED, problem[:MAX_MESSAGE])
        manifest = job_manifest(order, self._access.given(self._template))

        async def launched() -> LaunchRefusal | None:
            if not order.container:
                await self._access.ensure(order.owner.namespace)
            created = await self._create_or_find(key, manifest, str(order.execution_id))
            if created is True:
                self._announcer.launched(order)
            return None if isinstance(created, bool) else created

        return await _refusal(manifest, launched())

    async def launch_attempt(self, key: Key, manifest: JSONObject, execution_id: str) -> LaunchRefusal | None:
        """Create the Job of a later attempt of an execution; return the reason if that is refused permanently.

        Raises:
            UnavailableError: The Job may exist; ``resolve_doubt`` finds out in the next turn.
            ForbiddenError: The operator lacks the permission.

        """

        async def launched() -> LaunchRefusal | None:
            created = await self._create_or_find(key, manifest, execution_id)
            return None if isinstance(created, bool) else created

        return await _refusal(manifest, launched())

    async def _create_or_find(self, key: Key, manifest: JSONObject, execution_id: str) -> bool | LaunchRefusal:
        """Create a Job; return whether it is new, or why its name is of no use to this execution."""
        namespace, name = manifest["metadata"]["namespace"], manifest["metadata"]["name"]
        try:
            self._jobs.put(await self._create(key, manifest))
        except AlreadyExistsError:
            # Ours, created by a request whose response was lost or by an earlier operator: continue. Foreign: refuse.
            try:
                job = await self._reader.get_job(namespace, name)
            except NotFoundError as error:  # deleted in between: the slot is tried again
                raise UnavailableError("API server", f"Job {name} was created and then deleted") from error
            found = observed_job(job)
            if found is None or found.execution_id != execution_id:
                return LaunchRefusal(
                    Reason.NAME_TAKEN, f"a Job named {name} already exists and is not this execution's"
                )
            self._jobs.put(job)
            return False
        return True

    async def _create(self, key: Key, manifest: JSONObject) -> JSONObject:
        try:
            return await self._writer.create_job(manifest)
        except UnavailableError:  # it may exist: the next turn checks
            self._in_doubt[key] = (manifest["metadata"]["namespace"], manifest["metadata"]["name"])
            raise
        except ConflictError as error:  # not a name collision, which is another error: try again
            raise UnavailableError("API server", str(error)) from error
