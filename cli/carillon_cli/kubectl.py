"""The cluster as ``carillon export`` and ``carillon import`` reach it: through kubectl.

So its contexts, credentials and plugins work, and RBAC decides.
"""

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from carillon_cli.documents import InputError

SECONDS = 300
BUNDLED = Path(__file__).parents[2] / ".carillon" / "bin" / "carillon-devcluster"
"""The program of the local cluster, which contains kubectl; ``make run`` builds it."""


def kubectl_command(env: Mapping[str, str], bundled: Path = BUNDLED) -> tuple[str, ...]:
    """Return the kubectl to run: that of ``KUBECTL``, else that on ``PATH``, else that of the local cluster.

    Args:
        env: The environment variables.
        bundled: The program of the local cluster.

    """
    if named := env.get("KUBECTL"):
        return (named,)
    if shutil.which("kubectl", path=env.get("PATH")) is None and shutil.which(bundled) is not None:
        return (str(bundled), "kubectl")
    return ("kubectl",)


@dataclass(frozen=True, slots=True)
class Done:
    """What kubectl has done."""

    out: str
    """Its output, also of what it did before it failed."""
    problem: str = ""
    """Why it failed; empty if it did not."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster, by kubectl's options of the same names."""

    kubeconfig: str | None = None
    context: str | None = None
    command: tuple[str, ...] = ("kubectl",)

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl and return its output.

        Raises:
            InputError: It is not installed or fails; the message has its output.

        """
        done = self.attempt(*arguments, stdin=stdin)
        if done.problem:
            raise InputError(done.problem)
        return done.out

    def attempt(self, *arguments: str, stdin: str | None = None) -> Done:
        """Run kubectl and return what it has done, even if it fails."""
        program = " ".join(self.command)
        given = {"--kubeconfig": self.kubeconfig, "--context": self.context}
        options = [f"{name}={value}" for name, value in given.items() if value is not None]
        try:
            done = _completed([*self.command, *options, *arguments], stdin)
        except FileNotFoundError:
            return Done("", f"{program} was not found: install kubectl, or set KUBECTL")
        except OSError as error:
            return Done("", f"{program} cannot be run: {error.strerror}")
        except subprocess.TimeoutExpired as error:
            said = error.stdout.decode(errors="replace") if isinstance(error.stdout, bytes) else ""
            return Done(said, f"{program} did not finish within {SECONDS} s: check that the cluster answers")
        if done.returncode == 0:
            return Done(done.stdout)
        return Done(done.stdout, f"{program} {arguments[0]} failed: {' '.join(done.stderr.split())}")


def _completed(command: Sequence[str], stdin: str | None) -> subprocess.CompletedProcess[str]:
    """Run a program to its end. Unlike ``subprocess.run``, it leaves none behind if Ctrl-C interrupts it."""
    pipe = subprocess.PIPE
    with subprocess.Popen(  # noqa: S603  # the user's own program, without a shell
        command, stdin=None if stdin is None else pipe, stdout=pipe, stderr=pipe, text=True
    ) as process:
        try:
            out, err = process.communicate(stdin, timeout=SECONDS)
        except BaseException:
            process.kill()
            process.wait()
            raise
    return subprocess.CompletedProcess(command, process.returncode, out, err)
