"""Check api/openapi.json: ``python -m carillon_openapi.lint``, which ``make lint`` calls.

Redocly's and Spectral's recommended rules must report no errors and no warnings, and openapi-python-client must
generate every model. A clean document is not checked again until it, a rule or a program changes.

If the programs cannot be installed, for example behind a mirror without npm packages, it prints that and passes; in
CI (``CI`` is set) it fails.
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from carillon_local.layout import ROOT
from carillon_openapi.client import GenerationError, generate, missing
from carillon_openapi.programs import FOLDER, REQUIREMENTS, ProgramError, Programs, installed

DOCUMENT = ROOT / "api" / "openapi.json"
HERE = Path(__file__).parent
CLEAN = FOLDER / "clean"


class FindingError(Exception):
    """A check found something; the message says what."""


def main() -> int:
    """Return 0 if the checks find nothing."""
    today = _digest()
    if CLEAN.exists() and CLEAN.read_text() == today:
        return 0
    try:
        programs = installed()
    except ProgramError as error:
        print(f"lint: {error}", file=sys.stderr)
        print("lint: Redocly, Spectral and openapi-python-client: api/openapi.json was not checked", file=sys.stderr)
        return 1 if os.environ.get("CI") else 0
    try:
        _redocly(programs)
        _spectral(programs)
        _client(programs)
    except (FindingError, GenerationError) as error:
        print(f"lint: {error}", file=sys.stderr)
        return 1
    CLEAN.write_text(today)
    return 0


def _digest() -> str:
    digest = hashlib.sha256()
    for file in (DOCUMENT, REQUIREMENTS, *sorted(path for path in HERE.rglob("*") if path.suffix != ".pyc")):
        digest.update(file.read_bytes() if file.is_file() else b"")
    return digest.hexdigest()


def _redocly(programs: Programs) -> None:
    flags = ("lint", "--config", HERE / "redocly.yaml", "--format", "json")
    # the exit code ignores warnings
    done = _run(programs, *programs.redocly, *flags, DOCUMENT)
    if lines := findings(done.stdout) or (done.returncode and [done.stderr]):
        raise FindingError("Redocly found problems:\n" + "\n".join(lines))


def findings(report: str) -> list[str]:
    """Return a line for each error and warning of Redocly's report; none if it wrote no report."""
    if not report.startswith("{"):
        return []
    return [
        f"{problem['severity']}: {problem['message']} ({problem['ruleId']}) at {problem['location'][0].get('pointer')}"
        for problem in json.loads(report)["problems"]
    ]


def _spectral(programs: Programs) -> None:
    flags = ("lint", "--ruleset", HERE / "spectral.yaml", "--fail-severity", "hint", "--quiet")
    done = _run(programs, *programs.spectral, *flags, DOCUMENT)
    if done.returncode:
        raise FindingError(f"Spectral found problems:\n{done.stdout}{done.stderr}")


def _client(programs: Programs) -> None:
    document = json.loads(DOCUMENT.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory(prefix="carillon-client-") as folder:
        package = Path(folder) / "carillon_client"
        generate(programs, DOCUMENT, package)
        if lines := list(missing(document, package)):
            raise FindingError("the client generated from api/openapi.json is incomplete:\n" + "\n".join(lines))


def _run(programs: Programs, *command: object) -> subprocess.CompletedProcess[str]:
    words = [str(word) for word in command]
    environment = dict(programs.checking)
    return subprocess.run(words, check=False, capture_output=True, text=True, env=environment, cwd=ROOT)


if __name__ == "__main__":
    sys.exit(main())
