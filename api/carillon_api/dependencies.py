"""How the routes get at what they need: FastAPI dependencies over what ``create_app`` was given."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, cast

from fastapi import Depends, Header, Path, Request
from pydantic import AfterValidator

from carillon_api.checks import namespace_name, task_name
from carillon_api.preconditions import IfMatch, if_match
from carillon_api.settings import Settings
from carillon_core.ports import HistoryReader, TaskStore


@dataclass(frozen=True, slots=True)
class Context:
    """What the facade works with; one for each app."""

    tasks: TaskStore
    executions: HistoryReader
    clock: Callable[[], datetime]
    settings: Settings


def _context(request: Request) -> Context:
    return cast("Context", request.app.state.context)


def _precondition(
    header: Annotated[
        str | None,
        Header(alias="If-Match", max_length=4096, description="Write only if the task still has this ETag, else 412."),
    ] = None,
) -> IfMatch | None:
    return if_match(header)


Ctx = Annotated[Context, Depends(_context)]
Precondition = Annotated[IfMatch | None, Depends(_precondition)]
Namespace = Annotated[str, Path(description="The task's namespace."), AfterValidator(namespace_name)]
TaskName = Annotated[str, Path(description="The task's name."), AfterValidator(task_name)]
