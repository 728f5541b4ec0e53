"""Passes this machine's pip settings to builds as secrets, so that builds use the same package index."""

import ast
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

PASSED_ON = ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout", "default-timeout", "retries")
CERTIFICATES = "/run/pip-ca.crt"
"""The path at which the Dockerfiles mount the secret ``pip-ca``."""


def pip_secrets(folder: Path) -> dict[str, Path]:
    """Write pip's settings into a folder and return the build secrets: name to file.

    Both always exist, even if empty, because not every builder supports optional secrets.
    """
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], check=True, capture_output=True, text=True
    ).stdout
    settings = parse(listed)
    configuration, authority = folder / "pip.conf", folder / "pip-ca.crt"
    certificates = settings.get("cert", "")
    authority.write_bytes(Path(certificates).read_bytes() if certificates else b"")
    configuration.write_text(render(settings))
    for path in (configuration, authority):
        path.chmod(0o600)
    return {"pip-conf": configuration, "pip-ca": authority}


def parse(listed: str) -> dict[str, str]:
    """Return pip's settings from ``pip config list``: environment before files, a command's before global ones."""
    ranked: dict[str, dict[str, str]] = {"global": {}, "install": {}, ":env:": {}}
    for line in listed.splitlines():
        key, _, value = line.partition("=")
        section, _, name = key.rpartition(".")
        if section in ranked and name:
            ranked[section][name] = str(ast.literal_eval(value))
    return {**ranked["global"], **ranked["install"], **ranked[":env:"]}


def render(settings: Mapping[str, str]) -> str:
    """Return a pip.conf with the settings that are valid in a build, which folders of this machine are not."""
    lines = ["[global]", "disable-pip-version-check = true"]
    # pip reads several values of a setting from indented lines
    lines += [f"{name} = " + "\n    ".join(settings[name].split()) for name in PASSED_ON if settings.get(name)]
    if settings.get("cert"):
        lines.append(f"cert = {CERTIFICATES}")
    return "\n".join(lines) + "\n"
