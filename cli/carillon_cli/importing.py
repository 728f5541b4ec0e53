"""``carillon import``: create the tasks and targets of a file in a cluster, and say what was written and what not."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from itertools import groupby
from typing import Any

from carillon_cli.checked import check
from carillon_cli.documents import Document, only_ours, read_documents
from carillon_cli.kubectl import Cluster
from carillon_cli.transfer import KINDS, portable
from carillon_cli.yaml_text import yaml_text
from carillon_core.errors import InvalidResourceError
from carillon_core.resources.names import GROUP, KIND

INVALID = 1
FAILED = 2
INTERRUPTED = 130


class Existing(StrEnum):
    """What to do with objects that already exist."""

    FAIL = "fail"
    SKIP = "skip"
    REPLACE = "replace"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions:
    """How to import."""

    namespace: str | None = None
    """Where everything is created; None: as in the file."""
    existing: Existing = Existing.FAIL
    suspended: bool = False
    """Suspend the tasks, because the cluster they come from still runs them."""
    dry_run: bool = False
    """Validate on the server without writing."""
    skip_invalid: bool = False
    """Write the valid objects although others are invalid."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What was written and what was not, line by line; what was wrong; and the exit code."""

    lines: Sequence[str]
    problems: Sequence[str] = ()
    code: int = 0


class Outcome(StrEnum):
    """What has become of an object."""

    CREATED = "created"
    REPLACED = "replaced"
    SKIPPED = "skipped"
    UNKNOWN = "unknown"
    """kubectl was interrupted while it wrote."""
    NOT_WRITTEN = "not written"


@dataclass(slots=True)
class _Item:
    """An object of the file."""

    raw: dict[str, Any]
    problems: list[str]
    outcome: Outcome = Outcome.NOT_WRITTEN
    exists: bool = False

    @property
    def place(self) -> tuple[int, str, bool]:
        """Where it is written: targets first; one call of kubectl for the objects that agree."""
        return list(KINDS).index(self.raw["kind"]), self.raw["metadata"]["namespace"], self.exists

    @property
    def name(self) -> str:
        """The name of the object in its namespace."""
        return str(self.raw["metadata"].get("name") or "(no name)")

    @property
    def title(self) -> str:
        """Its kind, namespace and name."""
        return f"{self.raw['kind']} {self.raw['metadata']['namespace']}/{self.name}"


@dataclass(slots=True)
class _Import:
    """An import in progress."""

    cluster: Cluster
    options: ImportOptions
    items: list[_Item]
    ignored: list[str]
    problems: list[str] = field(default_factory=list)

    def run(self) -> int:
        """Write what can be written; return the exit code."""
        invalid = [item for item in self.items if item.problems]
        self.problems += [line for item in invalid for line in item.problems]
        valid = [item for item in self.items if not item.problems]
        if invalid and not (self.options.skip_invalid and valid):
            return INVALID
        self._look(valid)
        there = [item for item in valid if item.exists]
        if there and self.options.existing is Existing.FAIL:
            hint = "choose --existing skip or --existing replace"
            self.problems += [f"{item.title} already exists: {hint}" for item in there]
            return INVALID
        code = self._write(valid)
        return code or (INVALID if invalid else 0)

    def _look(self, items: Sequence[_Item]) -> None:
        """Find out which objects exist."""
        kinds = ",".join(f"{plural}.{GROUP}" for plural in KINDS.values())
        for namespace in sorted({item.raw["metadata"]["namespace"] for item in items}):
            found = json.loads(self.cluster.kubectl("get", kinds, f"--namespace={namespace}", "--output=json"))
            there = {(raw["kind"], raw["metadata"]["name"]) for raw in found.get("items") or []}
            for item in items:
                if item.raw["metadata"]["namespace"] == namespace:
                    item.exists = (item.raw["kind"], item.name) in there

    def _write(self, items: Sequence[_Item]) -> int:
        """Create the objects that do not exist, and replace or skip the others; stop at the first failure."""
        mode = ["--dry-run=server"] if self.options.dry_run else []
        for (_, _, exists), found in groupby(sorted(items, key=lambda item: item.place), key=lambda item: item.place):
            batch = list(found)
            if exists and self.options.existing is Existing.SKIP:
                _settle(batch, Outcome.SKIPPED)
                continue
            verb, outcome = ("replace", Outcome.REPLACED) if exists else ("create", Outcome.CREATED)
            text = yaml_text([item.raw for item in batch])
            try:
                done = self.cluster.attempt(verb, "--filename=-", "--validate=strict", *mode, stdin=text)
            except KeyboardInterrupt:
                _settle(batch, Outcome.UNKNOWN)
                self.problems.append("interrupted: repeat the import with --existing skip")
                return INTERRUPTED
            # kubectl goes on after an object that is refused
            named = {line.partition(" ")[0].rpartition("/")[2] for line in done.out.splitlines()}
            _settle([item for item in batch if item.name in named], outcome)
            if done.problem:
                self.problems.append(done.problem)
                return FAILED
        return 0

    def lines(self) -> Iterator[str]:
        """Yield what has become of each object, and how many there are of each outcome."""
        yield from self.ignored
        mode = " (dry run)" if self.options.dry_run else ""
        for item in self.items:
            yield f"{item.title} {item.outcome}{_why(item)}{mode}"
        counted = Counter(item.outcome for item in self.items)
        yield f"summary: {', '.join(f'{counted[each]} {each}' for each in Outcome if counted[each])}{mode}"


def imported(source: str, cluster: Cluster, now: datetime, options: ImportOptions) -> Imported:
    """Create the tasks and targets of a file, targets first.

    If one of them is invalid, nothing is written, unless ``skip_invalid`` is set.

    Args:
        source: The file, or ``-``.
        cluster: The destination.
        now: The current time.
        options: How.

    Raises:
        InputError: The file or the cluster cannot be used, and nothing was written.

    """
    read = read_documents(source)
    documents = only_ours(read, tuple(KINDS), source)
    ignored = [f"{each.kind} {each.name} ({each.place}) ignored" for each in read if each not in documents]
    items = [_item(document, _problems(document, now), options) for document in documents]
    titles = Counter(item.title for item in items if not item.problems)
    for item in items:
        if titles[item.title] > 1:
            item.problems.append(f"{item.title} is in the file more than once: keep one")
    under_way = _Import(cluster, options, items, ignored)
    code = under_way.run()
    return Imported(list(under_way.lines()), list(dict.fromkeys(under_way.problems)), code)


def _settle(items: Sequence[_Item], outcome: Outcome) -> None:
    for item in items:
        item.outcome = outcome


def _why(item: _Item) -> str:
    if item.problems:
        return ": it is invalid"
    if item.outcome is Outcome.SKIPPED or (item.exists and item.outcome is Outcome.NOT_WRITTEN):
        return ": it already exists"
    return ": kubectl was interrupted" if item.outcome is Outcome.UNKNOWN else ""


def _problems(document: Document, now: datetime) -> list[str]:
    shown = f"{document.kind} {document.name} ({document.place})"
    try:
        check(document, now)
    except InvalidResourceError as error:
        return [f"{shown}: {problem}" for problem in error.problems]
    return [] if document.raw["metadata"].get("name") else [f"{shown}: metadata.name is required: add it"]


def _item(document: Document, problems: list[str], options: ImportOptions) -> _Item:
    metadata = {**document.raw["metadata"]}
    metadata["namespace"] = options.namespace or metadata.get("namespace") or "default"
    if problems:  # it may have any form, and is only named
        return _Item({"kind": document.kind, "metadata": metadata}, problems)
    raw = portable({**document.raw, "metadata": metadata})
    if options.suspended and document.kind == KIND:
        raw["spec"] = {**raw["spec"], "suspend": True}
    return _Item(raw, problems)
