"""``carillon api-key create`` as a user calls it."""

import base64
import json
from typing import Any

import pytest
import yaml

from carillon_cli.__main__ import main
from carillon_core.domain.access.api_keys import hash_of, name_of, parse_entry

USER = "system:serviceaccount:team-a:ci"
OLD = "sha256:" + "ab" * 32


def run(patch: pytest.MonkeyPatch, caught: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Run the command; return its exit code and both outputs."""
    patch.setattr("sys.argv", ["carillon", "api-key", "create", *arguments])
    code = main()
    said = caught.readouterr()
    return code, said.out, said.err


def test_the_key_is_said_once_and_the_manifest_lets_it_in(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The key is on standard error only; the manifest can be applied, and contains a hash."""
    code, out, err = run(
        monkeypatch, capsys, "ci", "--user", USER, "--group", "dev", "--expires-at", "2999-01-01T00:00:00Z"
    )
    assert code == 0
    key = err.strip()
    assert name_of(key) == "ci"
    manifest: dict[str, Any] = yaml.safe_load(out)
    assert (manifest["apiVersion"], manifest["kind"]) == ("v1", "Secret")
    assert manifest["metadata"] == {"name": "carillon-api-keys", "namespace": "carillon-system"}
    assert manifest["data"].keys() == {"ci"}
    value = base64.b64decode(manifest["data"]["ci"])
    found = parse_entry(value)
    assert found.hashes == (hash_of(key),)
    assert (found.subject.name, "dev" in found.subject.groups) == (USER, True)
    assert json.loads(value)["expiresAt"] == "2999-01-01T00:00:00Z"
    assert key.rpartition("_")[2] not in out


def test_a_key_that_replaces_another_leaves_it_valid(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The entry has two hashes; the Secret's name can be chosen."""
    _, out, err = run(monkeypatch, capsys, "ci", "--user", USER, "--previous-hash", OLD, "--secret", "a/b")
    manifest = yaml.safe_load(out)
    assert manifest["metadata"] == {"name": "b", "namespace": "a"}
    assert parse_entry(base64.b64decode(manifest["data"]["ci"])).hashes == (hash_of(err.strip()), OLD)


BAD: dict[str, tuple[list[str], str]] = {
    "a name in capitals": (["CI", "--user", USER], "'CI' is not a valid key name"),
    "no user": (["ci"], "--user"),
    "an administrator": (["ci", "--user", "a", "--group", "system:masters"], "group system:masters"),
    "a node": (["ci", "--user", "system:node:a"], "user system:node:a"),
    "an end that is none": (["ci", "--user", USER, "--expires-at", "soon"], "--expires-at 'soon' is not a time"),
    "an end that is past": (
        ["ci", "--user", USER, "--expires-at", "2020-01-01T00:00:00Z"],
        "--expires-at: must be in the future",
    ),
    "a hash that is none": (["ci", "--user", USER, "--previous-hash", "abc"], "has an invalid hash"),
    "a Secret without a namespace": (["ci", "--user", USER, "--secret", "keys"], "--secret: must be NAMESPACE/NAME"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_is_refused_in_one_sentence(
    case: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit code is 2, and there is no key and no manifest."""
    arguments, want = BAD[case]
    code, out, err = run(monkeypatch, capsys, *arguments)
    assert (code, out) == (2, "")
    assert want in err
    assert "crl_" not in err
