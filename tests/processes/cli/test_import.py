"""``carillon import`` with a program in kubectl's place: what was written is said, however the import ends."""

import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from carillon_cli.__main__ import main
from carillon_cli.kubectl import kubectl_command

KUBECTL = """\
#!{python}
import json, os, signal, sys
import yaml
verb = next(each for each in sys.argv[1:] if not each.startswith("--"))
with open({log!r}, "a") as log:
    log.write(verb + " " + " ".join(sys.argv[1:]) + "\\n")
if verb == "get":
    space = next(a.partition("=")[2] for a in sys.argv if a.startswith("--namespace="))
    there = [
        {{"kind": k, "metadata": {{"namespace": n, "name": m}}}}
        for k, n, m in (t.split("/") for t in {there!r}) if n == space
    ]
    print(json.dumps({{"items": there}}))
    sys.exit()
failed = False
for raw in yaml.safe_load_all(sys.stdin):
    name = raw["metadata"]["name"]
    if name == "slow":
        sys.stdout.flush()
        os.kill(os.getppid(), signal.SIGINT)
        signal.pause()
    if name == "refused":
        print("Error from server: " + name + " is refused", file=sys.stderr)
        failed = True
        continue
    print(raw["kind"].lower() + ".carillon.dev/" + name + " " + verb + "d")
sys.exit(failed)
"""


@dataclass(frozen=True, slots=True)
class Said:
    """The result of an import."""

    code: int
    out: list[str]
    err: list[str]
    calls: list[str]
    """The commands that kubectl was called with."""


class Importer:
    """A user who imports."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch, caught: pytest.CaptureFixture[str]) -> None:
        self._folder = folder
        self._patch = patch
        self._caught = caught

    def run(self, *names: str, there: tuple[str, ...] = (), options: tuple[str, ...] = ()) -> Said:
        """Import a file of tasks and targets with these names; the cluster has ``Kind/namespace/name`` already."""
        log = self._folder / "log"
        program = self._folder / "kubectl"
        program.write_text(KUBECTL.format(python=sys.executable, log=str(log), there=list(there)))
        program.chmod(0o755)
        file = self._folder / "tasks.yaml"
        file.write_text(yaml.safe_dump_all([document(name) for name in names]))
        self._patch.setenv("KUBECTL", str(program))
        self._patch.setattr(sys, "argv", ["carillon", "import", str(file), *options])
        code = main()
        said = self._caught.readouterr()
        calls = [line.split()[0] for line in log.read_text().splitlines()] if log.exists() else []
        return Said(code, said.out.splitlines(), said.err.splitlines(), calls)


def document(name: str) -> dict[str, object]:
    """Return a task, or a target if its name begins with "target"; one whose name begins with "bad" is invalid."""
    namespace, _, own = name.rpartition("/")
    metadata = {"name": own, **({"namespace": namespace} if namespace else {})}
    typed = {"apiVersion": "carillon.dev/v1alpha1", "metadata": metadata}
    if own.startswith("target"):
        return {**typed, "kind": "HTTPTarget", "spec": {"url": "https://example.com/"}}
    spec = {"schedule": "@daily", "task": {"sum": {"a": 1, "b": 2}}}
    return {**typed, "kind": "ScheduledTask", "spec": spec | ({"shedule": "x"} if own.startswith("bad") else {})}


@pytest.fixture
def importer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Importer:
    """Give a user."""
    return Importer(tmp_path, monkeypatch, capsys)


def test_an_import_says_what_it_has_created(importer: Importer) -> None:
    """There is a line for each object and a summary; targets are written first."""
    said = importer.run("a", "target", "team-b/a")
    assert said == Said(
        0,
        [
            "ScheduledTask default/a created",
            "HTTPTarget default/target created",
            "ScheduledTask team-b/a created",
            "summary: 3 created",
        ],
        [],
        ["get", "get", "create", "create", "create"],
    )


def test_one_that_is_invalid_keeps_all_from_being_written(importer: Importer) -> None:
    """The cluster is not even asked."""
    said = importer.run("a", "bad")
    assert said.code == 1
    assert said.out == [
        "ScheduledTask default/a not written",
        "ScheduledTask default/bad not written: it is invalid",
        "summary: 2 not written",
    ]
    want = "ScheduledTask default/bad (document 2): spec.shedule: is an unknown field: did you mean schedule?"
    assert said.err == [want]
    assert said.calls == []


def test_invalid_ones_can_be_skipped(importer: Importer) -> None:
    """The valid ones are written, and the exit code tells of the others."""
    said = importer.run("bad", "a", "b", "b", options=("--skip-invalid",))
    assert said.code == 1
    assert said.out[-1] == "summary: 1 created, 3 not written"
    assert "ScheduledTask default/a created" in said.out
    assert said.err[1:] == ["ScheduledTask default/b is in the file more than once: keep one"]


def test_nothing_but_invalid_ones_is_nothing_to_write(importer: Importer) -> None:
    """The cluster is not asked."""
    said = importer.run("bad", options=("--skip-invalid",))
    assert (said.code, said.out[-1], said.calls) == (1, "summary: 1 not written", [])


def test_an_import_that_stops_says_what_it_has_written(importer: Importer) -> None:
    """The cluster takes the first and the third object, and refuses the second; the next namespace is not reached."""
    said = importer.run("a", "refused", "b", "team-b/c")
    assert said.code == 2
    assert said.out == [
        "ScheduledTask default/a created",
        "ScheduledTask default/refused not written",
        "ScheduledTask default/b created",
        "ScheduledTask team-b/c not written",
        "summary: 2 created, 2 not written",
    ]
    assert "refused is refused" in said.err[0]


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Have SIGINT interrupt as in a terminal: a shell's background programs ignore it, and so do theirs."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_import_that_is_interrupted_says_what_is_known(importer: Importer) -> None:
    """What kubectl was writing may have been written."""
    said = importer.run("target", "slow", "team-b/c")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert said.code == 130
    assert said.out[-1] == "summary: 1 created, 1 unknown, 1 not written"
    assert said.err == ["interrupted: repeat the import with --existing skip"]


THERE = ("ScheduledTask/default/a",)


def test_objects_that_exist_are_refused_skipped_or_replaced(importer: Importer) -> None:
    """By default, nothing is written if one of them exists."""
    said = importer.run("a", "b", there=THERE)
    assert (said.code, said.out[0], said.out[-1]) == (
        1,
        "ScheduledTask default/a not written: it already exists",
        "summary: 2 not written",
    )
    assert said.err == ["ScheduledTask default/a already exists: choose --existing skip or --existing replace"]
    said = importer.run("a", "b", there=THERE, options=("--existing", "skip"))
    assert (said.code, said.out[-1]) == (0, "summary: 1 created, 1 skipped")
    said = importer.run("a", "b", there=THERE, options=("--existing", "replace", "--dry-run"))
    assert (said.code, said.out[-1]) == (0, "summary: 1 created, 1 replaced (dry run)")


@pytest.mark.parametrize("annotations", [[1], "x", {"a": 5}])
def test_an_object_of_any_form_is_only_invalid(importer: Importer, tmp_path: Path, annotations: object) -> None:
    """There is no traceback."""
    said = importer.run("a")
    file = tmp_path / "tasks.yaml"
    odd = document("a")
    odd["metadata"] = {"name": "a", "annotations": annotations}
    file.write_text(yaml.safe_dump(odd))
    assert said.code == 0
    assert main() == 1


def executable(path: Path) -> Path:
    """Write a program."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_the_kubectl_of_the_local_cluster_is_the_last_choice(tmp_path: Path) -> None:
    """First comes the one that the user names, then the one on the PATH."""
    bundled = executable(tmp_path / "bin" / "carillon-devcluster")
    own = executable(tmp_path / "path" / "kubectl")
    nowhere = {"PATH": str(tmp_path / "empty")}
    assert kubectl_command({"KUBECTL": "/x/kubectl", **nowhere}, bundled) == ("/x/kubectl",)
    assert kubectl_command({"PATH": str(own.parent)}, bundled) == ("kubectl",)
    assert kubectl_command(nowhere, bundled) == (str(bundled), "kubectl")
    assert kubectl_command(nowhere, tmp_path / "absent") == ("kubectl",)
