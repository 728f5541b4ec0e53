"""Deployments: messages about missing programs, and the calls of kind and minikube."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from carillon_deploy.__main__ import main
from carillon_deploy.programs import DeployError
from carillon_deploy.release import Deployment, Settings, known_context
from carillon_local.layout import ROOT


def kubeconfig(folder: Path, *names: str) -> str:
    """Write a kubeconfig with these contexts, of which the first is current; return its path."""
    contexts = [{"name": name, "context": {"cluster": name, "user": name}} for name in names]
    parts: dict[str, Any] = {
        "clusters": [{"name": name, "cluster": {"server": "https://127.0.0.1:1"}} for name in names],
        "users": [{"name": name, "user": {}} for name in names],
        "contexts": contexts,
        "current-context": names[0],
    }
    file = folder / "kubeconfig"
    file.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", **parts}))
    return str(file)


class Machine:
    """The programs of a machine; each records its calls and has its own output."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder / "machine"
        self._folder.mkdir()
        monkeypatch.setenv("PATH", str(self._folder))
        monkeypatch.setenv("KUBECONFIG", kubeconfig(folder, "own", "minikube"))
        for name in ("ENGINE", "REGISTRY", "IMAGE_TAG", "CONTEXT", "VALUES", "NAMESPACE", "TIMEOUT", "BASE_IMAGE"):
            monkeypatch.delenv(name, raising=False)

    def has(self, name: str, *, code: int = 0, says: str = "") -> None:
        """Put a program on the path."""
        program = self._folder / name
        program.write_text(
            f"#!{sys.executable}\n"
            "import json, os, pathlib, sys\n"
            f"with pathlib.Path({str(self._folder / 'calls')!r}).open('a') as calls:\n"
            "    provider = os.environ.get('KIND_EXPERIMENTAL_PROVIDER', '')\n"
            f"    calls.write(json.dumps([{name!r}, provider, *sys.argv[1:]]) + '\\n')\n"
            f"print({says!r})\n"
            f"sys.exit({code})\n"
        )
        program.chmod(0o755)

    def calls(self, name: str) -> list[str]:
        """Return the calls of a program, one line each, without parts that vary."""
        lines = (self._folder / "calls").read_text().splitlines()
        made = [call for call in map(json.loads, lines) if call[0] == name]
        return [" ".join(Path(word).name if word.startswith("/") else word for word in call[1:]) for call in made]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Give a machine without programs."""
    return Machine(tmp_path, monkeypatch)


MISSING: dict[str, tuple[dict[str, int], str, list[str]]] = {
    "kind is not there": ({}, "kind-up", ["kind is not on the path: install it", "make deploy", "docs/clusters.md"]),
    "kind has no engine": ({"kind": 0}, "kind-up", ["needs Docker or Podman, and neither answers: start one"]),
    "Docker is there and does not answer": (
        {"kind": 0, "docker": 1},
        "kind-up",
        ["needs Docker or Podman, and neither answers"],
    ),
    "kind is gone before its cluster": ({"docker": 0}, "kind-down", ["kind is not on the path"]),
    "minikube is not there": ({}, "mk-image", ["minikube is not on the path: install it"]),
    "minikube does not run": ({"minikube": 1}, "mk-image", ["is not running: minikube start --profile minikube"]),
    "there is nothing to deploy to": ({"minikube": 1}, "mk-deploy", ["minikube start"]),
    "there is nothing to reach": ({}, "mk-url", ["minikube is not on the path"]),
    "images that the cluster cannot have": ({}, "deploy", ["REGISTRY is not set", "context own", "make images REG"]),
}


@pytest.mark.parametrize("case", MISSING)
def test_what_is_missing_is_said_with_the_mend(case: str, machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    """The message is one line, before anything is started."""
    programs, action, wanted = MISSING[case]
    for name, code in programs.items():
        machine.has(name, code=code)
    assert main([action]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    for words in wanted:
        assert words in said


def test_kind_is_given_a_cluster_and_both_images(machine: Machine) -> None:
    """It is created once, with the engine that answers; the engine builds the images, which are loaded as archives."""
    machine.has("docker", says="1000")
    machine.has("kind", says="other")
    assert main(["kind-up"]) == 0
    load = "docker load image-archive carillon-{0}.tar --name carillon-trial"
    assert machine.calls("kind") == [
        "docker get clusters",
        "docker create cluster --name carillon-trial --wait 180s",
        load.format("operator"),
        load.format("runner"),
    ]
    built = [call for call in machine.calls("docker") if call.split()[0] == "build"]
    assert [call.partition("--tag=")[2].split()[0] for call in built] == [
        "localhost/carillon-operator:0.1.0",
        "localhost/carillon-runner:0.1.0",
    ]


def test_a_kind_cluster_that_is_there_is_used_again(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have any name and use Podman; its context becomes the current one."""
    monkeypatch.setenv("KIND_CLUSTER", "mine")
    machine.has("docker", code=1)
    machine.has("podman", says="1000")
    machine.has("kind", says="mine")
    assert main(["kind-up"]) == 0
    assert machine.calls("kind")[:2] == ["podman get clusters", "podman export kubeconfig --name mine"]
    assert main(["kind-down"]) == 0
    assert machine.calls("kind")[-1] == "podman delete cluster --name mine"


def test_minikube_builds_where_no_engine_does(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """It uses the given base image; if an engine answers, that builds, and minikube loads archives."""
    monkeypatch.setenv("BASE_IMAGE", "python:3.13-slim")
    machine.has("minikube")
    assert main(["mk-image"]) == 0
    base = "--build-opt=build-arg=BASE_IMAGE=python:3.13-slim --build-opt=build-arg=BUILD_IMAGE=python:3.13-slim"
    build = "image build --profile minikube --tag localhost/carillon-{0}:0.1.0 --file Dockerfile.{0} " + base
    status, *made = [call.strip() for call in machine.calls("minikube")]
    assert status == "status --profile minikube"
    assert made == [f"{build.format(name)} {ROOT.name}" for name in ("operator", "runner")]
    machine.has("docker", says="1000")
    assert main(["mk-image"]) == 0
    load = "image load --profile minikube carillon-{0}.tar"
    assert [call.strip() for call in machine.calls("minikube")[-2:]] == [load.format("operator"), load.format("runner")]


def test_minikube_prints_the_address_of_the_service(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Service is in the namespace of the release."""
    monkeypatch.setenv("NAMESPACE", "team")
    machine.has("minikube")
    assert main(["mk-url"]) == 0
    assert machine.calls("minikube")[-1].strip() == "service carillon-api --url --profile minikube --namespace team"


KUBECONFIGS = {
    "none": "contexts: [{name: a}]",
    "gone": "contexts: [{name: a}]\ncurrent-context: gone",
    "list": "[a]",
}
REFUSED: dict[str, tuple[dict[str, str], str]] = {
    "a context that there is not": (
        {"CONTEXT": "other"},
        r"CONTEXT: must be .* one of kind-carillon, minikube, own .got .other",
    ),
    "the cluster of make run": ({"CONTEXT": "kind-carillon"}, r"is the cluster of make run.* set CONTEXT to another"),
    "a kubeconfig without a current context": (
        {"KUBECONFIG": "HERE/none"},
        r"no current .* set CONTEXT to one of a",
    ),
    "a current context that there is not": (
        {"KUBECONFIG": "HERE/gone"},
        r"current context, .gone., .* set CONTEXT",
    ),
    "a list for a kubeconfig": (
        {"KUBECONFIG": "HERE/list"},
        r"no usable kubeconfig .*list: .* set KUBECONFIG",
    ),
    "a kubeconfig that is not there": ({"KUBECONFIG": "/nowhere"}, r"no usable kubeconfig .* set KUBECONFIG"),
    "a namespace in capitals": ({"NAMESPACE": "Team"}, r"NAMESPACE: must be at most 63 lower-case letters"),
    "values that are not there": ({"VALUES": "nowhere.yaml"}, r"VALUES: nowhere.yaml is not a file"),
    "a time-out without a unit": ({"TIMEOUT": "10"}, r"TIMEOUT: must be a duration such as 10m"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_wrong_setting_is_refused_by_name(case: str, tmp_path: Path) -> None:
    """The message has the fix."""
    given, want = REFUSED[case]
    for name, text in KUBECONFIGS.items():
        (tmp_path / name).write_text(text)
    given = {key: value.replace("HERE", str(tmp_path)) for key, value in given.items()}
    with pytest.raises(DeployError, match=want):
        Settings.from_env({"KUBECONFIG": kubeconfig(tmp_path, "own", "minikube", "kind-carillon")} | given)


@pytest.mark.parametrize("file", ["none", "gone"])
def test_a_context_that_is_asked_for_needs_no_current_one(file: str, tmp_path: Path) -> None:
    """This is like kubectl's option."""
    (tmp_path / file).write_text(KUBECONFIGS[file])
    assert known_context("a", str(tmp_path / file)) == "a"


def test_the_first_file_that_names_a_current_context_wins(tmp_path: Path) -> None:
    """This is like kubectl; missing files are ignored."""
    for name, current in (("one", ""), ("two", "current-context: b"), ("three", "current-context: c")):
        (tmp_path / name).write_text(f"contexts: [{{name: {name[0]}}}, {{name: b}}, {{name: c}}]\n{current}\n")
    files = ":".join(str(tmp_path / name) for name in ("absent", "one", "two", "three"))
    assert known_context("", files) == "b"


def test_the_current_context_is_meant_unless_another_is_named(tmp_path: Path) -> None:
    """This is like kubectl."""
    config = kubeconfig(tmp_path, "own", "minikube")
    assert (known_context("", config), known_context("minikube", config)) == ("own", "minikube")


def test_the_values_are_a_trial_unless_there_are_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """The images are always set; the user's files come after them, and override them."""
    for name, value in (("REGISTRY", "registry.example:5000/team"), ("IMAGE_TAG", "7")):
        monkeypatch.setenv(name, value)
    trial = Deployment(Settings(context="own"), {"api": {"service": {"type": "NodePort"}}}).values()
    assert trial == {
        "operator": {
            "image": {"repository": "registry.example:5000/team/carillon-operator", "tag": "7"},
            "runnerImage": {"repository": "registry.example:5000/team/carillon-runner", "tag": "7"},
        },
        "postgres": {"enabled": True},
        "api": {"autoscaling": {"enabled": False}, "service": {"type": "NodePort"}},
    }
    assert Deployment(Settings(context="own", values=(Path("mine.yaml"),))).values().keys() == {"operator"}
