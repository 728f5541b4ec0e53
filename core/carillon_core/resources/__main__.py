"""Write the CustomResourceDefinitions: ``python -m carillon_core.resources [--output DIR]``."""

import argparse
from pathlib import Path

import yaml

from carillon_core.resources.crd.definitions import KINDS, Kind, crd_of

HEADER = "# Generated from the models in carillon_core.resources by `make manifests`: change those, not this.\n"


def crd_yaml(kind: Kind) -> str:
    """Return the text of a kind's file; it is deterministic."""
    return HEADER + yaml.safe_dump(crd_of(kind), sort_keys=False, width=110, allow_unicode=True)


def main() -> None:
    """Print the CRDs, or write each as a file of its own name into ``--output``."""
    parser = argparse.ArgumentParser(prog="python -m carillon_core.resources", description=main.__doc__)
    parser.add_argument("--output", type=Path, metavar="DIR", help="write carillon.dev_scheduledtasks.yaml etc. there")
    folder: Path | None = parser.parse_args().output
    if folder is None:
        print("---\n".join(crd_yaml(kind) for kind in KINDS), end="")
        return
    folder.mkdir(parents=True, exist_ok=True)
    for kind in KINDS:
        (folder / kind.file_name).write_text(crd_yaml(kind), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
