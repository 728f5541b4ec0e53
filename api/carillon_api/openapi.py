"""``python -m carillon_api.openapi --output FILE`` writes the OpenAPI document; a test compares the checked-in file."""

import argparse
import json
import sys
from pathlib import Path

from carillon_api.app import describing_app


def document_text() -> str:
    """Return the document's text, as it is checked in."""
    return json.dumps(describing_app().openapi(), indent=2, ensure_ascii=False) + "\n"


def main() -> int:
    """Write the document to a file, or to standard output."""
    parser = argparse.ArgumentParser(description="Write the OpenAPI document of Carillon's REST facade.")
    parser.add_argument("--output", type=Path, help="the file to write (default: standard output)")
    output: Path | None = parser.parse_args().output
    if output is None:
        sys.stdout.write(document_text())
    else:
        output.write_text(document_text(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
