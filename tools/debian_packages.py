"""Install the missing Debian packages that the real node and its images need. Called by ``make e2e``.

Runs with any Python from 3.11 on. Without apt-get or root, it prints the missing packages.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from container_engine import answers

PROGRAMS = {
    "nft": "nftables",
    "ip": "iproute2",
    "mount": "mount",
    "gcc": "gcc",
    "pkg-config": "pkg-config",
    "debootstrap": "debootstrap",
    "gpgv": "gpgv",
}
FILES = {
    "/usr/lib/cni/bridge": "containernetworking-plugins",
    "/usr/include/seccomp.h": "libseccomp-dev",
    "/usr/include/stdio.h": "libc6-dev",
    "/usr/share/keyrings/debian-archive-keyring.gpg": "debian-archive-keyring",
    "/etc/ssl/certs/ca-certificates.crt": "ca-certificates",
}
QUIET = {"DEBIAN_FRONTEND": "noninteractive"}


def missing() -> list[str]:
    """Return the missing packages, recognised by the programs that they install."""
    wanted = {package for program, package in PROGRAMS.items() if shutil.which(program) is None}
    wanted |= {package for file, package in FILES.items() if not Path(file).exists()}
    if shutil.which("buildah") is None and not any(map(answers, ("docker", "podman"))):
        wanted.add("buildah")
    return sorted(wanted)


def main() -> int:
    """Install the missing packages; return 0, or 1 if that fails."""
    wanted = missing()
    if not wanted:
        return 0
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        print(f"packages: run as root: apt-get install {' '.join(wanted)}", file=sys.stderr)
        return 1
    print(f"installing Debian's packages {' '.join(wanted)}", flush=True)
    for command in (["update"], ["install", "--yes", "--no-install-recommends", *wanted]):
        done = subprocess.run(
            ["apt-get", *command], env={**os.environ, **QUIET}, capture_output=True, text=True, check=False
        )
        if done.returncode:
            print(f"packages: apt-get {command[0]} failed:\n{done.stderr.strip()}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
