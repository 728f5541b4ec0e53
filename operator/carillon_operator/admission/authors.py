"""Asks the cluster whether an author has the permissions that an object needs. The admission webhook calls it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from carillon_core.domain.access.authoring import Need
from carillon_core.domain.access.subjects import Access, Decision, Subject
from carillon_core.errors import CarillonError, FieldProblem
from carillon_core.logs import get_logger

log = get_logger(__name__)

SECONDS = 3.0
"""The maximum time for all reviews of an object; shorter than the webhook's own timeout."""

ReviewAccess = Callable[[Subject, Access], Awaitable[Decision]]
"""Returns whether a subject has an access (SubjectAccessReview)."""


class UncheckedAuthorError(Exception):
    """The cluster has not said whether the author has the permissions; the message says why."""


@dataclass(frozen=True, slots=True)
class Authors:
    """Checks the authors of objects."""

    review: ReviewAccess

    async def problems(self, author: Subject, needs: Sequence[Need]) -> tuple[FieldProblem, ...]:
        """Return a problem for each field whose author lacks a permission.

        Raises:
            UncheckedAuthorError: The cluster cannot be asked now.

        """
        asked = tuple({need.access for need in needs})
        try:
            async with asyncio.timeout(SECONDS):
                answers = await asyncio.gather(*(self.review(author, access) for access in asked))
        except (CarillonError, TimeoutError) as error:
            why = str(error) or f"no response within {SECONDS} s"
            log.warning("author not checked", author=author.name, why=why)
            message = f'the permissions of user "{author.name}" cannot be checked: {why}'
            raise UncheckedAuthorError(message) from error
        allowed = {access: answer.allowed for access, answer in zip(asked, answers, strict=True)}
        return tuple(need.refusal(author) for need in needs if not allowed[need.access])


def author_of(userinfo: Mapping[str, Any]) -> Subject:
    """Return the author that an admission request names."""
    return Subject(str(userinfo.get("username") or ""), tuple(userinfo.get("groups") or ()))
