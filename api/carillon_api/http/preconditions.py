"""ETag, If-Match and If-None-Match (RFC 9110, section 13.1): an ETag is the quoted ``resourceVersion``."""

import re
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from carillon_api.http.headers import IF_MATCH
from carillon_api.http.problems import Kind, RequestRefusedError, malformed

ANY_VERSION = "*"

_SPACE = " \t"
# an opaque tag may hold commas, but no quotes and no spaces; HTTP headers are bytes, read as Latin-1
_ELEMENT = re.compile(r'[ \t]*(?:(?P<tag>(?:W/)?"[\x21\x23-\x7e\x80-\xff]*")[ \t]*)?(?:,|\Z)')
IF_MATCH_PATTERN = r'^(\*|(W/)?"[!#-~]*"(, ?(W/)?"[!#-~]*")*)$'
"""What callers should send, for the OpenAPI document; ``if_match`` also accepts empty elements and other spaces."""


@dataclass(frozen=True, slots=True)
class IfMatch:
    """The versions that a caller's If-Match and If-None-Match admit."""

    tags: AbstractSet[str] | None
    """None admits any version."""
    none_of: str = ""
    """The request's If-None-Match: a write needs it to hold as well (RFC 9110, 13.1.2)."""

    def check(self, version: str) -> None:
        """Return if the version is admitted.

        Raises:
            RequestRefusedError: As 412, if it is not.

        """
        if self.tags is not None and etag(version) not in self.tags:
            raise stale(version)
        if self.none_of and not none_match(self.none_of, etag(version)):
            detail = "the object exists in a version that If-None-Match excludes: leave the header out to change it"
            raise RequestRefusedError(Kind.PRECONDITION_FAILED, detail)


def etag(version: str) -> str:
    """Return a resource version as an ETag."""
    return f'"{version}"'


def if_match(header: str) -> IfMatch:
    """Parse an If-Match header.

    Tags are compared strongly, as the RFC requires: a weak tag is kept as it is and never matches.

    Args:
        header: The header's value; of several lines, joined by commas.

    Raises:
        RequestRefusedError: As 400, if it is neither ``*`` nor a list of ETags.

    """
    if header.strip(_SPACE) == ANY_VERSION:
        return IfMatch(None)
    tags = entity_tags(header)
    if not tags:
        message = 'must be * or a list of ETags in quotes, such as "4711": copy the ETag header of the last answer'
        raise malformed(IF_MATCH, message)
    return IfMatch(tags)


def none_match(header: str, current: str) -> bool:
    """Return whether the condition of an If-None-Match header holds: whether the caller has another version.

    Tags are compared weakly. A malformed header is ignored: the caller then gets the full answer.

    Args:
        header: The header's value; of several lines, joined by commas.
        current: The ETag of the current version.

    """
    if header.strip(_SPACE) == ANY_VERSION:
        return False
    return current.removeprefix("W/") not in {tag.removeprefix("W/") for tag in entity_tags(header) or ()}


def entity_tags(header: str) -> AbstractSet[str] | None:
    """Return the tags of a list (RFC 9110, 5.6.1 and 8.8.3); empty elements are skipped. None if it is malformed."""
    tags = set()
    at = 0
    while found := _ELEMENT.match(header, at):
        if found["tag"]:
            tags.add(found["tag"])
        if found.end() == len(header):
            return tags
        at = found.end()
    return None


def stale(version: str | None = None) -> RequestRefusedError:
    """Return the error for a write whose If-Match names an older version."""
    now = f" to version {version}" if version else ""
    detail = f"the object has changed{now} since the version in If-Match: read it again and repeat the change"
    return RequestRefusedError(Kind.PRECONDITION_FAILED, detail)
