"""How a file of pinned requirements is installed; ``setup.py``, the linters and the SBOM's validator call it.

The file is the whole truth: it was resolved when it was compiled, and pip must not resolve it again. A pip that does
(23.0 to 23.2, for a package that another one asks for with an extra) takes the newest release from the index instead
of the pinned one, and then refuses it for its hash. The Dockerfiles give the same two commands.
"""

from pathlib import Path


def install_commands(python: Path, requirements: Path) -> list[list[str]]:
    """Return the commands that install exactly what a file pins and then check that nothing is missing.

    Args:
        python: The interpreter of the environment to install into; it has pip.
        requirements: A file in which every package has one version and its hashes.

    """
    pip = [str(python), "-m", "pip", "--disable-pip-version-check"]
    return [
        [*pip, "install", "--quiet", "--no-deps", "--require-hashes", "--requirement", str(requirements)],
        [*pip, "check"],
    ]
