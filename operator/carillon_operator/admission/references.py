"""Looks for the objects that a spec names, before it is stored. The admission webhook calls it.

What is missing may be created later, so it is a warning. Otherwise its author
would learn of a misspelt name when the first slot is due. Of Secrets, only the
labels are read, and only with the permission that launches need anyway.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from carillon_core.errors import CarillonError, InvalidResourceError, NotFoundError
from carillon_core.logs import get_logger
from carillon_core.ports import JSONObject, ObjectKind
from carillon_core.resources import names
from carillon_core.resources.http_target import HTTPTargetSpec, parse_target_spec, secret_uses
from carillon_core.resources.run_request import parse_request_spec
from carillon_core.resources.scheduled_task import parse_spec
from carillon_core.resources.tasks import Task
from carillon_operator.admission.target_secrets import unlabelled

log = get_logger(__name__)

SECONDS = 1.0
"""The maximum time for all look-ups of an object; shorter than the webhook's own timeout."""
MOST_SECRETS = 10
"""How many Secrets of a target are looked up: it may name 66."""

GetObject = Callable[[ObjectKind, str, str], Awaitable[JSONObject]]
SecretLabels = Callable[[str, str], Awaitable[Mapping[str, str]]]


@dataclass(frozen=True, slots=True)
class References:
    """Looks for objects as the operator sees them."""

    get_object: GetObject
    secret_labels: SecretLabels | None
    """None: the operator has no permission to read Secrets, and their labels do not matter."""

    async def warnings(self, kind: str, new: Mapping[str, Any], old: Mapping[str, Any] | None) -> Sequence[str]:
        """Return a warning for each object that a new or changed spec names and that cannot be used.

        Args:
            kind: ScheduledTask, HTTPTarget or RunRequest.
            new: The object to store, which is valid and whose author may use what it names.
            old: The object that it replaces, if any.

        """
        if old is not None and old.get("spec") == new.get("spec"):
            return ()
        namespace, name = str(new["metadata"]["namespace"]), new["metadata"].get("name") or kind
        try:
            async with asyncio.timeout(SECONDS):
                found = [f"{name}: {each}" for each in await self._found(kind, namespace, new.get("spec"))]
        except InvalidResourceError:
            return ()
        except (CarillonError, TimeoutError) as error:
            log.warning("references of an object not looked up", why=str(error) or f"no answer within {SECONDS} s")
            return ()
        return found

    async def _found(self, kind: str, namespace: str, spec: Any) -> list[str]:
        if kind == names.KIND_TARGET:
            return await self._secrets(namespace, parse_target_spec(spec, strict=False))
        if kind == names.KIND:
            return await self._target(namespace, parse_spec(spec, strict=False).task)
        return await self._target(namespace, parse_request_spec(spec, strict=False).task)

    async def _target(self, namespace: str, task: Task | None) -> list[str]:
        ref = task.http.target_ref if task is not None and task.http is not None else None
        if ref is None:
            return []
        try:
            await self.get_object("HTTPTarget", namespace, ref.name)
        except NotFoundError:
            why = f"HTTPTarget {ref.name} does not exist in {namespace}: create it, or correct the name"
            return [f"spec.task.http.targetRef: {why}"]
        return []

    async def _secrets(self, namespace: str, spec: HTTPTargetSpec) -> list[str]:
        """Return a warning for the first reference to each Secret that cannot be used."""
        if self.secret_labels is None:
            return []
        first = {use.ref.name: use.path for use in reversed(tuple(secret_uses(spec)))}
        used = sorted(first)[:MOST_SECRETS]
        judged = await asyncio.gather(*(self._secret(self.secret_labels, namespace, name) for name in used))
        return [f"{first[name]}: {why}" for name, why in zip(used, judged, strict=True) if why is not None]

    async def _secret(self, labels_of: SecretLabels, namespace: str, name: str) -> str | None:
        try:
            labels = await labels_of(namespace, name)
        except NotFoundError:
            return f"Secret {name} does not exist in {namespace}: create it, or correct the name"
        return None if labels.get(names.LABEL_HTTP_TARGET) == "true" else unlabelled(namespace, name)
