"""Read YAML or JSON as Kubernetes does, document by document. An error is one sentence.

``next`` and ``explain`` call this for a file or for the standard input.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from carillon_core.resources.names import API_VERSION, KIND, KIND_REQUEST, KIND_TARGET

MAX_BYTES = 20 * 2**20
OUR_KINDS = (KIND, KIND_TARGET, KIND_REQUEST)
STDIN = "-"


class InputError(Exception):
    """The input cannot be used; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Document:
    """One object of a file."""

    place: str
    """Its place in the file: ``document 2`` or ``document 1, item 3``."""
    kind: str
    raw: dict[str, Any]

    @property
    def name(self) -> str:
        """Return ``namespace/name``, as far as the object has them."""
        meta = self.raw["metadata"]
        name = meta.get("name") or f"{meta.get('generateName') or '(no name)'}"
        return f"{meta.get('namespace') or 'default'}/{name}"


class _KubernetesLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # the C loader where available
    """Reads times as text, as Kubernetes does: JSON has none."""


_KubernetesLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_documents(source: str) -> list[Document]:
    """Return the objects of a file, or of the standard input for ``-``; Lists are taken apart.

    Raises:
        InputError: The file cannot be read, is not YAML, or has no objects.

    """
    shown = "standard input" if source == STDIN else source
    text = _text(source, shown)
    try:
        documents = [d for d in enumerate(yaml.load_all(text, _KubernetesLoader), 1) if d[1] is not None]
        found = [made for number, raw in documents for made in _objects(raw, f"document {number}", shown)]
    except yaml.YAMLError as error:
        raise InputError(f"{shown} is not YAML: {_yaml_problem(error)}") from error
    except (RecursionError, ValueError) as error:
        raise InputError(f"{shown} is not valid YAML: {error}") from error
    if not found:
        raise InputError(f"{shown} is empty: write at least one object, such as a {KIND}")
    return found


def _text(source: str, shown: str) -> str:
    if not source:
        raise InputError("the name of the file is empty: name a YAML file, or - for standard input")
    try:
        if source == STDIN:
            data = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with Path(source).open("rb") as file:
                data = file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise InputError(f"{shown} does not exist: name a YAML file, or - for standard input") from error
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise InputError(f"{shown} cannot be read: {why}") from error
    if len(data) > MAX_BYTES:
        raise InputError(f"{shown} is larger than {MAX_BYTES // 2**20} MiB: split it")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{shown} is not UTF-8 text: name a YAML file") from error


def _yaml_problem(error: yaml.YAMLError) -> str:
    """Return a parser's error in one line, with its position."""
    mark = getattr(error, "problem_mark", None)
    what = getattr(error, "problem", None) or str(error).split("\n", 1)[0]
    return f"line {mark.line + 1}, column {mark.column + 1}: {what}" if mark else str(what)


def _objects(raw: Any, place: str, shown: str) -> Iterator[Document]:
    if not isinstance(raw, dict) or not isinstance(raw.get("kind"), str):
        raise InputError(f"{place} of {shown} is not a Kubernetes object: kind is missing")
    kind = raw["kind"]
    if kind.endswith("List") and isinstance(raw.get("items"), list):
        for number, item in enumerate(raw["items"], 1):
            # the items of a ScheduledTaskList may omit kind and apiVersion
            own = {"kind": kind.removesuffix("List"), "apiVersion": raw.get("apiVersion")} if kind != "List" else {}
            yield from _objects(own | item if isinstance(item, dict) else item, f"{place}, item {number}", shown)
        return
    if kind in OUR_KINDS and raw.get("apiVersion") != API_VERSION:
        raise InputError(
            f"{place} of {shown} is a {kind} of {raw.get('apiVersion')!r}: write apiVersion: {API_VERSION}"
        )
    if not isinstance(raw.get("metadata") or {}, dict):
        raise InputError(f"{place} of {shown} has metadata that is not an object: write 'name: value' lines under it")
    yield Document(place, kind, raw | {"metadata": raw.get("metadata") or {}})


def only_ours(documents: list[Document], kinds: tuple[str, ...], source: str) -> list[Document]:
    """Return the documents of those kinds.

    Raises:
        InputError: There are none.

    """
    found = [d for d in documents if d.kind in kinds]
    if not found:
        kinds_found = ", ".join(sorted({d.kind for d in documents}))
        shown = "standard input" if source == STDIN else source
        raise InputError(f"{shown} has no {' or '.join(kinds)}, only {kinds_found}: name a file that has one")
    return found
