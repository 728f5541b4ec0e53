"""The images: their Dockerfiles, their builds and their SBOMs."""

import json
import os
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from carillon_images.__main__ import base_arguments, image_name
from carillon_images.base import signature_options
from carillon_images.engines import ImageError, find_engine
from carillon_images.pip_settings import parse, render
from carillon_images.sbom import INVENTORY, sbom
from container_engine import answers

ROOT = Path(__file__).resolve().parents[3]
DOCKERFILES = ("Dockerfile.operator", "Dockerfile.runner")
IMPORT_ALL = """
import importlib, pkgutil, sys
for name in sys.argv[1:]:
    package = importlib.import_module(name)
    for module in pkgutil.walk_packages(package.__path__, name + "."):
        if not module.name.endswith("__main__") and ".migrations." not in module.name:
            importlib.import_module(module.name)
files = {m.__file__ for name, m in sys.modules.items() if name.startswith("carillon_")}
print(*(file for file in files if file), sep="\\n")
"""


@pytest.mark.parametrize(
    ("dockerfile", "packages"),
    [
        ("Dockerfile.runner", ["carillon_runner"]),
        ("Dockerfile.operator", ["carillon_operator", "carillon_api", "carillon_recorder"]),
    ],
)
def test_an_image_has_every_module_that_it_imports(dockerfile: str, packages: list[str], tmp_path: Path) -> None:
    """Each module of the image's packages can be imported from the copied files alone."""
    for sources, target in copied(ROOT / dockerfile):
        for source in sources:
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, tmp_path / target, dirs_exist_ok=True)
            else:
                (tmp_path / target).mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / source, tmp_path / target)
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, *packages],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path / "src"), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    elsewhere = [path for path in done.stdout.split() if not path.startswith(str(tmp_path))]
    assert elsewhere == []


def copied(dockerfile: Path) -> list[tuple[list[str], str]]:
    """Return what a Dockerfile copies from our source folders: the sources and the destination of each COPY."""
    text = dockerfile.read_text().replace("\\\n", " ")
    lines = re.findall("^COPY ((?!--from=|requirements/).*)$", text, re.MULTILINE)
    return [(words[:-1], words[-1]) for words in map(str.split, lines)]


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_an_image_takes_hashed_packages_and_runs_as_nobody_special(dockerfile: str) -> None:
    """Packages are installed by hash in their own stage; the last stage has a user that is not root."""
    build, final = stages(ROOT / dockerfile)
    assert "--no-deps --require-hashes" in build
    assert build.index("-m pip install") < build.index("-m pip check") < build.index("-m pip uninstall")
    # in a clone made with umask 077, no other user can read the sources
    assert build.index("chmod -R a+rX src") < build.index("cp -r src/.")
    assert "--invalidation-mode unchecked-hash" in build
    assert "pip install" not in final
    assert re.findall(r"^USER (.*)$", final, re.MULTILINE) == ["65532:65532"]
    assert 'org.opencontainers.image.version="${VERSION}"' in final


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_an_image_names_no_index_of_packages(dockerfile: str) -> None:
    """The package index is a build secret, which is in no layer and in none of our files."""
    build, final = stages(ROOT / dockerfile)
    assert "--mount=type=secret,id=pip-conf,target=/etc/pip.conf" in build
    assert not re.search(r"https?://|index-url|PIP_", build + final)


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_what_an_image_copies_is_not_ignored(dockerfile: str) -> None:
    """.dockerignore does not exclude a folder that a Dockerfile copies."""
    let_through = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    used = {source.split("/")[0] for sources, _ in copied(ROOT / dockerfile) for source in sources}
    assert used | {"requirements"} <= let_through


def stages(dockerfile: Path) -> tuple[str, str]:
    """Return a Dockerfile's two stages without comments: the build stage and the runtime stage."""
    text = "\n".join(line for line in dockerfile.read_text().splitlines() if not line.lstrip().startswith("#"))
    _, build, final = re.split(r"^FROM ", text, flags=re.MULTILINE)
    return build, final


@pytest.mark.parametrize(
    ("environment", "want"),
    [
        pytest.param({}, "localhost/carillon-runner:0.1.0", id="no setting: the release, on this machine"),
        pytest.param(
            {"REGISTRY": "registry.example/team/", "IMAGE_TAG": "edge"},
            "registry.example/team/carillon-runner:edge",
            id="a registry and a tag",
        ),
        pytest.param({"IMAGE_TAG": ""}, "localhost/carillon-runner:0.1.0", id="a tag that make exports empty"),
    ],
)
def test_an_image_is_named_by_the_settings(
    environment: dict[str, str], want: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """REGISTRY and IMAGE_TAG determine the name; empty values are ignored."""
    for name in ("REGISTRY", "IMAGE_TAG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert image_name("runner") == want


@pytest.mark.parametrize(
    ("environment", "want"),
    [
        pytest.param({}, {}, id="no setting: what the Dockerfiles say"),
        pytest.param({"BASE_IMAGE": "a:1"}, {"BASE_IMAGE": "a:1", "BUILD_IMAGE": "a:1"}, id="one for both"),
        pytest.param(
            {"BASE_IMAGE": "a:1", "BUILD_IMAGE": "b:1"},
            {"BASE_IMAGE": "a:1", "BUILD_IMAGE": "b:1"},
            id="one to run in and one to build in",
        ),
        pytest.param(
            {"BASE_IMAGE": "local"},
            {"BASE_IMAGE": "localhost/carillon-base:bookworm", "BUILD_IMAGE": "localhost/carillon-build:bookworm"},
            id="what make base-image makes",
        ),
    ],
)
def test_an_image_is_built_upon_the_base_that_is_set(
    environment: dict[str, str], want: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """BASE_IMAGE and BUILD_IMAGE become the Dockerfiles' arguments."""
    for name in ("BASE_IMAGE", "BUILD_IMAGE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert base_arguments() == want


@pytest.mark.parametrize(("script", "there"), [("exit 0", True), ("exit 1", False), ("exec sleep 600", False)])
def test_an_engine_that_hangs_is_as_good_as_none(
    script: str,
    there: bool,  # noqa: FBT001  # a column of the table
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its installed command may wait for a daemon for ever."""
    (tmp_path / "docker").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert answers("docker", patience=3.0 if there else 0.5) is there


@pytest.mark.parametrize(
    ("wanted", "want_words"),
    [
        pytest.param("", ["no container engine answers", "apt-get install buildah"], id="none is there"),
        pytest.param("podman", ["ENGINE=podman", "apt-get install buildah"], id="the one asked for is not there"),
    ],
)
def test_no_engine_is_said_with_the_mend(
    wanted: str, want_words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an engine, the message says which one to install."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ImageError) as raised:
        find_engine(wanted)
    for words in want_words:
        assert words in str(raised.value)


def test_debians_signature_is_checked_where_it_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the keyring and gpgv, unsigned releases are refused; without one of them, a warning has the fix."""
    keyring, programs = tmp_path / "keyring.gpg", tmp_path / "bin"
    programs.mkdir()
    (programs / "gpgv").write_text("#!/bin/sh\n")
    (programs / "gpgv").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs))
    assert signature_options(keyring) == []
    assert "apt-get install debian-archive-keyring gpgv" in capsys.readouterr().err
    keyring.touch()
    assert signature_options(keyring) == [f"--keyring={keyring}", "--force-check-gpg"]
    monkeypatch.setenv("PATH", str(tmp_path))
    assert signature_options(keyring) == []


def test_pips_settings_reach_the_build_without_what_is_only_here() -> None:
    """The environment overrides files; local folders are omitted; the certificates are the mounted ones."""
    settings = parse(
        "global.index-url='https://global.example/simple'\n"
        "install.extra-index-url='https://one.example https://two.example'\n"
        ":env:.index-url='https://environment.example/simple'\n"
        ":env:.find-links='/opt/wheels'\n"
        "global.cert='/etc/ssl/ours.crt'\n"
        "freeze.timeout='10'\n"
    )
    assert render(settings) == (
        "[global]\n"
        "disable-pip-version-check = true\n"
        "index-url = https://environment.example/simple\n"
        "extra-index-url = https://one.example\n    https://two.example\n"
        "cert = /run/pip-ca.crt\n"
    )


def test_an_sbom_names_the_packages_of_both_kinds() -> None:
    """Python's and Debian's packages are components with package URLs; removed packages are not."""
    inventory = {
        "interpreter": "3.12.1",
        "os": {"ID": "debian", "VERSION_ID": "12"},
        "python": [{"name": "PyYAML", "version": "6.0.3", "license": "MIT"}],
        "debian": [
            {
                "Package": "libc6",
                "Version": "2.36-9+deb12u14",
                "Architecture": "amd64",
                "Status": "install ok installed",
            },
            {"Package": "gone", "Version": "1", "Architecture": "all", "Status": "deinstall ok config-files"},
        ],
    }
    document = sbom(inventory, "carillon-runner", "0.1.0", datetime(2026, 1, 2, tzinfo=UTC))
    assert [component["purl"] for component in document["components"]] == [
        "pkg:generic/python@3.12.1",
        "pkg:pypi/pyyaml@6.0.3",
        "pkg:deb/debian/libc6@2.36-9%2Bdeb12u14?arch=amd64&distro=debian-12",
    ]
    assert document["components"][1]["licenses"] == [{"license": {"name": "MIT"}}]
    assert document["metadata"]["component"]["name"] == "carillon-runner"


def test_the_inventory_script_runs_in_any_python() -> None:
    """The script that runs in an image prints the input of the SBOM."""
    done = subprocess.run([sys.executable, "-I", "-c", INVENTORY], capture_output=True, text=True, check=True)
    document = sbom(json.loads(done.stdout), "any", "1", datetime(2026, 1, 2, tzinfo=UTC))
    assert any(component["purl"].startswith("pkg:pypi/pytest@") for component in document["components"])
