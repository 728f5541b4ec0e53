"""The one tree of errors of Carillon's own.

Adapters translate what their libraries raise into these; each edge (REST
problem, condition, exit code) maps them once.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """One thing wrong with one field, and the mend.

    Attributes:
        path: The field's path as a user writes it, ``spec.schedule``.
        message: A sentence that says what is wrong and how to mend it.

    """

    path: str
    message: str

    def __str__(self) -> str:
        """Return ``path: message``."""
        return f"{self.path}: {self.message}"


class CarillonError(Exception):
    """The root of every error that Carillon raises on purpose."""


class InvalidResourceError(CarillonError):
    """An object or a request body breaks the rules of its kind."""

    def __init__(self, problems: Sequence[FieldProblem]) -> None:
        """Keep the problems, in the order in which they were found."""
        super().__init__("; ".join(str(p) for p in problems))
        self.problems = tuple(problems)


class NotFoundError(CarillonError):
    """The named thing does not exist."""


class AlreadyExistsError(CarillonError):
    """A thing of that name exists already."""


class ConflictError(CarillonError):
    """The thing was changed by somebody else since it was read."""


class ForbiddenError(CarillonError):
    """The cluster refused the call for want of permission."""


class OwnAccountError(ForbiddenError):
    """It is our own account that lacks the permission, or is not known, and not whoever we act for."""


class RefusedError(CarillonError):
    """The API server refused the object (422): the message is the server's own."""

    def __init__(self, message: str, problems: Sequence[FieldProblem] = ()) -> None:
        """Keep the server's message and the fields it named."""
        super().__init__(message)
        self.problems = tuple(problems)


class UnavailableError(CarillonError):
    """Something that Carillon needs is out of reach just now; trying again may help."""

    def __init__(self, what: str, why: str) -> None:
        """Name what is out of reach (``database``, ``API server``) and why."""
        super().__init__(f"{what} is unavailable: {why}")
        self.what = what
        self.why = why


class ExpiredError(UnavailableError):
    """What was asked for is no longer kept (410): the list must be read anew."""


class UnauthenticatedError(CarillonError):
    """Nobody knows who calls: there is no credential, or none that is valid."""


class SettingsError(CarillonError):
    """A setting is missing or makes no sense; the message names it and the mend."""
