"""The import contracts in pyproject.toml: each one detects a forbidden import."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
PACKAGES = {
    "carillon_core": "core",
    "carillon_operator": "operator",
    "carillon_api": "api",
    "carillon_recorder": "recorder",
    "carillon_runner": "runner",
    "carillon_cli": "cli",
}


def contracts() -> list[dict[str, Any]]:
    """Return the contracts in pyproject.toml."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    found: list[dict[str, Any]] = settings["tool"]["importlinter"]["contracts"]
    return found


def forbidden_import(contract: dict[str, Any]) -> tuple[str, str]:
    """Return a module, and an import that this contract forbids in it."""
    if contract["type"] == "forbidden":
        return contract["source_modules"][0], contract["forbidden_modules"][0]
    if contract["type"] == "independence":
        return contract["modules"][0], contract["modules"][1]
    lowest, highest = (re.split(r"[|:]", contract["layers"][end])[0].strip(" ()") for end in (-1, 0))
    prefix = f"{contract['containers'][0]}." if "containers" in contract else ""
    return prefix + lowest, prefix + highest


def planted(root: Path, importer: str, imported: str) -> None:
    """Add an import to a copy of the source."""
    path = root.joinpath(PACKAGES[importer.partition(".")[0]], *importer.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    with file.open("a", encoding="utf-8") as out:
        out.write(f"\nimport {imported}\n")


def verdicts(root: Path) -> dict[str, str]:
    """Return KEPT or BROKEN for each contract, by name."""
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(str(root / folder) for folder in PACKAGES.values())},
        capture_output=True,
        text=True,
        check=False,
    )
    return dict(re.findall(r"^(.+?) (KEPT|BROKEN)\b", done.stdout, re.MULTILINE))


def test_each_import_contract_breaks_on_an_import_that_it_forbids(tmp_path: Path) -> None:
    """A copy of the source gets one forbidden import for each contract; every contract reports it."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for package, folder in PACKAGES.items():
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / folder / package, tmp_path / folder / package, ignore=ignored)
    for contract in contracts():
        planted(tmp_path, *forbidden_import(contract))

    found = verdicts(tmp_path)

    assert found == {contract["name"]: "BROKEN" for contract in contracts()}


def test_every_package_is_known_to_the_contracts() -> None:
    """This test copies the packages that import-linter reads."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert set(settings["tool"]["importlinter"]["root_packages"]) == set(PACKAGES)
