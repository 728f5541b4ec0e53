"""Container engines, for building and inspecting images. Called by ``carillon_images.__main__``.

Docker or Podman is used if it answers; otherwise buildah, which needs no daemon, with its own image store under
``.carillon/images``, so that the machine's images are not touched.
"""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from container_engine import answers

STORE = Path(__file__).resolve().parents[2] / ".carillon" / "images"
HINT = "start Docker or Podman, or install buildah (on Debian, as root: apt-get install buildah)"
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")


class ImageError(Exception):
    """An image cannot be built or inspected; the message says what to do."""


class Engine:
    """One engine, run by its command."""

    def __init__(self, name: str, command: Sequence[str]) -> None:
        """Name an engine; nothing is started. `command` is the program with its global options."""
        self.name = name
        self._command = list(command)

    def build(
        self, dockerfile: Path, tag: str, arguments: Mapping[str, str], secrets: Mapping[str, Path], *, context: Path
    ) -> None:
        """Build an image; the engine's output is passed on.

        Raises:
            ImageError: The engine failed; the end of its output says why.

        """
        isolation = ["--isolation", "chroot"] if self.name == "buildah" else []
        told = [f"--build-arg={name}={value}" for name, value in arguments.items()]
        # only the name: the engine reads the value from the environment
        told += [f"--build-arg={name}" for name in PROXIES if name in os.environ]
        told += [f"--secret=id={name},src={path}" for name, path in secrets.items()]
        self._run("build", *isolation, *told, f"--file={dockerfile}", f"--tag={tag}", str(context))

    def prune(self) -> None:
        """Remove unnamed images of earlier builds if the store is ours, so that it does not grow with each build."""
        if self.name == "buildah":
            self._run("rmi", "--prune", "--force", captured=True)

    def ask(self, image: str, *command: str) -> str:
        """Run a command in an image, without a network, and return its output.

        Raises:
            ImageError: There is no such image, or the command failed.

        """
        if self.name != "buildah":
            return self._run("run", "--rm", "--network=none", "--read-only", f"--entrypoint={command[0]}", image,
                             *command[1:], captured=True)  # fmt: skip
        with self._container(image) as container:
            return self._run("run", "--isolation", "chroot", container, "--", *command, captured=True)

    def has(self, image: str) -> bool:
        """Return whether an image exists."""
        kind = ["--type=image"] if self.name == "buildah" else []
        command = [*self._command, *(["image"] if not kind else []), "inspect", *kind, image]
        return subprocess.run(command, check=False, capture_output=True).returncode == 0

    def archive(self, image: str, target: Path) -> None:
        """Write an image as an archive in Docker's format, which every engine can write and containerd can read.

        Raises:
            ImageError: There is no such image.

        """
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        if self.name == "buildah":
            self._run("push", "--quiet", image, f"docker-archive:{target}:{image}", captured=True)
        else:
            self._run("save", f"--output={target}", image)

    def size(self, image: str) -> int:
        """Return the unpacked size of an image in bytes; for buildah, the size of the files only.

        Raises:
            ImageError: There is no such image.

        """
        if self.name != "buildah":
            return int(self._run("image", "inspect", "--format={{.Size}}", image, captured=True))
        with self._container(image) as container:
            count = "du -sxk --exclude=/proc --exclude=/sys --exclude=/dev /"
            counted = self._run(
                "run", "--isolation", "chroot", "--user=0", container, "--", "sh", "-c", count, captured=True
            )
        return int(counted.split()[0]) * 1024

    def import_root(self, archive: Path, tag: str, *, entry: Sequence[str]) -> None:
        """Create an image with one layer from a tar file of a root file system.

        Raises:
            ImageError: The engine failed.

        """
        change = f'CMD ["{entry[0]}"]'
        if self.name != "buildah":
            self._run("import", f"--change={change}", str(archive), tag)
            return
        with self._container("scratch") as container:
            self._run("add", "--quiet", container, str(archive), "/", captured=True)
            self._run("config", f"--cmd={' '.join(entry)}", container)
            self._run("commit", "--quiet", container, tag, captured=True)

    @contextlib.contextmanager
    def _container(self, image: str) -> Iterator[str]:
        container = self._run("from", "--pull-never", image, captured=True).strip()
        try:
            yield container
        finally:
            self._run("rm", container, captured=True)

    def _run(self, *arguments: str, captured: bool = False) -> str:
        command = [*self._command, *arguments]
        done = subprocess.run(command, check=False, capture_output=captured, text=True)
        if done.returncode:
            said = f": {(done.stderr or done.stdout).strip()}" if captured else "; see above"
            raise ImageError(f"{self.name} {arguments[0]} failed{said}")
        return done.stdout or ""


def find_engine(wanted: str = "") -> Engine:
    """Return the engine to use: the wanted one, or the first one that answers.

    Raises:
        ImageError: There is none, or the wanted one does not answer.

    """
    for name in [wanted] if wanted else ["docker", "podman", "buildah"]:
        program = shutil.which(name)
        if program is None:
            continue
        if name == "buildah":
            places = [f"--root={STORE / 'storage'}", f"--runroot={STORE / 'run'}"]
            return Engine(name, [program, *places, "--storage-driver=vfs"])
        if answers(name):
            return Engine(name, [program])
    if wanted:
        raise ImageError(f"ENGINE={wanted} is not installed or does not answer: {HINT}, or leave ENGINE out")
    raise ImageError(f"no container engine answers on this machine: {HINT}")
