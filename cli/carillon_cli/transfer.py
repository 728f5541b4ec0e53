"""``carillon export`` and ``carillon import``: move tasks and targets between clusters as a file.

The cluster is reached through kubectl, so its contexts, credentials and plugins work, and RBAC decides. ``KUBECTL``
names another program.
"""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from carillon_cli.checked import check
from carillon_cli.documents import Document, InputError, only_ours, read_documents
from carillon_cli.yaml_text import yaml_text
from carillon_core.errors import InvalidResourceError
from carillon_core.resources.names import API_VERSION, GROUP, KIND, KIND_TARGET, PLURAL, PLURAL_TARGETS

KINDS = {KIND_TARGET: PLURAL_TARGETS, KIND: PLURAL}
"""In the order in which they are written: targets before the tasks that use them."""
KEPT = ("name", "namespace", "labels", "annotations")
APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
SECONDS = 300


class Existing(StrEnum):
    """What to do with objects that already exist."""

    FAIL = "fail"
    SKIP = "skip"
    REPLACE = "replace"


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster, by kubectl's options of the same names."""

    kubeconfig: str | None = None
    context: str | None = None

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl and return its output.

        Raises:
            InputError: It is not installed or fails; the message has its output.

        """
        program = os.environ.get("KUBECTL") or "kubectl"
        given = {"--kubeconfig": self.kubeconfig, "--context": self.context}
        options = [f"{name}={value}" for name, value in given.items() if value is not None]
        try:
            done = subprocess.run(  # noqa: S603  # the user's own program, without a shell
                [program, *options, *arguments],
                input=stdin,
                capture_output=True,
                text=True,
                check=False,
                timeout=SECONDS,
            )
        except FileNotFoundError as error:
            raise InputError(f"{program} was not found: install kubectl, or set KUBECTL") from error
        except subprocess.TimeoutExpired as error:
            raise InputError(f"{program} did not finish within {SECONDS} s: check that the cluster answers") from error
        if done.returncode != 0:
            raise InputError(f"{program} {arguments[0]} failed: {' '.join(done.stderr.split())}")
        return done.stdout


def exported(cluster: Cluster, namespace: str | None, selector: str | None) -> str:
    """Return the tasks and targets of a namespace, or of all, as YAML that can be applied or imported.

    Each object has its name, labels, annotations and spec, without a status or anything the cluster added. The order is
    fixed, so that two exports differ only where the objects do.
    """
    scope = ["--all-namespaces"] if namespace is None else [f"--namespace={namespace}"]
    chosen = [] if selector is None else [f"--selector={selector}"]
    kinds = ",".join(f"{plural}.{GROUP}" for plural in KINDS.values())
    items = json.loads(cluster.kubectl("get", kinds, *scope, *chosen, "--output=json")).get("items") or []
    order = list(KINDS)
    items.sort(key=lambda raw: (order.index(raw["kind"]), raw["metadata"]["namespace"], raw["metadata"]["name"]))
    return yaml_text([_portable(raw) for raw in items])


def _portable(raw: Mapping[str, Any]) -> dict[str, Any]:
    metadata = {key: raw["metadata"][key] for key in KEPT if raw["metadata"].get(key)}
    annotations = {key: value for key, value in metadata.pop("annotations", {}).items() if key != APPLIED}
    if annotations:
        metadata["annotations"] = annotations
    return {"apiVersion": API_VERSION, "kind": raw["kind"], "metadata": metadata, "spec": raw.get("spec")}


@dataclass(frozen=True, slots=True)
class Imported:
    """The result of an import, or the reasons why it did not start."""

    lines: Sequence[str] = ()
    problems: Sequence[str] = ()
    """If not empty, nothing was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions:
    """How objects are imported."""

    namespace: str | None = None
    """Create everything in this namespace; None keeps those of the file."""
    existing: Existing = Existing.FAIL
    suspended: bool = False
    """Suspend the tasks, because the cluster they come from still runs them."""
    dry_run: bool = False
    """Validate on the server without writing."""


def imported(source: str, cluster: Cluster, now: datetime, options: ImportOptions) -> Imported:
    """Create the tasks and targets of a file, targets first, or nothing if one of them is invalid.

    Args:
        source: The file, or ``-``.
        cluster: The destination.
        now: The current time.
        options: How.

    Raises:
        InputError: The file cannot be used, or kubectl fails.

    """
    read = read_documents(source)
    documents = only_ours(read, tuple(KINDS), source)
    problems = [line for document in documents for line in _problems(document, now)]
    if problems:
        return Imported(problems=problems)
    objects = [_incoming(document, options) for document in documents]
    objects.sort(key=lambda raw: list(KINDS).index(raw["kind"]))
    names = [_name(raw) for raw in objects]
    problems = [
        f"{name} is in the file more than once: keep one" for name in sorted({n for n in names if names.count(n) > 1})
    ]
    if problems:
        return Imported(problems=problems)
    there = _those_there(cluster, objects)
    if there and options.existing is Existing.FAIL:
        hint = "choose --existing skip or --existing replace"
        return Imported(problems=[f"{name} already exists: {hint}" for name in names if name in there])
    said = [f"{each.kind} {each.name} ({each.place}) ignored" for each in read if each not in documents]
    said += _written(cluster, objects, there, options)
    if options.existing is Existing.SKIP:
        said += [f"{name} skipped: it already exists" for name in names if name in there]
    return Imported(lines=said)


def _written(
    cluster: Cluster, objects: Sequence[Mapping[str, Any]], there: set[str], options: ImportOptions
) -> list[str]:
    """Create the objects that do not exist and, if asked to, replace the others; return what kubectl said."""
    new = [raw for raw in objects if _name(raw) not in there]
    old = [raw for raw in objects if _name(raw) in there] if options.existing is Existing.REPLACE else []
    mode = ["--dry-run=server"] if options.dry_run else []
    said: list[str] = []
    for verb, some in (("create", new), ("replace", old)):
        if some:
            said += cluster.kubectl(
                verb, "--filename=-", "--validate=strict", *mode, stdin=yaml_text(some)
            ).splitlines()
    return said


def _problems(document: Document, now: datetime) -> list[str]:
    shown = f"{document.kind} {document.name} ({document.place})"
    try:
        check(document, now)
    except InvalidResourceError as error:
        return [f"{shown}: {problem}" for problem in error.problems]
    return [] if document.raw["metadata"].get("name") else [f"{shown}: metadata.name is required: add it"]


def _incoming(document: Document, options: ImportOptions) -> dict[str, Any]:
    metadata = {"namespace": "default", **document.raw["metadata"]}
    moved = {"namespace": options.namespace} if options.namespace else {}
    raw = _portable({**document.raw, "metadata": metadata | moved})
    if options.suspended and document.kind == KIND:
        raw["spec"] = {**raw["spec"], "suspend": True}
    return raw


def _name(raw: Mapping[str, Any]) -> str:
    return f"{raw['kind']} {raw['metadata']['namespace']}/{raw['metadata']['name']}"


def _those_there(cluster: Cluster, objects: Sequence[Mapping[str, Any]]) -> set[str]:
    """Return the names of those that exist."""
    there: set[str] = set()
    for namespace in sorted({raw["metadata"]["namespace"] for raw in objects}):
        kinds = ",".join(f"{plural}.{GROUP}" for plural in KINDS.values())
        found = json.loads(cluster.kubectl("get", kinds, f"--namespace={namespace}", "--output=json"))
        there |= {_name(raw) for raw in found.get("items") or []}
    return there
