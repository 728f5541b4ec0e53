"""Carillon's own errors, one tree.

Adapters translate what their libraries raise into these; each edge (REST
problem, condition, exit code) maps them once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

MOST_PROBLEMS = 50
"""How many problems of one object are told: a body of a mebibyte can have a hundred thousand."""
MOST_PATH = 256
"""The maximum number of characters of a path; a user chooses the keys in it."""
MOST_MESSAGE = 1024


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """One problem of one field, and how to fix it.

    Attributes:
        path: The field's path as a user writes it, ``spec.schedule``; cut to ``MOST_PATH`` characters.
        message: A sentence that says what is wrong and how to fix it; cut to ``MOST_MESSAGE`` characters.

    """

    path: str
    message: str

    def __post_init__(self) -> None:
        """Cut what is too long to be read, so that no message grows with what a user sends."""
        object.__setattr__(self, "path", cut(self.path, MOST_PATH))
        object.__setattr__(self, "message", cut(self.message, MOST_MESSAGE))

    def __str__(self) -> str:
        """Return ``path: message``."""
        return f"{self.path}: {self.message}"


def cut(text: str, most: int) -> str:
    """Return a text shortened to a maximum number of characters, with an ellipsis at its end if it was longer."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


class CarillonError(Exception):
    """The root of every error that Carillon raises on purpose."""


class InvalidResourceError(CarillonError):
    """An object or a request body breaks the rules of its kind."""

    def __init__(self, problems: Sequence[FieldProblem]) -> None:
        """Keep the first ``MOST_PROBLEMS``, in the order in which they were found."""
        self.problems = tuple(problems[:MOST_PROBLEMS])
        super().__init__("; ".join(str(p) for p in self.problems))


class NotFoundError(CarillonError):
    """The named object does not exist."""


class AlreadyExistsError(CarillonError):
    """An object of that name already exists."""


class ConflictError(CarillonError):
    """The object has changed since it was read."""


class ForbiddenError(CarillonError):
    """The cluster refused the request because a permission is missing."""


class OwnAccountError(ForbiddenError):
    """Our own account lacks the permission or is rejected, not the account that we act for."""


class RefusedError(CarillonError):
    """The API server refused the object (422): the message is the server's own."""

    def __init__(self, message: str, problems: Sequence[FieldProblem] = ()) -> None:
        """Keep the server's message and the fields it named."""
        super().__init__(message)
        self.problems = tuple(problems)


class UnavailableError(CarillonError):
    """Something that Carillon needs is unavailable now; trying again may help."""

    def __init__(self, what: str, why: str) -> None:
        """Name what is unavailable (``database``, ``API server``) and why."""
        super().__init__(f"{what} is unavailable: {why}")
        self.what = what
        self.why = why


class TooMuchWorkError(CarillonError):
    """Work took more CPU time, more stack or more memory than it may, and was ended."""


class NoAnswerError(UnavailableError):
    """It has accepted the call and not answered in time, so that every call costs the time limit."""


class TooLargeError(UnavailableError):
    """The answer is larger than the caller can take: ask for less."""


class ExpiredError(UnavailableError):
    """The requested version has expired (410): list again."""


class UnauthenticatedError(CarillonError):
    """The request has no valid credential."""


class SettingsError(CarillonError):
    """A setting is missing or invalid; the message names it and how to fix it."""
