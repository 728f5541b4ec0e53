"""Checks the literal parts of the URL of an HTTP task or target, by the rules that the runner follows. Pure.

A template can become anything, so only what stands outside of templates is judged.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from carillon_core.domain.egress.rules import BAD_CHARACTER, HostError, canonical_host, canonical_port, port_number
from carillon_core.errors import FieldProblem

_OPENING = re.compile(r"\{[{%#]")
_CLOSING = {"{{": "}}", "{%": "%}", "{#": "#}"}
_END = re.compile(r"[/?#]")
_BAD = re.compile(r"[\\\x00-\x20\x7f]")
_PORT = re.compile(r":(\d+)", re.ASCII)
_TEMPLATE = "\0"
"""Stands for a template in an authority: no literal part that was checked has it."""
_LONGEST_NAME = 253
_LONGEST_LABEL = 63


@dataclass(frozen=True, slots=True)
class _Authority:
    """What stands between ``//`` and the path: literal parts, with a template between each two."""

    parts: list[str]

    @classmethod
    def of(cls, url: str) -> "_Authority":
        """Return the authority of an absolute URL."""
        first, *others = _literals(url)
        found: list[str] = []
        for part in (first[first.index("://") + 3 :], *others):
            end = _END.search(part)
            found.append(part[: end.start()] if end else part)
            if end:
                break
        return cls(found)

    @property
    def password(self) -> str:
        """The literal part of the password; empty if there is none."""
        user, _, _ = _TEMPLATE.join(self.parts).rpartition("@")
        return user.partition(":")[2].replace(_TEMPLATE, "")


def _literals(text: str) -> list[str]:
    """Return the parts of a text outside of templates; an unclosed template, which is a problem of its own, ends it."""
    parts: list[str] = []
    at = 0
    while found := _OPENING.search(text, at):
        parts.append(text[at : found.start()])
        end = text.find(_CLOSING[found[0]], found.end())
        if end < 0:
            return parts
        at = end + 2
    return [*parts, text[at:]]


def url_problems(url: str | None, path: str) -> tuple[FieldProblem, ...]:
    """Return the problem of the host or the port of a URL for which the runner would refuse it.

    Args:
        url: A URL that begins with http:// or https://; may have templates.
        path: The path of its field.

    """
    if url is None:
        return ()
    try:
        _check(url.strip())  # as the runner reads it
    except HostError as error:
        return (FieldProblem(path, str(error)),)
    except ValueError:
        return (FieldProblem(path, "has a host that is not valid: write a URL such as https://example.com/path"),)
    return ()


def password_advice(url: str | None, path: str) -> Iterator[str]:
    """Yield a warning if a URL has a password in it."""
    if url is not None and _Authority.of(url.strip()).password:
        yield (
            f"{path}: contains a password, visible to everyone who can read the object; "
            "send it in a header of an HTTPTarget that takes its value from a Secret (secretKeyRef)"
        )


def _check(url: str) -> None:
    authority = _Authority.of(url).parts
    if len(authority) == 1:
        literal = _literals(url)[0]
        host = canonical_host(literal)
        canonical_port(literal)
        _check_name(host)
        return
    for part in authority:
        # the template beside a space may remove it
        if _BAD.search(part.strip()):
            raise HostError(BAD_CHARACTER)
    if port := _PORT.fullmatch(authority[-1].rstrip()):
        port_number(port[1])


def _check_name(host: str) -> None:
    """Refuse a name that no DNS server can be asked for (RFC 1035, 2.3.4)."""
    if ":" in host:
        return
    name = host.removesuffix(".")
    labels = name.split(".")
    if "" in labels:
        raise HostError("has two dots in a row, or a leading dot, in its host: remove the extra dot")
    if len(name) > _LONGEST_NAME or max(map(len, labels)) > _LONGEST_LABEL:
        raise HostError(
            f"has a host that is too long: use at most {_LONGEST_NAME} characters, and {_LONGEST_LABEL} between dots"
        )
