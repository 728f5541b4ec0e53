"""Names in query parameters and bodies: a name that no object can have is refused before any other call is made."""

from typing import Annotated

from pydantic import AfterValidator

from carillon_api.schemas.checks import namespace_name, task_name

NamespaceName = Annotated[str, AfterValidator(namespace_name)]
TaskName = Annotated[str, AfterValidator(task_name)]
