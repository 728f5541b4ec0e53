"""What goes over the wire, as pydantic models: bodies of requests, queries and answers; a module for each subject."""

from carillon_api.schemas.answers import Answer, Check, Problem, ProblemField
from carillon_api.schemas.executions import ExecutionList, ExecutionsQuery, ExecutionView, TaskExecutionsQuery
from carillon_api.schemas.health import Health, Readiness
from carillon_api.schemas.names import NamespaceName, TaskName
from carillon_api.schemas.tasks import AllTasksQuery, TaskCreate, TaskList, TaskPatch, TaskQuery, TaskReplace, TaskView
from carillon_api.schemas.upcoming import FireTime, TaskFireTime, Upcoming, UpcomingAll, UpcomingQuery

__all__ = [
    "AllTasksQuery",
    "Answer",
    "Check",
    "ExecutionList",
    "ExecutionView",
    "ExecutionsQuery",
    "FireTime",
    "Health",
    "NamespaceName",
    "Problem",
    "ProblemField",
    "Readiness",
    "TaskCreate",
    "TaskExecutionsQuery",
    "TaskFireTime",
    "TaskList",
    "TaskName",
    "TaskPatch",
    "TaskQuery",
    "TaskReplace",
    "TaskView",
    "Upcoming",
    "UpcomingAll",
    "UpcomingQuery",
]
