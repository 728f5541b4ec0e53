"""The results of pip-audit: a vulnerability fails, unreachable data is reported and passes."""

import json
import os
import sys
from pathlib import Path

import pytest

from carillon_chart import audit as subject
from carillon_chart.audit import AuditError, Finding, UnreachableError, audit, read, unexpected

KNOWN = {"name": "jinja2", "version": "3.1.2", "vulns": []}
SKIPPED = {"name": "jinja2", "skip_reason": "Dependency not found on PyPI and could not be audited: jinja2 (3.1.2)"}
VULNERABLE = {
    "name": "jinja2",
    "version": "3.1.2",
    "vulns": [{"id": "PYSEC-1", "fix_versions": ["3.1.3"], "aliases": ["CVE-2024-22195"], "description": "…"}],
}
FOUND = Finding("jinja2", "3.1.2", ("PYSEC-1", "CVE-2024-22195"), ("3.1.3",))


def document(*dependencies: object) -> str:
    """Return pip-audit's output about packages."""
    return json.dumps({"dependencies": dependencies, "fixes": []})


READ: dict[str, tuple[str, list[Finding]]] = {
    "nothing is known": (document(KNOWN), []),
    "a vulnerability": (document(KNOWN, VULNERABLE), [FOUND]),
    "one package is not known, another is": (document(SKIPPED, VULNERABLE), [FOUND]),
    "a file that pins nothing": (document(), []),
}


@pytest.mark.parametrize("case", READ)
def test_what_is_found_is_read(case: str) -> None:
    """The findings come from pip-audit's document, not from its exit code."""
    output, want = READ[case]
    assert read(output, "No known vulnerabilities found") == want


SILENT = {
    "no package is known to the registry": (document(SKIPPED), "No known vulnerabilities found", "not found on PyPI"),
    "there is no connection": ("", "Traceback …\nProxyError: Cannot connect\n", "ProxyError: Cannot connect"),
    "it says nothing at all": ("", "", "printed nothing"),
}


@pytest.mark.parametrize("case", SILENT)
def test_no_data_is_no_clean_result(case: str) -> None:
    """If the registry knew nothing, pip-audit reports a clean result; here it is unreachable data, with the reason."""
    output, errors, want = SILENT[case]
    with pytest.raises(UnreachableError, match=want):
        read(output, errors)


def test_an_exception_is_known_by_any_of_its_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that two files pin is reported once."""
    assert unexpected([FOUND, FOUND]) == [FOUND]
    monkeypatch.setattr(subject, "EXCEPTIONS", {"CVE-2024-22195": "no template of users is rendered so"})
    assert unexpected([FOUND]) == []


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """Give a program that prints the file `answer` like pip-audit, and records its arguments."""
    made = tmp_path / "pip-audit"
    made.write_text(
        f"#!{sys.executable}\n"
        "import pathlib, sys\n"
        f"folder = pathlib.Path({str(tmp_path)!r})\n"
        "with (folder / 'calls').open('a') as calls:\n"
        "    calls.write(' '.join(a for a in sys.argv if a.endswith('.txt')) + '\\n')\n"
        "print((folder / 'answer').read_text())\n"
    )
    made.chmod(0o755)
    return made


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Give two files of requirements, the larger first."""
    texts = {"large.txt": "jinja2==3.1.2\npsycopg==3.2.0\n", "small.txt": "jinja2==3.1.2\n"}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    return [tmp_path / name for name in texts]


def calls(program: Path) -> list[str]:
    """Return the names of the files of each call."""
    lines = (program.parent / "calls").read_text().splitlines()
    return [" ".join(os.path.basename(word) for word in line.split()) for line in lines]  # noqa: PTH119  # names, not paths


def test_what_was_clean_is_asked_about_once_a_day(program: Path, files: list[Path], tmp_path: Path) -> None:
    """The smallest file is first, then the others; a changed file is checked again."""
    (tmp_path / "answer").write_text(document(KNOWN))
    first, second = (audit(program, files, tmp_path / "state") for _ in range(2))
    assert first == "pip-audit: no known vulnerability in 2 requirements files"
    assert second == "pip-audit: no known vulnerability (checked earlier today)"
    assert calls(program) == ["small.txt", "large.txt"]
    files[0].write_text("jinja2==3.1.3\npsycopg==3.2.0\n")
    audit(program, files, tmp_path / "state")
    assert len(calls(program)) == 4


def test_data_that_cannot_be_reached_is_asked_for_once(program: Path, files: list[Path], tmp_path: Path) -> None:
    """The other files are not checked, and a line says why; the next call tries again."""
    (tmp_path / "answer").write_text(document(SKIPPED))
    for _ in range(2):
        assert audit(program, files, tmp_path / "state").startswith("pip-audit: not checked, its data is unreachable")
    assert calls(program) == ["small.txt", "small.txt"]


def test_a_vulnerability_fails_with_the_mend(program: Path, files: list[Path], tmp_path: Path) -> None:
    """The message has the package, the ids and the fixed version; the next call fails, too."""
    (tmp_path / "answer").write_text(document(VULNERABLE))
    for _ in range(2):
        with pytest.raises(AuditError, match=r"jinja2 3\.1\.2: PYSEC-1, CVE-2024-22195: upgrade to 3\.1\.3"):
            audit(program, files, tmp_path / "state")
