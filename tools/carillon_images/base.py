"""Builds a base image from Debian's packages, for machines that cannot pull one. Called by ``make base-image``."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from carillon_images.engines import Engine, ImageError

RELEASE = "bookworm"
BASE = f"localhost/carillon-base:{RELEASE}"
BUILD = f"localhost/carillon-build:{RELEASE}"
RUNTIME_PACKAGES = "ca-certificates,python3"
BUILD_PACKAGES = f"{RUNTIME_PACKAGES},python3-venv"
NOT_NEEDED = (
    "usr/share/doc", "usr/share/info", "usr/share/locale", "usr/share/man", "usr/share/lintian",
    "var/cache/apt", "var/lib/apt/lists", "var/log",
)  # fmt: skip
"""Files that a container does not need. Licences are in the packages; dpkg's records are kept for the SBOM."""


KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
"""The keys of Debian's releases, installed by the package debian-archive-keyring."""


def make_base(engine: Engine) -> tuple[str, str]:
    """Build the runtime image and the build image, and return their names.

    Raises:
        ImageError: This machine cannot build it, or debootstrap failed; the message says what to do.

    """
    program = shutil.which("debootstrap")
    if program is None or os.geteuid() != 0:
        raise ImageError(
            "building a base image needs debootstrap and root: apt-get install debootstrap, and run this as root"
        )
    for tag, packages in ((BASE, RUNTIME_PACKAGES), (BUILD, BUILD_PACKAGES)):
        with tempfile.TemporaryDirectory(prefix="carillon-base-") as folder:
            root = Path(folder) / "root"
            _bootstrap(program, root, packages)
            archive = Path(folder) / "root.tar"
            subprocess.run(["tar", "-C", str(root), "--exclude=./dev/*", "-cf", str(archive), "."], check=True)
            engine.import_root(archive, tag, entry=["python3"])
    return BASE, BUILD


def signature_options(keyring: Path) -> list[str]:
    """Return the options that make debootstrap verify Debian's signature; none if it cannot be verified.

    Without a keyring or gpgv, debootstrap only warns and continues; this prints the warning.
    """
    if keyring.is_file() and shutil.which("gpgv"):
        return [f"--keyring={keyring}", "--force-check-gpg"]
    hint = "apt-get install debian-archive-keyring gpgv"
    print(f"images: Debian's signature is not checked, because its keys or gpgv are missing: {hint}", file=sys.stderr)
    return []


def _bootstrap(program: str, root: Path, packages: str) -> None:
    mirror = os.environ.get("DEBIAN_MIRROR", "").strip()  # debootstrap sets its own
    options = ["--variant=minbase", f"--include={packages}", *signature_options(KEYRING)]
    command = [program, *options, RELEASE, str(root), *([mirror] if mirror else [])]
    log = root.parent / "debootstrap.log"
    with log.open("wb") as out:
        done = subprocess.run(command, check=False, stdout=out, stderr=subprocess.STDOUT)
    if done.returncode:
        end = "\n".join(log.read_text(errors="replace").splitlines()[-5:])
        where = mirror or "Debian's mirror"
        raise ImageError(f"debootstrap failed (is {where} in reach? DEBIAN_MIRROR names another mirror):\n{end}")
    for place in NOT_NEEDED:
        shutil.rmtree(root / place, ignore_errors=True)
        (root / place).mkdir(parents=True)
    for compiled in root.glob("usr/lib/python3*/**/__pycache__"):
        shutil.rmtree(compiled, ignore_errors=True)
    python = min(root.glob("usr/lib/python3.[0-9]*"))
    # The image's user cannot write anywhere: without this, the standard library would be compiled at each start.
    subprocess.run(
        ["chroot", str(root), "python3", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash",
         f"/{python.relative_to(root)}"],
        check=False, stdout=sys.stderr,
    )  # fmt: skip
