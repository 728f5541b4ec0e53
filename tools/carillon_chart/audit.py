"""Ask pip-audit whether what ``requirements/`` pins has known vulnerabilities; ``lint`` calls it.

Its data is that of the public registry of packages, which not every machine reaches: then one line says so, and
nothing fails. The smallest file is asked about first, and the rest only if that was answered; what was clean is asked
about again on another day, or when a file has changed.
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
"""How long pip-audit waits for the registry, for each package."""
EXCEPTIONS: dict[str, str] = {}
"""Vulnerabilities that are let through: each by its id (PYSEC-…, GHSA-… or CVE-…) with its reason."""


class AuditError(Exception):
    """A pinned package has a known vulnerability; the message names each and the fixed version."""


class UnreachableError(Exception):
    """There is no data to judge by; the message says why, in one line."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A known vulnerability of a package that is pinned."""

    package: str
    version: str
    ids: tuple[str, ...]
    """Its id and the others that it goes by."""
    fixed_in: tuple[str, ...]

    def __str__(self) -> str:
        """Return a line with the vulnerability and the fixed version."""
        mend = f"raise it to {' or '.join(self.fixed_in)}" if self.fixed_in else "no fixed version yet"
        return f"{self.package} {self.version}: {', '.join(self.ids)}: {mend}"


def audit(program: Path, files: Sequence[Path], state: Path) -> str:
    """Return a line that says what was looked at, or why nothing could be.

    `program` is pip-audit; `files` are pinned requirements with hashes; in `state` it is kept what was clean today.

    Raises:
        AuditError: There is a vulnerability that is no exception.

    """
    first, *others = sorted(files, key=lambda file: file.stat().st_size)
    stamp = state / "clean"
    today = _digest(files)
    if stamp.exists() and stamp.read_text() == today:
        return "pip-audit: no known vulnerability (asked today)"
    state.mkdir(parents=True, exist_ok=True)
    findings: list[Finding] = []
    try:
        for batch in filter(None, ([first], others)):
            findings += _asked(program, batch, state)
    except UnreachableError as error:
        if findings:  # what is known is not lost for what is not
            _refuse(findings)
        return f"pip-audit: nothing audited, since its data cannot be reached here ({error})"
    _refuse(findings)
    stamp.write_text(today)
    return f"pip-audit: no known vulnerability in {len(files)} files of requirements"


def _refuse(findings: Sequence[Finding]) -> None:
    """Raise AuditError for what is no exception."""
    found = unexpected(findings)
    if found:
        mend = (
            "run make requirements with that version asked for, or list it with its reason in carillon_chart/audit.py"
        )
        raise AuditError("pip-audit found something:\n" + "\n".join(map(str, found)) + f"\n{mend}")


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
    """Return the findings in what pip-audit prints.

    Its exit code is 1 for a finding and for a failure, and 0 where the registry knew no package at all; so only its
    document counts.

    Raises:
        UnreachableError: It printed no document, or one without a package that it had data of.

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
    """Return the findings that are no exceptions, each once, since files pin the same packages."""
    return [found for found in dict.fromkeys(findings) if not EXCEPTIONS.keys() & set(found.ids)]
