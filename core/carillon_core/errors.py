"""Carillon's own exceptions.

Adapters translate the exceptions of their libraries into these, and each edge
(problem, condition, exit code) maps them once.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """One problem with one field.

    Attributes:
        path: The path of the field as a user writes it, ``spec.schedule``.
        message: What is wrong and what to write instead.

    """

    path: str
    message: str

    def __str__(self) -> str:
        """Return ``path: message``."""
        return f"{self.path}: {self.message}"


class CarillonError(Exception):
    """The base of every exception that Carillon raises."""


class InvalidResourceError(CarillonError):
    """An object or a request body is invalid."""

    def __init__(self, problems: Sequence[FieldProblem]) -> None:
        """Keep the problems in the order in which they were found."""
        super().__init__("; ".join(str(p) for p in problems))
        self.problems = tuple(problems)


class NotFoundError(CarillonError):
    """The object does not exist."""


class AlreadyExistsError(CarillonError):
    """An object of that name exists."""


class ConflictError(CarillonError):
    """The object has changed since it was read."""


class ForbiddenError(CarillonError):
    """The cluster's RBAC forbids the call."""


class OwnAccountError(ForbiddenError):
    """Our own service account lacks the permission or is unknown, rather than the user that it acts for."""


class RefusedError(CarillonError):
    """The API server rejected the object (422); the message is the server's."""

    def __init__(self, message: str, problems: Sequence[FieldProblem] = ()) -> None:
        """Keep the server's message and the fields that it names."""
        super().__init__(message)
        self.problems = tuple(problems)


class UnavailableError(CarillonError):
    """Something that Carillon needs is temporarily unavailable; another attempt may succeed."""

    def __init__(self, what: str, why: str) -> None:
        """Name what is unavailable (``database``, ``API server``) and why."""
        super().__init__(f"{what} is unavailable: {why}")
        self.what = what
        self.why = why


class ExpiredError(UnavailableError):
    """The requested version is no longer available (410): list again."""


class UnauthenticatedError(CarillonError):
    """Authentication is required: there is no credential, or it is invalid."""


class SettingsError(CarillonError):
    """A setting is missing or wrong; the message names it and says what it must be."""
