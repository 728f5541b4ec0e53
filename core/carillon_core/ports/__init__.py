"""The interfaces to the outside world, as Protocols of one to six methods each.

Adapters in ``carillon_core.adapters`` implement them: ``kube`` and ``postgres``
in production, ``memory`` in tests. The tests in ``tests/contract`` hold all
adapters to the same contract. Every method is a coroutine and may raise
``UnavailableError``; its docstring names the other errors.
"""

from carillon_core.ports.audit import AuditEvent, AuditLog, AuditPage, AuditQuery
from carillon_core.ports.callers import APIServer, CallerCluster
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
from carillon_core.ports.runner_keys import RunnerKeys

__all__ = [
    "KEY_ABANDONED",
    "KEY_KEPT",
    "MOST_ANSWERS",
    "MOST_ANSWER_BYTES",
    "MOST_PAGE_BYTES",
    "APIServer",
    "AuditEvent",
    "AuditLog",
    "AuditPage",
    "AuditQuery",
    "CallerCluster",
    "Cluster",
    "ClusterReader",
    "ClusterWriter",
    "EventPoster",
    "EventSeries",
    "ExecutionPage",
    "ExecutionQuery",
    "HistoryReader",
    "HistoryRecorder",
    "HistorySummary",
    "IdempotencyStore",
    "JSONObject",
    "JobEvent",
    "JobReader",
    "JobWatch",
    "JobWriter",
    "Leases",
    "ObjectKind",
    "ObjectPage",
    "ObjectReader",
    "ObjectSource",
    "ObjectStore",
    "ObjectWriter",
    "RequestDeleter",
    "Reservation",
    "RunnerKeys",
    "SecretLabels",
    "SecretWriter",
    "StatusPatcher",
    "StoredAnswer",
]
