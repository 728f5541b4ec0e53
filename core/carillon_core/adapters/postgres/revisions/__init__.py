"""The history of specs on Postgres."""

from carillon_core.adapters.postgres.revisions.reader import PostgresPast
from carillon_core.adapters.postgres.revisions.recorder import PostgresRevisions

__all__ = ["PostgresPast", "PostgresRevisions"]
