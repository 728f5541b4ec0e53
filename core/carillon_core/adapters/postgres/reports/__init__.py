"""Aggregates over the history in Postgres."""

from carillon_core.adapters.postgres.reports.reader import PostgresReports

__all__ = ["PostgresReports"]
