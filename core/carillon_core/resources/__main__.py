"""Write the CustomResourceDefinition: ``python -m carillon_core.resources [--output DIR]``."""

import argparse
from pathlib import Path

import yaml

from carillon_core.resources.crd import scheduled_task_crd
from carillon_core.resources.names import GROUP, PLURAL

FILE_NAME = f"{GROUP}_{PLURAL}.yaml"
HEADER = "# Generated from the models in carillon_core.resources by `make manifests`: change those, not this.\n"


def crd_yaml() -> str:
    """Return the file's text, the same at every call."""
    return HEADER + yaml.safe_dump(scheduled_task_crd(), sort_keys=False, width=110, allow_unicode=True)


def main() -> None:
    """Print the CRD, or write it as a file of its own name into ``--output``."""
    parser = argparse.ArgumentParser(prog="python -m carillon_core.resources", description=main.__doc__)
    parser.add_argument("--output", type=Path, metavar="DIR", help="write carillon.dev_scheduledtasks.yaml there")
    folder: Path | None = parser.parse_args().output
    if folder is None:
        print(crd_yaml(), end="")
        return
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILE_NAME).write_text(crd_yaml(), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
