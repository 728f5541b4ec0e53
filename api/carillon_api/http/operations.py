"""Find the operation of a path in the OpenAPI document, so that the document and the behaviour agree.

The middlewares use it before the router runs: for the route in logs and
metrics, for ``Allow``, for the permission that an operation needs, and to
find out whether a POST honours an ``Idempotency-Key``.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Self

from starlette.routing import compile_path

from carillon_api.http.headers import IDEMPOTENCY_KEY


@dataclass(frozen=True, slots=True)
class PathOperations:
    """The operations of one path template."""

    template: str
    """For example ``/api/v1/executions/{id}``."""
    pattern: re.Pattern[str]
    methods: frozenset[str]
    keyed: frozenset[str]
    """The methods that honour an ``Idempotency-Key``."""


@dataclass(frozen=True, slots=True)
class Operations:
    """All operations of an app."""

    paths: tuple[PathOperations, ...]

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """Read them from an OpenAPI document."""
        return cls(tuple(_path_operations(template, item) for template, item in document["paths"].items()))

    def template(self, method: str, path: str) -> str | None:
        """Return the template that matches a request, or its path with another method; None if none matches."""
        found = self._at(path)
        return next((p.template for p in found if method in p.methods), found[0].template if found else None)

    def parameters(self, template: str, path: str) -> Mapping[str, str]:
        """Return the path parameters of a request whose template is known."""
        found = next((p.pattern.match(path) for p in self.paths if p.template == template), None)
        return found.groupdict() if found else {}

    def methods(self, path: str) -> Collection[str]:
        """Return the methods of a path, with HEAD wherever there is GET; empty if the path is not documented."""
        methods = {method for p in self._at(path) for method in p.methods}
        if "GET" in methods:
            methods.add("HEAD")
        return methods | {"OPTIONS"} if methods else methods

    def is_keyed(self, method: str, path: str) -> bool:
        """Return whether an operation honours an ``Idempotency-Key``."""
        return any(method in p.keyed for p in self._at(path))

    def _at(self, path: str) -> list[PathOperations]:
        return [p for p in self.paths if p.pattern.match(path)]


def _path_operations(template: str, item: Mapping[str, Any]) -> PathOperations:
    keyed = {m.upper() for m, o in item.items() if any(p["name"] == IDEMPOTENCY_KEY for p in o.get("parameters", ()))}
    return PathOperations(template, compile_path(template)[0], frozenset(m.upper() for m in item), frozenset(keyed))
