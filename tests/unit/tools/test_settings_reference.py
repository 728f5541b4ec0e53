"""docs/settings.md: generated, complete, and without variables that nothing reads."""

import re
from itertools import chain
from pathlib import Path

import pytest

from settings_reference import MAKE_RUN, SECTIONS, reference_text

ROOT = Path(__file__).parents[3]
FOLDERS = ("core", "operator", "api", "recorder", "runner", "cli", "devcluster", "tools", "proofs", "bench", "charts")
ITSELF = ROOT / "tools" / "settings_reference.py"
IN_PYTHON = re.compile(
    r'(?:environ|env)(?:\.get\(|\[)\s*"([A-Z][A-Z0-9_]*)"|validation_alias="(\w+)"|"(CARILLON_[A-Z0-9_]+)"'
)
IN_MAKE = re.compile(r"\$\((?:or|if) \$\((\w+)\)|^(\w+) \?=", re.MULTILINE)
EXPORTED = re.compile(r"^export (.+)$", re.MULTILINE)
INTERNAL = {
    "HTTPBIN_PORT": "make run tells its own httpbin",
    "CARILLON_LOCAL_SERVICE": "make run finds its processes by it",
    "API_URL": "the chart's test pod is told by the chart",
    "TOKEN_FILE": "the same",
}
OF_THE_SYSTEM = {"PATH", "HOME", "LANG", "TMPDIR", "TZ"}
PREFIX = "CARILLON_SECRET_"


def read_in(text: str) -> set[str]:
    """Return the variables that Python code reads."""
    return {name for found in IN_PYTHON.findall(text) for name in found if name}


def read_somewhere() -> set[str]:
    """Return the variables that the sources read."""
    files = chain.from_iterable((ROOT / folder).rglob("*.py") for folder in FOLDERS)
    found = {name for file in files if file != ITSELF for name in read_in(file.read_text(encoding="utf-8"))}
    contract = (ROOT / "core/carillon_core/contract.py").read_text(encoding="utf-8")
    found |= set(re.findall(r'^ENV_\w+ = "(\w+)"', contract, re.MULTILINE))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    found |= {name for names in IN_MAKE.findall(makefile) for name in names if name}
    found |= {name for names in EXPORTED.findall(makefile) for name in names.split()}
    return {f"{name}0" if name == PREFIX else name for name in found - OF_THE_SYSTEM}


def documented() -> set[str]:
    """Return the variables of the page."""
    return {variable.name for section in SECTIONS for variable in section.variables}


def test_the_page_is_what_the_models_say() -> None:
    """Run ``make manifests`` after changing a setting."""
    assert (ROOT / "docs" / "settings.md").read_text(encoding="utf-8") == reference_text()


def test_every_variable_is_documented() -> None:
    """Each variable in the sources is on the page, or listed here as internal with a reason."""
    assert read_somewhere() - documented() - INTERNAL.keys() == set()


def test_every_documented_variable_is_read() -> None:
    """A removed variable must also be removed from the page, or from the internal ones."""
    assert (documented() | INTERNAL.keys()) - read_somewhere() == set()


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ('os.environ.get("NEW")', {"NEW"}),
        ('env["NEW"]', {"NEW"}),
        ('Field(validation_alias="CARILLON_NEW")', {"CARILLON_NEW"}),
        ('PASSED_ON = ("CARILLON_NEW",)', {"CARILLON_NEW"}),
        ('{"NEW": 1}', set()),
    ],
)
def test_a_new_variable_is_seen(text: str, want: set[str]) -> None:
    """This holds for each way in which sources read variables."""
    assert read_in(text) == want


def test_every_variable_has_a_description() -> None:
    """It is at least one sentence; the value completes "must be"."""
    for section in SECTIONS:
        for variable in section.variables:
            assert variable.description.endswith("."), variable.name
            assert variable.value, variable.name


def test_the_example_lists_what_make_run_reads() -> None:
    """Each variable is listed once, commented out."""
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^# (\w+)=", example, re.MULTILINE)) == sorted(each.name for each in MAKE_RUN)
