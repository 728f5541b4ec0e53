"""JSON schemas of Kubernetes' kinds and ours for kubeconform, from the OpenAPI documents in the cluster's sources.

They come with the Go module that the local cluster is built from, so nothing else is downloaded and the versions
agree. ``lint`` generates them on first use.
"""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml

from carillon_devcluster.files import locked
from carillon_devcluster.layout import SOURCES, Root
from carillon_devcluster.toolchain import environment, find_or_install
from carillon_local.layout import CRDS, STATE

LOCATION = "{{ .ResourceKind }}-{{ .Group }}-{{ .ResourceAPIVersion }}.json"
"""The template of a schema's file name, for kubeconform."""
_MODULE = "k8s.io/kubernetes"
_PREFIX = "#/components/schemas/"


def schemas() -> Path:
    """Return the folder with the schemas; create it if it is missing or of another version of Kubernetes.

    Raises:
        ToolchainError: There is no Go, and none can be installed.
        subprocess.CalledProcessError: The module cannot be downloaded.

    """
    go = find_or_install(Root(STATE), lambda text: print(text, flush=True))
    command = [str(go), "mod", "download", "-json", _MODULE]
    done = subprocess.run(command, cwd=SOURCES, env=environment(go), check=True, capture_output=True, text=True)
    found = json.loads(done.stdout)
    folder = STATE / "schemas" / str(found["Version"])
    with locked(folder.parent.with_suffix(".lock")):  # two concurrent calls would remove each other's files
        if not folder.exists():
            shutil.rmtree(folder.parent, ignore_errors=True)
            aside = folder.parent / "new"
            aside.mkdir(parents=True)
            for document in sorted((Path(found["Dir"]) / "api" / "openapi-spec" / "v3").glob("*_openapi.json")):
                _write_kinds(json.loads(document.read_text()), aside)
            aside.rename(folder)
    for path in CRDS.glob("*.yaml"):  # ours may have changed since
        _write_crd(yaml.safe_load(path.read_text()), folder)
    return folder


def _write_kinds(document: dict[str, Any], folder: Path) -> None:
    """Write a schema for each kind of an OpenAPI document, with all definitions that it references."""
    definitions = {name: strict(part) for name, part in (document.get("components", {}).get("schemas") or {}).items()}
    for name, part in definitions.items():
        for kind in part.get("x-kubernetes-group-version-kind") or ():
            wanted = {other: definitions[other] for other in _reached(name, definitions)}
            schema = {"$ref": f"#/definitions/{name}", "definitions": wanted}
            _write(folder, kind["group"], kind["version"], kind["kind"], schema)


def _write_crd(crd: dict[str, Any], folder: Path) -> None:
    spec = crd["spec"]
    for version in spec["versions"]:
        schema = strict(version["schema"]["openAPIV3Schema"])
        schema["properties"]["metadata"] = {"type": "object"}
        _write(folder, spec["group"], version["name"], spec["names"]["kind"], schema)


def _write(folder: Path, group: str, version: str, kind: str, schema: dict[str, Any]) -> None:
    # kubeconform uses the version as the name of the core group
    (folder / f"{kind.lower()}-{group or version}-{version}.json").write_text(json.dumps(schema))


def _reached(name: str, definitions: dict[str, Any]) -> set[str]:
    """Return the names of all definitions that one references, including itself."""
    found, waiting = set(), [name]
    while waiting:
        current = waiting.pop()
        if current not in found:
            found.add(current)
            waiting += _references(definitions[current])
    return found


def _references(part: Any) -> list[str]:
    if isinstance(part, dict):
        own = [part["$ref"].rpartition("/")[2]] if isinstance(part.get("$ref"), str) else []
        return own + [name for value in part.values() for name in _references(value)]
    return [name for value in part for name in _references(value)] if isinstance(part, list) else []


def strict(part: Any) -> Any:
    """Return the JSON schema of an OpenAPI schema, in which objects have only the named properties."""
    if isinstance(part, list):
        return [strict(value) for value in part]
    if not isinstance(part, dict):
        return part
    # formats are OpenAPI's own, or are validated more strictly than by the API server
    kept = {key: value for key, value in part.items() if key not in {"default", "format"}}
    made: dict[str, Any] = {
        # the keys are names of properties
        key: {name: strict(each) for name, each in value.items()} if key == "properties" else strict(value)
        for key, value in kept.items()
    }
    if "$ref" in made:
        made["$ref"] = made["$ref"].replace(_PREFIX, "#/definitions/")
    if "properties" in made:
        made.setdefault("additionalProperties", False)
    return made
