"""Writes a software bill of materials of an image, as CycloneDX 1.6 JSON. Called by ``make sbom``.

The Python in the image lists its distributions and dpkg's records. (cyclonedx-bom supports Python environments only;
this document has both.) CycloneDX's own library then validates the document strictly. It runs in its own environment
under ``.carillon``, because nothing else needs its dependencies.
"""

import hashlib
import json
import subprocess
import sys
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from carillon_images.engines import Engine, ImageError
from pinned_packages import install_commands

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = ROOT / "requirements" / "sbom.txt"
VENV = ROOT / ".carillon" / "sbom-tools"
PYTHON = "/opt/carillon/bin/python"
INVENTORY = """
import importlib.metadata, json, pathlib, platform
python = [{"name": d.metadata["Name"], "version": d.version,
           "license": d.metadata.get("License-Expression") or d.metadata.get("License") or ""}
          for d in importlib.metadata.distributions()]
records = pathlib.Path("/var/lib/dpkg/status")
debian = [dict(line.split(": ", 1) for line in record.splitlines() if line[:1].strip() and ": " in line)
          for record in (records.read_text().split("\\n\\n") if records.exists() else []) if record.strip()]
about = pathlib.Path("/etc/os-release")
release = dict(line.split("=", 1) for line in (about.read_text().splitlines() if about.exists() else []) if "=" in line)
print(json.dumps({"python": python, "debian": debian, "interpreter": platform.python_version(),
                  "os": {key: value.strip('"') for key, value in release.items()}}))
"""
VALIDATE = """
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(sys.stdin.read())
sys.exit(f"{error}" if error else 0)
"""
LONGEST_LICENCE = 100
"""Longer values are ignored: some packages have the licence's text instead of its name."""


def write_sbom(engine: Engine, image: str, name: str, version: str, target: Path) -> int:
    """Write an image's SBOM and return the number of its packages.

    Raises:
        ImageError: There is no such image, or the document is not valid.

    """
    inventory = json.loads(engine.ask(image, PYTHON, "-I", "-c", INVENTORY))
    document = sbom(inventory, name, version, datetime.now(UTC))
    text = json.dumps(document, indent=2) + "\n"
    validate(text)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)
    return len(document["components"])


def sbom(inventory: Mapping[str, Any], name: str, version: str, now: datetime) -> dict[str, Any]:
    """Return the CycloneDX document for the output of ``INVENTORY``; the components have a fixed order."""
    distribution = inventory["os"].get("ID", "linux")
    codename = inventory["os"].get("VERSION_ID", "")
    components = [
        _component(
            "python", inventory["interpreter"], f"pkg:generic/python@{inventory['interpreter']}", kind="platform"
        )
    ]
    for package in sorted(inventory["python"], key=lambda found: found["name"].lower()):
        # package URLs have PyPI's names in lower case with dashes
        purl = f"pkg:pypi/{package['name'].lower().replace('_', '-')}@{quote(package['version'])}"
        components.append(_component(package["name"], package["version"], purl, licence=package["license"]))
    for package in sorted(inventory["debian"], key=lambda found: str(found["Package"])):
        if package.get("Status", "").endswith(" installed"):
            where = f"arch={package['Architecture']}&distro={distribution}-{codename}"
            purl = f"pkg:deb/{distribution}/{quote(package['Package'])}@{quote(package['Version'], safe='')}?{where}"
            components.append(_component(package["Package"], package["Version"], purl))
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid4()}",
        "version": 1,
        "metadata": {
            "timestamp": now.isoformat(timespec="seconds"),
            "component": {"type": "container", "bom-ref": name, "name": name, "version": version},
        },
        "components": components,
    }


def _component(name: str, version: str, purl: str, *, kind: str = "library", licence: str = "") -> dict[str, Any]:
    component: dict[str, Any] = {"type": kind, "bom-ref": purl, "name": name, "version": version, "purl": purl}
    if licence and len(licence) <= LONGEST_LICENCE and "\n" not in licence:
        component["licenses"] = [{"license": {"name": licence}}]
    return component


def validate(text: str) -> None:
    """Check a document against CycloneDX's schema.

    Raises:
        ImageError: It is not valid, or the validator could not be installed.

    """
    done = subprocess.run([_validator(), "-c", VALIDATE], input=text, text=True, capture_output=True, check=False)
    if done.returncode:
        raise ImageError(f"the SBOM is not valid CycloneDX: {done.stderr.strip()}")


def _validator() -> Path:
    """Return the Python of an environment with exactly the packages of ``requirements/sbom.txt``."""
    python, stamp = VENV / "bin" / "python", VENV / ".stamp"
    want = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    if not stamp.exists() or stamp.read_text() != want:
        try:
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)], check=True)
            for command in install_commands(python, REQUIREMENTS):
                subprocess.run(command, check=True, stdout=sys.stderr)
        except subprocess.CalledProcessError as error:
            raise ImageError(f"the SBOM's validator could not be installed in {VENV}: see above") from error
        stamp.write_text(want)
    return python
