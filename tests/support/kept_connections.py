"""Connections that tests keep: while they wait, most of the processor's time would be spent on opening new ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, LiteralString

import httpx
import psycopg
from psycopg.rows import dict_row

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from psycopg import Connection
    from psycopg.rows import DictRow


class KeptConnections:
    """A connection to a database and a client of an API server; both may be restarted meanwhile."""

    def __init__(self, database_url: str, new_client: Callable[[], httpx.Client]) -> None:
        """Connect to neither yet."""
        self._database_url = database_url
        self._new_client = new_client
        self._database: Connection[DictRow] | None = None
        self._client: httpx.Client | None = None

    def close(self) -> None:
        """Close what is open."""
        if self._database is not None:
            self._database.close()
        if self._client is not None:
            self._client.close()

    def found(self, query: LiteralString, *parameters: object) -> list[dict[str, Any]]:
        """Return the rows of a query.

        Raises:
            psycopg.OperationalError: The database is away.

        """
        if self._database is not None:
            try:
                return self._database.execute(query, parameters).fetchall()
            except psycopg.OperationalError:
                self._database.close()
        self._database = psycopg.connect(
            self._database_url, row_factory=dict_row, autocommit=True, prepare_threshold=None
        )
        return self._database.execute(query, parameters).fetchall()

    def answer(self, path: str, parameters: Mapping[str, str]) -> httpx.Response:
        """Return the API server's answer to a GET.

        Raises:
            httpx.TransportError: It is away.

        """
        return self._sent("GET", path, params=parameters)

    def make(self, path: str, body: Mapping[str, object]) -> dict[str, Any]:
        """Create an object, which may exist, and return the API server's answer."""
        answer = self._sent("POST", path, json=body)
        if answer.status_code != httpx.codes.CONFLICT:  # sent twice, because the first answer was lost
            answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    def delete(self, path: str) -> None:
        """Delete an object, which may be gone."""
        self._sent("DELETE", path)

    def _sent(self, method: str, path: str, **more: Any) -> httpx.Response:
        if self._client is not None:
            try:
                return self._client.request(method, path, **more)
            except httpx.TransportError:
                self._client.close()
        self._client = self._new_client()
        return self._client.request(method, path, **more)
