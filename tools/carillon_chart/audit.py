"""Check the packages pinned in ``requirements/`` for known vulnerabilities with pip-audit; ``lint`` calls it.

The data comes from the public package registry. If this machine cannot reach it, the check prints one line and
passes. The smallest file is checked first, the others only if that succeeded. A clean result is valid for the day,
unless a file changes.
"""

import hashlib
import json
import os
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

SECONDS_FOR_AN_ANSWER = 10
"""How long pip-audit waits for the registry for each package."""
EXCEPTIONS: dict[str, str] = {}
"""Accepted vulnerabilities: the id (PYSEC-…, GHSA-… or CVE-…) with the reason."""


class AuditError(Exception):
    """A pinned package has a known vulnerability; the message names each and the fixed version."""


class UnreachableError(Exception):
    """There is no data; the message says why, in one line."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A known vulnerability of a pinned package."""

    package: str
    version: str
    ids: tuple[str, ...]
    """Its id and its aliases."""
    fixed_in: tuple[str, ...]

    def __str__(self) -> str:
        """Return a line with the vulnerability and the fixed version."""
        hint = f"upgrade to {' or '.join(self.fixed_in)}" if self.fixed_in else "no fixed version yet"
        return f"{self.package} {self.version}: {', '.join(self.ids)}: {hint}"


def audit(program: Path, files: Sequence[Path], state: Path) -> str:
    """Return a line with the result, or the reason why nothing was checked.

    `program` is pip-audit; `files` are pinned requirements with hashes; `state` stores the clean results of the day.

    Raises:
        AuditError: There is a vulnerability that is not accepted.

    """
    first, *others = sorted(files, key=lambda file: file.stat().st_size)
    stamp = state / "clean"
    today = _digest(files)
    if stamp.exists() and stamp.read_text() == today:
        return "pip-audit: no known vulnerability (checked earlier today)"
    state.mkdir(parents=True, exist_ok=True)
    findings: list[Finding] = []
    try:
        for batch in filter(None, ([first], others)):
            findings += _asked(program, batch, state)
    except UnreachableError as error:
        if findings:  # keep the results so far
            _refuse(findings)
        return f"pip-audit: not checked, its data is unreachable from here ({error})"
    _refuse(findings)
    stamp.write_text(today)
    return f"pip-audit: no known vulnerability in {len(files)} requirements files"


def _refuse(findings: Sequence[Finding]) -> None:
    """Raise AuditError if a finding is not accepted."""
    found = unexpected(findings)
    if found:
        hint = "require that version and run make requirements, or accept it with a reason in carillon_chart/audit.py"
        raise AuditError("pip-audit found vulnerabilities:\n" + "\n".join(map(str, found)) + f"\n{hint}")


def _digest(files: Iterable[Path]) -> str:
    parts = [datetime.now(UTC).date().isoformat(), json.dumps(EXCEPTIONS)]
    return hashlib.sha256("\n".join([*parts, *(file.read_text() for file in files)]).encode()).hexdigest()


def _asked(program: Path, files: Iterable[Path], state: Path) -> list[Finding]:
    flags = ("--require-hashes", "--disable-pip", "--progress-spinner", "off", "--format", "json")
    named = [word for file in files for word in ("--requirement", str(file))]
    limits = ("--timeout", str(SECONDS_FOR_AN_ANSWER), "--cache-dir", str(state / "cache"))
    done = subprocess.run(
        [str(program), *flags, *limits, *named],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    return read(done.stdout, done.stderr)


def read(output: str, errors: str) -> list[Finding]:
    """Return the findings in the output of pip-audit.

    Its exit code is not used: it is 1 both for findings and for failures, and 0 if the registry knew no package at
    all.

    Raises:
        UnreachableError: There is no document, or it has no package with data.

    """
    try:
        listed: list[dict[str, Any]] = json.loads(output)["dependencies"]
    except (ValueError, KeyError, TypeError):
        said = [line.strip() for line in errors.splitlines() if line.strip()]
        raise UnreachableError(said[-1][:200] if said else "pip-audit printed nothing") from None
    known = [each for each in listed if "vulns" in each]
    if listed and not known:
        raise UnreachableError(str(listed[0].get("skip_reason", "no package is known")))
    return [
        Finding(each["name"], each["version"], (found["id"], *found["aliases"]), tuple(found["fix_versions"]))
        for each in known
        for found in each["vulns"]
    ]


def unexpected(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings that are not accepted, each once, since files pin the same packages."""
    return [found for found in dict.fromkeys(findings) if not EXCEPTIONS.keys() & set(found.ids)]
