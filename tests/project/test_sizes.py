"""The limits on the size of modules, functions, classes, calls and folders."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PACKAGES = ("core", "operator", "api", "recorder", "runner", "cli", "devcluster", "tools", "proofs", "bench")
MOST_LINES = 400
MOST_FUNCTION_LINES = 50
MOST_METHODS = 20
MOST_PARAMETERS = 6
MOST_MODULES = 12
MOST_ROOMS = 15

EXCEPTIONS = {
    "cli/carillon_cli/app.py: import_command": "a command's parameters are its options",
}
"""Code that exceeds a limit, with the reason."""


def sources() -> list[Path]:
    """Return all modules except tests, and except migrations, each of which stands alone."""
    found = (path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    return [path for path in found if "versions" not in path.parts and not path.name.startswith("test_")]


def modules_of_tests() -> list[Path]:
    """Return all modules in ``tests``, and the proofs that pytest runs."""
    proofs = (path for package in PACKAGES for path in (ROOT / package).rglob("test_*.py"))
    return [*(ROOT / "tests").rglob("*.py"), *proofs]


def too_long(path: Path) -> Iterator[str]:
    """Yield the number of lines of a module that has too many, as ``path: what``."""
    if (lines := path.read_text().count("\n")) > MOST_LINES:
        yield f"{path.relative_to(ROOT)}: {lines} lines"


def statements(node: ast.AST) -> Iterator[ast.stmt]:
    """Yield all statements in a node, at any depth; expressions, which are most of a module, hold none."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt | ast.excepthandler | ast.match_case):
            if isinstance(child, ast.stmt):
                yield child
            yield from statements(child)


def too_large(path: Path) -> Iterator[str]:
    """Yield everything in a module that is larger than allowed, as ``path: name: what``."""
    yield from too_long(path)
    text = path.read_text()
    name = str(path.relative_to(ROOT))
    for node in statements(ast.parse(text)):
        if isinstance(node, ast.ClassDef):
            methods = sum(isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef) for each in node.body)
            if methods > MOST_METHODS:
                yield f"{name}: {node.name}: {methods} methods"
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        length = (node.end_lineno or node.lineno) - node.lineno + 1
        if length > MOST_FUNCTION_LINES:
            yield f"{name}: {node.name}: {length} lines"
        arguments = node.args
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        own = [each for each in every if each.arg not in {"self", "cls"}]
        if len(own) > MOST_PARAMETERS:
            yield f"{name}: {node.name}: {len(own)} parameters"


def test_nothing_is_larger_than_it_may_be() -> None:
    """All code keeps the limits, except the entries of ``EXCEPTIONS``, each of which exceeds one."""
    found = {line.rpartition(": ")[0]: line for path in sources() for line in too_large(path)}
    assert sorted(found.keys() - EXCEPTIONS.keys()) == [], [found[key] for key in found.keys() - EXCEPTIONS.keys()]
    assert sorted(EXCEPTIONS.keys() - found.keys()) == []


def test_a_module_of_tests_has_no_more_lines_than_any_other() -> None:
    """Tests, their helpers and the proofs that pytest runs keep the limit on lines; parameters are fixtures."""
    assert [line for path in modules_of_tests() for line in too_long(path)] == []


@pytest.mark.parametrize("package", ["core", "operator", "api", "recorder", "runner", "cli"])
def test_a_folder_is_seen_at_a_glance(package: str) -> None:
    """A folder has at most twelve modules and fifteen folders."""
    modules = Counter(path.parent for path in sources() if path.is_relative_to(ROOT / package))
    init = Counter(path.parent for path in sources() if path.name == "__init__.py")
    crowded = {str(folder.relative_to(ROOT)): n for folder, n in (modules - init).items() if n > MOST_MODULES}
    assert crowded == {}
    rooms = Counter(folder.parent for folder in modules if folder != ROOT / package)
    assert {str(folder): n for folder, n in rooms.items() if n > MOST_ROOMS} == {}
