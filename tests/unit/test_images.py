"""What the images' Dockerfiles copy is all that their programs import."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
IMPORT_ALL = """
import importlib, pkgutil, sys
for name in sys.argv[1:]:
    package = importlib.import_module(name)
    for module in pkgutil.walk_packages(package.__path__, name + "."):
        if not module.name.endswith("__main__") and ".migrations." not in module.name:
            importlib.import_module(module.name)
files = {m.__file__ for name, m in sys.modules.items() if name.startswith("carillon_")}
print(*(file for file in files if file), sep="\\n")
"""


@pytest.mark.parametrize(
    ("dockerfile", "packages"),
    [("Dockerfile.runner", ["carillon_runner"]), ("Dockerfile.operator", ["carillon_operator", "carillon_api"])],
)
def test_an_image_has_every_module_that_it_imports(dockerfile: str, packages: list[str], tmp_path: Path) -> None:
    """From what is copied alone, each module of the image's packages can be imported."""
    for sources, target in copied(ROOT / dockerfile):
        for source in sources:
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, tmp_path / target, dirs_exist_ok=True)
            else:
                (tmp_path / target).mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / source, tmp_path / target)
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, *packages],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path / "src"), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    elsewhere = [path for path in done.stdout.split() if not path.startswith(str(tmp_path))]
    assert elsewhere == []


def copied(dockerfile: Path) -> list[tuple[list[str], str]]:
    """Return what a Dockerfile copies of our own folders: the sources, and where they go."""
    text = dockerfile.read_text().replace("\\\n", " ")
    lines = re.findall(r"^COPY ((?:core|operator|api|runner)/.*)$", text, re.MULTILINE)
    return [(words[:-1], words[-1]) for words in map(str.split, lines)]
