"""Generate a Python client with openapi-python-client, and check that it has every model."""

import ast
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from carillon_openapi.programs import Programs


class GenerationError(Exception):
    """The generator printed a warning or failed; the message is its output."""


def generate(programs: Programs, document: Path, package: Path) -> None:
    """Generate a client in the folder ``package``, which names the package; a warning is an error.

    Raises:
        GenerationError: The generator warns or fails.

    """
    where = ("--path", document, "--output-path", package, "--overwrite", "--meta", "none")
    command = [str(word) for word in (*programs.generator, "generate", *where, "--fail-on-warning")]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=dict(programs.checking))
    if done.returncode:
        raise GenerationError(f"{done.stdout}{done.stderr}".strip())


def missing(document: dict[str, Any], package: Path) -> Iterator[str]:
    """Yield a line for each model and field of the document that the client lacks."""
    classes = dict(_classes(package / "models"))
    for name, schema in document["components"]["schemas"].items():
        if "properties" not in schema and "enum" not in schema:
            continue  # unions are generated where they are used
        if name not in classes:
            yield f"{name}: the client lacks this model"
            continue
        words = {node.value for node in ast.walk(classes[name]) if isinstance(node, ast.Constant)}
        for field in schema.get("properties", ()):
            if field not in words:
                yield f"{name}.{field}: the client's model lacks this field"


def _classes(folder: Path) -> Iterator[tuple[str, ast.ClassDef]]:
    for file in sorted(folder.glob("*.py")):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                yield node.name, node
