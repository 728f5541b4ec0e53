"""What the routes of tasks and targets have in common: how an object is answered, which problems are described."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar
from urllib.parse import quote

from fastapi import Response

from carillon_api.http.preconditions import etag
from carillon_api.http.problems import Kind, problem_responses
from carillon_api.services.context import Context
from carillon_api.services.edits import Change
from carillon_core.ports import JSONObject

READ = problem_responses(Kind.FORBIDDEN, Kind.NOT_FOUND)
LIST = problem_responses(Kind.FORBIDDEN, Kind.EXPIRED)
BODY = (Kind.MALFORMED, Kind.FORBIDDEN, Kind.NOT_FOUND, Kind.TOO_LARGE, Kind.UNSUPPORTED_MEDIA_TYPE, Kind.REFUSED)
CREATE = problem_responses(*BODY, Kind.ALREADY_EXISTS)
EDIT = problem_responses(*BODY, Kind.CONFLICT, Kind.PRECONDITION_FAILED)


class View(Protocol):
    """What every view of an object has."""

    @property
    def namespace(self) -> str:
        """Where it is."""
        ...

    @property
    def name(self) -> str:
        """Its name there."""
        ...

    @property
    def resource_version(self) -> str:
        """Its version."""
        ...


V = TypeVar("V", bound=View)


@dataclass(frozen=True, slots=True)
class Answers(Generic[V]):
    """How objects of one kind are answered."""

    plural: str
    """What the audit and RBAC call them, such as ``scheduledtasks``."""
    folder: str
    """What paths call them, such as ``tasks``."""
    view: Callable[[JSONObject], V]
    """Makes of a raw object what is answered."""

    def of(self, response: Response, stored: JSONObject) -> V:
        """Return an object as it is answered, its version in the ETag."""
        view = self.view(stored)
        response.headers["ETag"] = etag(view.resource_version)
        return view

    async def created(self, ctx: Context, response: Response, stored: JSONObject) -> V:
        """Return an object that was just created; where it is stands in the Location."""
        await ctx.record_change("create", self.plural, None, stored)
        view = self.of(response, stored)
        response.headers["Location"] = f"/api/v1/namespaces/{quote(view.namespace)}/{self.folder}/{quote(view.name)}"
        return view

    async def changed(self, ctx: Context, response: Response, action: str, change: Change) -> V:
        """Return an object after an edit, which is on record if it has changed anything."""
        if change.changed:
            await ctx.record_change(action, self.plural, change.before, change.after)
        return self.of(response, change.after)
