"""Names in queries and bodies: those that no object can have are refused before anybody is asked."""

from typing import Annotated

from pydantic import AfterValidator

from carillon_api.schemas.checks import namespace_name, task_name

NamespaceName = Annotated[str, AfterValidator(namespace_name)]
TaskName = Annotated[str, AfterValidator(task_name)]
