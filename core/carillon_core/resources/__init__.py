"""The API group ``carillon.dev`` as pydantic models: the one source of the CRDs and of the REST schemas."""

from carillon_core.resources.meta import Condition, ObjectMeta
from carillon_core.resources.names import (
    API_VERSION,
    GROUP,
    KIND,
    LABEL_MANAGED_BY,
    LABEL_TASK,
    LABEL_TASK_UID,
    MANAGED_BY,
    MAX_NAME_LENGTH,
    PLURAL,
    SHORT_NAME,
    VERSION,
)
from carillon_core.resources.scheduled_task import (
    ConcurrencyPolicy,
    LastExecution,
    LastSkip,
    RunResult,
    ScheduledTask,
    ScheduledTaskSpec,
    ScheduledTaskStatus,
)
from carillon_core.resources.tasks import CounterTask, HTTPTask, SleepTask, SumTask, Task

__all__ = [
    "API_VERSION",
    "GROUP",
    "KIND",
    "LABEL_MANAGED_BY",
    "LABEL_TASK",
    "LABEL_TASK_UID",
    "MANAGED_BY",
    "MAX_NAME_LENGTH",
    "PLURAL",
    "SHORT_NAME",
    "VERSION",
    "ConcurrencyPolicy",
    "Condition",
    "CounterTask",
    "HTTPTask",
    "LastExecution",
    "LastSkip",
    "ObjectMeta",
    "RunResult",
    "ScheduledTask",
    "ScheduledTaskSpec",
    "ScheduledTaskStatus",
    "SleepTask",
    "SumTask",
    "Task",
]
