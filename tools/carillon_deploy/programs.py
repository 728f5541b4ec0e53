"""External programs that a deployment needs, found on the path. Called by this package."""

import os
import shutil
import subprocess
from collections.abc import Mapping

HINTS = {
    "kind": "install it (kind.sigs.k8s.io says how)",
    "minikube": "install it (minikube.sigs.k8s.io says how)",
}
OTHERWISE = "or use an existing cluster: make deploy uses that of KUBECONFIG and CONTEXT (docs/clusters.md)"


class DeployError(Exception):
    """A deployment cannot continue; the message says why and what to do."""


def needed(name: str) -> str:
    """Return a program's path.

    Raises:
        DeployError: It is not on the path; the message says how to get it.

    """
    found = shutil.which(name)
    if found is None:
        raise DeployError(f"{name} is not on the path: {HINTS[name]}, {OTHERWISE}")
    return found


def shown(*command: str, env: Mapping[str, str] | None = None) -> None:
    """Run a program whose output the user sees.

    Raises:
        DeployError: It failed; its output says why.

    """
    done = subprocess.run(command, check=False, env={**os.environ, **(env or {})})
    if done.returncode:
        raise DeployError(f"`{_brief(command)}` failed; see above")


def asked(*command: str, env: Mapping[str, str] | None = None) -> str:
    """Return the output of a program.

    Raises:
        DeployError: It failed; the message has its output.

    """
    done = subprocess.run(command, check=False, capture_output=True, text=True, env={**os.environ, **(env or {})})
    if done.returncode:
        raise DeployError(f"`{_brief(command)}` failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def _brief(command: tuple[str, ...]) -> str:
    return " ".join([os.path.basename(command[0]), *command[1:3]])  # noqa: PTH119  # only shown, not used as a path
