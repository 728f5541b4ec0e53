"""What goes over the wire, as pydantic models: bodies of requests, queries and answers; a module for each subject."""

from carillon_api.schemas.answers import Answer, Check, ObjectView, Page, PageQuery, Problem, ProblemField, UserOfTarget
from carillon_api.schemas.executions import ExecutionList, ExecutionsQuery, ExecutionView, TaskExecutionsQuery
from carillon_api.schemas.health import Health, Readiness
from carillon_api.schemas.names import NamespaceName, TaskName
from carillon_api.schemas.targets import (
    AllTargetsQuery,
    TargetCreate,
    TargetDeleted,
    TargetDeletion,
    TargetList,
    TargetPatch,
    TargetQuery,
    TargetReplace,
    TargetView,
)
from carillon_api.schemas.tasks import (
    AllTasksQuery,
    TaskCreate,
    TaskList,
    TaskPatch,
    TaskQuery,
    TaskReplace,
    TaskType,
    TaskView,
)
from carillon_api.schemas.upcoming import FireTime, TaskFireTime, Upcoming, UpcomingAll, UpcomingQuery

__all__ = [
    "AllTargetsQuery",
    "AllTasksQuery",
    "Answer",
    "Check",
    "ExecutionList",
    "ExecutionView",
    "ExecutionsQuery",
    "FireTime",
    "Health",
    "NamespaceName",
    "ObjectView",
    "Page",
    "PageQuery",
    "Problem",
    "ProblemField",
    "Readiness",
    "TargetCreate",
    "TargetDeleted",
    "TargetDeletion",
    "TargetList",
    "TargetPatch",
    "TargetQuery",
    "TargetReplace",
    "TargetView",
    "TaskCreate",
    "TaskExecutionsQuery",
    "TaskFireTime",
    "TaskList",
    "TaskName",
    "TaskPatch",
    "TaskQuery",
    "TaskReplace",
    "TaskType",
    "TaskView",
    "Upcoming",
    "UpcomingAll",
    "UpcomingQuery",
    "UserOfTarget",
]
