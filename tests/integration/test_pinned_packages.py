"""Requirements files are installed exactly as pinned, with every pip that a supported Python may have.

No index is used: packages are wheels in a local folder. The pips come from the index once, and are cached.
"""

import base64
import hashlib
import importlib.metadata
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from carillon_devcluster.files import locked
from pinned_packages import install_commands
from unit_pythons import pythons

ROOT = Path(__file__).resolve().parents[2]
OLDEST, PYTHON = min(pythons(os.environ).items())
PIPS = {"23.0.1": "Debian 12", "23.2.1": "Python 3.11.7", "24.0": "Python 3.12.3", "": "the newest"}
"""The versions of pip, with their sources."""
if OLDEST > (3, 11):
    del PIPS["23.0.1"]  # it does not run on newer versions


@pytest.fixture(params=[pytest.param(version, id=version or name) for version, name in PIPS.items()])
def python(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Create an environment with this pip."""
    pip = unpacked_pip(request.param)
    environment = tmp_path / "venv"
    subprocess.run([str(PYTHON), "-m", "venv", "--without-pip", str(environment)], check=True)
    (site,) = (environment / "lib").glob("python*/site-packages")
    (site / "pip.pth").write_text(f"{pip}\n")
    return environment / "bin" / "python"


def unpacked_pip(version: str) -> Path:
    """Return a folder with a pip, which is downloaded once."""
    folder = ROOT / ".carillon" / "pips" / ".".join([*map(str, OLDEST), "pip", version or "newest"])
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / "lock", on_wait=lambda: None):
        if not (folder / "site").exists():
            wanted = f"pip=={version}" if version else "pip"
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--disable-pip-version-check"]
            subprocess.run([*command, "--dest", str(folder), wanted], check=True)
            (found,) = folder.glob("pip-*.whl")
            with zipfile.ZipFile(found) as archive:
                archive.extractall(folder / "new")
            (folder / "new").rename(folder / "site")
    return folder / "site"


def wheel(folder: Path, name: str, version: str, *metadata: str) -> str:
    """Create a wheel of a package without modules; return its line for a requirements file."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{info}/METADATA": "\n".join(["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *metadata, ""]),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},sha256={_digest(text)},{len(text)}\n" for path, text in files.items())
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n"
    made = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(made, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return f"{name}=={version} --hash=sha256:{hashlib.sha256(made.read_bytes()).hexdigest()}"


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a folder that replaces the index."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for name, value in {"NO_INDEX": "1", "FIND_LINKS": str(folder), "CONFIG_FILE": "/dev/null"}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    return folder


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a command and return the result."""
    return subprocess.run(command, check=False, capture_output=True, text=True)


def test_a_newer_release_of_what_is_wanted_with_an_extra_is_not_taken(
    python: Path, index: Path, tmp_path: Path
) -> None:
    """A package requires coverage[toml], and the index has a newer coverage than the pinned one."""
    extra = ("Provides-Extra: toml",)
    pins = [wheel(index, "measure", "1.0", *extra), wheel(index, "plugin", "1.0", "Requires-Dist: measure[toml]>=0.9")]
    wheel(index, "measure", "1.1", *extra)
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("".join(f"{pin}\n" for pin in pins))
    for command in install_commands(python, requirements):
        done = run(command)
        assert done.returncode == 0, done.stdout + done.stderr
    listed = run([str(python), "-m", "pip", "list", "--format", "freeze"]).stdout.split()
    assert {line for line in listed if not line.startswith("pip==")} == {"measure==1.0", "plugin==1.0"}


def test_a_file_that_lacks_a_package_is_refused(python: Path, index: Path, tmp_path: Path) -> None:
    """Dependencies are checked instead of resolved: the message names what is missing, and who needs it."""
    requirements = tmp_path / "requirements.txt"
    requirements.write_text(wheel(index, "plugin", "1.0", "Requires-Dist: measure>=0.9") + "\n")
    *installs, check = install_commands(python, requirements)
    assert [run(command).returncode for command in installs] == [0]
    done = run(check)
    assert done.returncode == 1
    assert "plugin 1.0 requires measure, which is not installed" in done.stdout


@pytest.mark.parametrize("name", ["dev", "operator", "runner"])
def test_a_file_has_all_that_its_packages_require(name: str) -> None:
    """The installed packages' metadata is checked; the images have the versions of the tests."""
    pins = pinned(ROOT / "requirements" / f"{name}.txt")
    assert {(package, importlib.metadata.version(package)) for package in pins} == set(pins.items())
    asked = {(package, "") for package in pins}
    waiting = set(asked)
    problems = set()
    while waiting:
        package, extra = waiting.pop()
        for text in importlib.metadata.requires(package) or ():
            required = Requirement(text)
            if required.marker and not required.marker.evaluate({"extra": extra}):
                continue
            wanted = canonicalize_name(required.name)
            if wanted not in pins or not required.specifier.contains(pins[wanted], prereleases=True):
                problems.add(f"{package} requires {text}")
                continue
            more = {(wanted, extra) for extra in required.extras} - asked
            asked |= more
            waiting |= more
    assert problems == set()


def pinned(file: Path) -> dict[str, str]:
    """Return the version of each package that a file pins for this Python and system."""
    lines = re.findall(r"^([\w.-]+)(?:\[\S+\])?==(\S+)(?: ; (.+?))? \\\\$", file.read_text(), re.MULTILINE)
    return {
        canonicalize_name(name): version for name, version, marker in lines if not marker or Marker(marker).evaluate()
    }
