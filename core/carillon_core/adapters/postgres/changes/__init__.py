"""The changes of executions in Postgres."""

from carillon_core.adapters.postgres.changes.reader import PostgresChangedExecutions

__all__ = ["PostgresChangedExecutions"]
