"""ETag and If-Match (RFC 9110, section 13.1.1): an ETag is the quoted ``resourceVersion``."""

import re
from dataclasses import dataclass

from carillon_api.http.problems import Kind, RequestRefusedError
from carillon_core.errors import FieldProblem, InvalidResourceError

_ETAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e]*"')


@dataclass(frozen=True, slots=True)
class IfMatch:
    """What a caller's If-Match admits: any version, or these."""

    tags: frozenset[str] | None

    def check(self, version: str) -> None:
        """Return if the version is admitted.

        Raises:
            RequestRefusedError: As 412, if it is not.

        """
        if self.tags is not None and etag(version) not in self.tags:
            raise stale(version)


def etag(version: str) -> str:
    """Return a resource version as an ETag."""
    return f'"{version}"'


def if_match(header: str | None) -> IfMatch | None:
    """Return a caller's If-Match, or None if there is none.

    A weak tag is kept as it is and so never matches, as the RFC wants it.

    Raises:
        InvalidResourceError: If it is neither ``*`` nor a list of ETags.

    """
    if header is None:
        return None
    if header.strip() == "*":
        return IfMatch(None)
    tags = [part.strip() for part in header.split(",")]
    if not all(_ETAG.fullmatch(tag) for tag in tags):
        message = "is not an ETag: send it as it came, with its quotes"
        raise InvalidResourceError([FieldProblem("If-Match", message)])
    return IfMatch(frozenset(tags))


def stale(version: str | None = None) -> RequestRefusedError:
    """Return the error of a write whose If-Match names an older version."""
    now = f", its version is {version} now" if version else ""
    detail = f"it was changed since the version that If-Match names{now}: read it again and repeat the change"
    return RequestRefusedError(Kind.PRECONDITION_FAILED, detail)
