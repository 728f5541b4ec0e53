"""Creates Jobs. The Job's name is the slot's lock: creating it twice is impossible while it exists.

The reconciler calls it, one key at a time.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from carillon_core.domain.decision.plan import Notice, Reason
from carillon_core.domain.launch.manifest import RunnerTemplate, job_manifest
from carillon_core.domain.launch.order import Order
from carillon_core.domain.observed.jobs import observed_job
from carillon_core.errors import AlreadyExistsError, ConflictError, NotFoundError, RefusedError, UnavailableError
from carillon_core.logs import get_logger
from carillon_core.ports import Cluster, JSONObject, ObjectKind
from carillon_core.resources.base import rfc3339
from carillon_operator.apply.announcer import Announcer
from carillon_operator.apply.runner_secret import RunnerSecret
from carillon_operator.state.observed_store import ObservedStore
from carillon_operator.state.work_queue import Key

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class LaunchRefusal:
    """Why a launch was refused for good."""

    reason: Reason
    message: str


class Launcher:
    """Launches orders, and finds out what became of a launch whose answer got lost."""

    def __init__(
        self,
        *,
        cluster: Cluster,
        store: ObservedStore,
        secret: RunnerSecret,
        announcer: Announcer,
        template: RunnerTemplate,
        clock: Callable[[], datetime],
    ) -> None:
        """Take the cluster to launch in."""
        self._cluster = cluster
        self._store = store
        self._secret = secret
        self._announcer = announcer
        self._template = template
        self._clock = clock
        self._in_doubt: dict[Key, tuple[str, str]] = {}

    @property
    def in_doubt(self) -> bool:
        """Whether the answer to a launch got lost, so that it may still be carried out."""
        return bool(self._in_doubt)

    def forget(self, key: Key) -> None:
        """Drop a doubt about a task that is gone."""
        self._in_doubt.pop(key, None)

    async def resolve_doubt(self, key: Key) -> None:
        """Look for the Job of a launch whose answer got lost, before anything else is decided under its key."""
        doubt = self._in_doubt.get(key)
        if doubt is None:
            return
        try:
            job = await self._cluster.get_job(*doubt)
        except NotFoundError:
            pass
        else:
            self._store.put_job(job)
            log.info("launched, the answer got lost", task="/".join(key), job=doubt[1])
        del self._in_doubt[key]

    async def launch(self, key: Key, order: Order) -> LaunchRefusal | None:
        """Create the Job of an order; return why not, if it is refused for good.

        Raises:
            UnavailableError: It may or may not exist: ``resolve_doubt`` tells, at the next turn.
            ForbiddenError: The operator lacks the permission.

        """
        manifest = job_manifest(order, self._template)
        name, namespace = order.job_name, order.owner.namespace
        try:
            if not order.container:
                await self._secret.ensure(namespace)
            job = await self._create(key, manifest)
        except AlreadyExistsError:
            # An answer that got lost, or an operator before us: carry on. Or somebody else's: refuse.
            try:
                job = await self._cluster.get_job(namespace, name)
            except NotFoundError as error:  # deleted in between: its slot is tried again
                raise UnavailableError("API server", f"Job {name} came and went") from error
            found = observed_job(job)
            if found is None or found.execution_id != str(order.execution_id):
                return LaunchRefusal(Reason.NAME_TAKEN, f"a Job {name} that is not this task's exists already")
        except NotFoundError:  # the namespace is going, and the task with it
            return LaunchRefusal(Reason.LAUNCH_REFUSED, f"the namespace {namespace} is gone")
        except RefusedError as error:
            return LaunchRefusal(Reason.LAUNCH_REFUSED, f"the API server refused Job {name}: {error}"[:1024])
        else:
            self._tell(order)
        self._store.put_job(job)
        return None

    async def _create(self, key: Key, manifest: JSONObject) -> JSONObject:
        try:
            return await self._cluster.create_job(manifest)
        except UnavailableError:  # made or not made: the next turn looks
            self._in_doubt[key] = (manifest["metadata"]["namespace"], manifest["metadata"]["name"])
            raise
        except ConflictError as error:  # not of the name, which is another error: to be tried again
            raise UnavailableError("API server", str(error)) from error

    def _tell(self, order: Order) -> None:
        now = self._clock()
        late = (now - order.slot).total_seconds()
        log.info(
            "launched",
            task=f"{order.owner.namespace}/{order.task_name}",
            job=order.job_name,
            late_ms=round(late * 1000),
        )
        notice = Notice(
            "Normal", Reason.LAUNCHED, f"launched Job {order.job_name} for the slot of {rfc3339(order.slot)}"
        )
        kind: ObjectKind = "ScheduledTask" if order.request_name is None else "RunRequest"
        self._announcer.announce(order.owner, notice, now, kind)
