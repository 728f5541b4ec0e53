"""Compile ``requirements/*.txt`` from pyproject.toml: pinned, hashed, for every platform, naming no registry."""

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
OUTPUTS = {
    "dev": ["--all-extras"],
    "operator": ["--extra", "operator", "--extra", "api"],
    "runner": [],
    "sbom": [],
}
COMMON = ["--universal", "--generate-hashes", "--no-annotate", "--no-header", "--python-version", "3.11", "--quiet"]


def main() -> int:
    """Write each file; the images' keep to the versions of the largest, the SBOM's tools are nobody else's."""
    for name, extras in OUTPUTS.items():
        output = ROOT / "requirements" / f"{name}.txt"
        constraints = [] if name in {"dev", "sbom"} else ["--constraint", str(ROOT / "requirements" / "dev.txt")]
        source = [str(ROOT / "pyproject.toml"), *extras]
        text = None
        if name == "runner":
            # the runner takes its extra alone: not even pydantic is needed to run a task
            source, text = ["-"], "\n".join(_project()["project"]["optional-dependencies"]["runner"])
        elif name == "sbom":
            source, text = ["-"], "\n".join(_project()["dependency-groups"]["sbom"])
        uv = [sys.executable, "-m", "uv", "pip", "compile", *COMMON]
        command = [*uv, *constraints, *source, "--output-file", str(output)]
        subprocess.run(command, check=True, cwd=ROOT, input=text, text=True, stdout=subprocess.DEVNULL)
    return 0


def _project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


if __name__ == "__main__":
    sys.exit(main())
