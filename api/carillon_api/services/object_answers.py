"""Code that the routes of tasks and targets share: responses with objects, and the documented problems."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, Self, TypeVar
from urllib.parse import quote

from fastapi import Response

from carillon_api.http.preconditions import etag
from carillon_api.http.problems import Kind, problem_responses
from carillon_api.schemas.changes.dry_runs import DryRun
from carillon_api.services.context import Context
from carillon_api.services.edits import Change
from carillon_core.ports import JSONObject

READ = problem_responses(Kind.FORBIDDEN, Kind.NOT_FOUND)
LIST = problem_responses(Kind.FORBIDDEN, Kind.EXPIRED)
BODY = (Kind.MALFORMED, Kind.FORBIDDEN, Kind.NOT_FOUND, Kind.TOO_LARGE, Kind.UNSUPPORTED_MEDIA_TYPE, Kind.REFUSED)
CREATE = problem_responses(*BODY, Kind.ALREADY_EXISTS)
EDIT = problem_responses(*BODY, Kind.CONFLICT, Kind.PRECONDITION_FAILED)


class View(Protocol):
    """The common fields of views."""

    @property
    def namespace(self) -> str:
        """The object's namespace."""
        ...

    @property
    def name(self) -> str:
        """The object's name."""
        ...

    @property
    def resource_version(self) -> str:
        """The object's version."""
        ...

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy with other values."""
        ...


V = TypeVar("V", bound=View)


@dataclass(frozen=True, slots=True)
class Answers(Generic[V]):
    """Builds the responses with objects of one kind."""

    plural: str
    """The resource in RBAC and the audit, such as ``scheduledtasks``."""
    folder: str
    """The collection in paths, such as ``tasks``."""
    view: Callable[[JSONObject], V]
    """Converts a raw object to its view."""
    dry_run: Callable[[Context, JSONObject | None, JSONObject | None], Awaitable[DryRun]]
    """Returns what the write of an object would change, from the object before and after."""

    def of(self, response: Response, stored: JSONObject) -> V:
        """Return the view of an object, and set the ETag."""
        view = self.view(stored)
        response.headers["ETag"] = etag(view.resource_version)
        return view

    async def created(self, ctx: Context, response: Response, stored: JSONObject) -> V:
        """Record the creation of an object, return its view, and set ETag and Location.

        A dry run does neither and sets no header: there is no such object.
        """
        if ctx.dry_run:
            return await self._asked(ctx, None, stored)
        await ctx.record_change("create", self.plural, None, stored)
        view = self.of(response, stored)
        response.headers["Location"] = f"/api/v1/namespaces/{quote(view.namespace)}/{self.folder}/{quote(view.name)}"
        return view

    async def changed(self, ctx: Context, response: Response, action: str, change: Change) -> V:
        """Record an edit if it changed the object, return the view, and set the ETag unless it is a dry run."""
        if ctx.dry_run:
            return await self._asked(ctx, change.before, change.after)
        if change.changed:
            await ctx.record_change(action, self.plural, change.before, change.after)
        return self.of(response, change.after)

    async def _asked(self, ctx: Context, before: JSONObject | None, after: JSONObject) -> V:
        """Return the view of an object as it would be, with what would change."""
        return self.view(after).model_copy(update={"dry_run": await self.dry_run(ctx, before, after)})
