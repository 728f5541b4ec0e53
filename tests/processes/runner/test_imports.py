"""The runner's imports for each task type: they delay the start of each pod."""

import subprocess
import sys

import pytest

from carillon_core import contract
from support.builders import RUNNER_ENV
from support.programs import unmeasured

LIBRARIES = "import http.client, psycopg, ssl, uuid"
OWN = {
    "carillon_core",
    "carillon_core.backoff",
    "carillon_core.contract",
    "carillon_core.errors",
    "carillon_core.recording",
    "carillon_core.recording.port",
    "carillon_runner",
    "carillon_runner.__main__",
    "carillon_runner.attempts",
    "carillon_runner.environment",
    "carillon_runner.interrupts",
    "carillon_runner.logs",
    "carillon_runner.outcome",
    "carillon_runner.record",
    "carillon_runner.retry",
    "carillon_runner.run",
    "carillon_runner.tasks",
}
HTTP = {
    *(
        "carillon_runner.tasks.http_exchange",
        "carillon_runner.tasks.http_request",
        "carillon_runner.tasks.http_secrets",
    ),
    *("carillon_core.domain", "carillon_core.domain.egress", "carillon_core.domain.egress.rules"),
    *("carillon_core.domain.egress.international", "carillon_core.domain.egress.special_addresses"),
    *("carillon_runner.isolated", "carillon_runner.templates"),
}
RECORDER = {"carillon_core.adapters", "carillon_core.adapters.recorder_client", "carillon_core.recording.wire"}
POSTGRES = {"carillon_core.adapters", "carillon_core.adapters.postgres", "carillon_core.adapters.postgres.recorder"}
OF_SOME_PYTHONS = {"platform"}
"""Imports of ``uuid`` in some versions of Python."""
BEFORE_HANDLERS = {
    *("carillon_core", "carillon_runner", "enum", "math", "signal", "time", "typing"),
    # imports of enum and typing
    *("_collections", "_collections_abc", "_functools", "_operator", "_sre", "_typing", "collections", "contextlib"),
    *("copyreg", "functools", "itertools", "keyword", "operator", "re", "reprlib", "types", "warnings"),
}


def imported_by(code: str, *, beyond: str) -> set[str]:
    """Return the modules that ``code`` imports in a fresh interpreter and ``beyond`` does not."""
    program = f"import sys\n{beyond}\nbefore = set(sys.modules)\n{code}\nprint(*sorted(set(sys.modules) - before))"
    # without coverage, which would have imported some of them before
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=unmeasured())
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("task_type", "want"),
    [
        ("sum", {"carillon_runner.tasks.addition"}),
        ("sleep", {"carillon_runner.tasks.sleep"}),
        ("counter", {"carillon_runner.tasks.counter"}),
        ("http", HTTP),
        ("plugin", {"carillon_runner.tasks.plugin", "carillon_runner.plugins", "carillon_runner.isolated"}),
    ],
)
def test_a_task_imports_its_own_module_alone(task_type: str, want: set[str]) -> None:
    """A new import shows up here with its own imports, so that its cost is a deliberate decision."""
    code = (
        "import carillon_runner.__main__, carillon_runner.environment, carillon_runner.run\n"
        f"from carillon_runner.tasks import task_function\ntask_function({task_type!r})"
    )
    assert imported_by(code, beyond=LIBRARIES) - OF_SOME_PYTHONS == OWN | want


@pytest.mark.parametrize(
    ("url", "want"), [("postgresql://u@h/d", POSTGRES), ("http://h", RECORDER), ("https://h", RECORDER)]
)
def test_the_urls_scheme_says_what_is_imported_to_record(url: str, want: set[str]) -> None:
    """One of the two, and of what it needs nothing else."""
    assert imported_by(recorder_of(url), beyond=f"{LIBRARIES}\nimport carillon_runner.run") == want


@pytest.mark.parametrize("url", ["http://h", "https://h"])
def test_with_a_recorder_the_runner_is_the_standard_library_and_its_own_modules(url: str) -> None:
    """Psycopg takes three times as long to import as everything else together."""
    modules = imported_by(f"import carillon_runner.__main__\n{recorder_of(url)}", beyond="pass")
    tops = {name.partition(".")[0] for name in modules}
    assert tops - sys.stdlib_module_names == {"carillon_core", "carillon_runner"}


def recorder_of(url: str) -> str:
    """Return a program that makes the recorder of a URL, as the runner does."""
    variables = RUNNER_ENV | {contract.ENV_RECORDER_URL if url.startswith("http") else contract.ENV_DATABASE_URL: url}
    return (
        "from carillon_runner.environment import read_environment\nfrom carillon_runner.run import Record\n"
        f"Record(read_environment({variables!r}))"
    )


@pytest.mark.parametrize(("body", "want"), [("plain {", False), ("{{ slot }}", True)])
def test_jinja_is_imported_for_a_template_alone(body: str, want: bool) -> None:  # noqa: FBT001  # a column of the table
    """Importing it takes as long as all other imports together."""
    code = (
        "from carillon_runner.templates import has_template, render\n"
        f"has_template({body!r}) and render({{'body': {body!r}}}, {{'slot': 1}})"
    )
    assert ("jinja2" in imported_by(code, beyond="import carillon_runner.run")) is want


def test_the_handlers_are_installed_before_anything_large_is_imported() -> None:
    """Process 1 of a container loses signals that arrive before their handler is installed."""
    modules = imported_by("import carillon_runner.__main__", beyond="pass")
    assert {name.split(".")[0] for name in modules} <= BEFORE_HANDLERS


def test_the_package_imports_nothing() -> None:
    """``import carillon_runner`` has no side effects and no dependencies."""
    assert imported_by("import carillon_runner", beyond="pass") == {"carillon_runner"}
