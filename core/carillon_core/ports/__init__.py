"""The interfaces to the outside world, as Protocols of one to six methods each.

Adapters in ``carillon_core.adapters`` implement them: ``kube`` and ``postgres``
in production, ``memory`` in tests. The tests in ``tests/contract`` hold all
adapters to the same contract. Every method is a coroutine and may raise
``UnavailableError``; its docstring names the other errors.
"""

from carillon_core.ports.audit import AuditAuthor, AuditEvent, AuditLog, AuditPage, AuditQuery
from carillon_core.ports.callers import APIServer, CallerCluster, FirstJobs
from carillon_core.ports.changes import (
    MOST_CHANGES,
    ChangedExecutions,
    ChangedTasks,
    ExecutionChange,
    ExecutionChanges,
    TaskChange,
    TaskWatch,
)
from carillon_core.ports.cluster import (
    Cluster,
    ClusterReader,
    ClusterWriter,
    EventPoster,
    EventSeries,
    JobEvent,
    JobReader,
    JobWatch,
    JobWriter,
    LogReader,
    ObjectSource,
    RequestDeleter,
    SecretLabels,
    SecretWriter,
    StatusPatcher,
)
from carillon_core.ports.history import ExecutionPage, ExecutionQuery, HistoryReader, HistoryRecorder, HistorySummary
from carillon_core.ports.idempotency import (
    KEY_ABANDONED,
    KEY_KEPT,
    MOST_ANSWER_BYTES,
    MOST_ANSWERS,
    IdempotencyStore,
    Reservation,
    StoredAnswer,
)
from carillon_core.ports.leases import Leases
from carillon_core.ports.objects import (
    MOST_PAGE_BYTES,
    JSONObject,
    ObjectKind,
    ObjectPage,
    ObjectReader,
    ObjectStore,
    ObjectWriter,
)
from carillon_core.ports.reports import (
    MOST_COUNTED,
    MOST_SAMPLED,
    BucketCounts,
    HistoryReports,
    Mark,
    Percentiles,
    ReportQuery,
    Statistics,
    StatusCount,
)
from carillon_core.ports.revisions import (
    MOST_NEAR,
    RevisionId,
    RevisionPage,
    RevisionQuery,
    RevisionRecorder,
    TaskPast,
)
from carillon_core.ports.runner_keys import RunnerKeys
from carillon_core.ports.webhook_certificates import StoredCertificate, WebhookCertificates

__all__ = [
    "KEY_ABANDONED",
    "KEY_KEPT",
    "MOST_ANSWERS",
    "MOST_ANSWER_BYTES",
    "MOST_CHANGES",
    "MOST_COUNTED",
    "MOST_NEAR",
    "MOST_PAGE_BYTES",
    "MOST_SAMPLED",
    "APIServer",
    "AuditAuthor",
    "AuditEvent",
    "AuditLog",
    "AuditPage",
    "AuditQuery",
    "BucketCounts",
    "CallerCluster",
    "ChangedExecutions",
    "ChangedTasks",
    "Cluster",
    "ClusterReader",
    "ClusterWriter",
    "EventPoster",
    "EventSeries",
    "ExecutionChange",
    "ExecutionChanges",
    "ExecutionPage",
    "ExecutionQuery",
    "FirstJobs",
    "HistoryReader",
    "HistoryRecorder",
    "HistoryReports",
    "HistorySummary",
    "IdempotencyStore",
    "JSONObject",
    "JobEvent",
    "JobReader",
    "JobWatch",
    "JobWriter",
    "Leases",
    "LogReader",
    "Mark",
    "ObjectKind",
    "ObjectPage",
    "ObjectReader",
    "ObjectSource",
    "ObjectStore",
    "ObjectWriter",
    "Percentiles",
    "ReportQuery",
    "RequestDeleter",
    "Reservation",
    "RevisionId",
    "RevisionPage",
    "RevisionQuery",
    "RevisionRecorder",
    "RunnerKeys",
    "SecretLabels",
    "SecretWriter",
    "Statistics",
    "StatusCount",
    "StatusPatcher",
    "StoredAnswer",
    "StoredCertificate",
    "TaskChange",
    "TaskPast",
    "TaskWatch",
    "WebhookCertificates",
]
