"""Installs a file of pinned requirements; ``setup.py``, the linters and the SBOM's validator call it.

The file was resolved when it was compiled, and pip must not resolve it again: pip 23.0 to 23.2 then takes the newest
release of a package that another one requires with an extra, instead of the pinned one, and rejects its hash. The
Dockerfiles run the same two commands.
"""

from pathlib import Path


def install_commands(python: Path, requirements: Path) -> list[list[str]]:
    """Return the commands that install exactly the pinned packages and then check that nothing is missing.

    Args:
        python: The interpreter of the environment to install into; it must have pip.
        requirements: A file in which every package has one version and its hashes.

    """
    pip = [str(python), "-m", "pip", "--disable-pip-version-check"]
    return [
        [*pip, "install", "--quiet", "--no-deps", "--require-hashes", "--requirement", str(requirements)],
        [*pip, "check"],
    ]
