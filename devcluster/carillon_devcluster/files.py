"""Atomic file writes, and lock files."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from carillon_devcluster.layout import ClusterFiles


@contextlib.contextmanager
def readable_by_others() -> Iterator[None]:
    """Inside the block, this process and daemons that it starts create files that others can read: umask 022."""
    before = os.umask(0o022)
    try:
        yield
    finally:
        os.umask(before)


def write_atomically(path: Path, content: str, mode: int = 0o600) -> None:
    """Write a file atomically: readers see either the old content or the new content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(content)
        os.chmod(name, mode)  # noqa: PTH101
        os.replace(name, path)  # noqa: PTH105
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)  # noqa: PTH108
        raise


def make_node_folder(files: ClusterFiles) -> None:
    """Create the node's folder; root's can be passed by other users, but only root can change what is in it.

    Raises:
        PermissionError: Another user can change the folder above it.

    """
    if os.geteuid() != 0:
        files.pods.mkdir(parents=True, exist_ok=True, mode=0o700)
        return
    shared = files.node_state.parent
    with contextlib.suppress(FileExistsError):
        shared.mkdir(parents=True)
        shared.chmod(0o755)  # independent of the umask; it was created here
    info = shared.lstat()
    if not shared.is_dir() or shared.is_symlink() or info.st_uid != 0 or info.st_mode & 0o022:
        message = f"{shared} must be a folder that only root can change"
        raise PermissionError(message)
    for record in shared.glob("node-*/cluster"):  # of clusters whose folder was deleted
        if not Path(record.read_text()).exists():
            shutil.rmtree(record.parent, ignore_errors=True)
    for folder in (files.node_state, files.pods):
        folder.mkdir(exist_ok=True)
        folder.chmod(0o711)
    write_atomically(files.owner_record, str(files.path))


@contextlib.contextmanager
def locked(path: Path, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold a lock file; call `on_wait` once if another process holds it. The kernel releases it when a holder dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if on_wait is not None:
                on_wait()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def end_of(path: Path, lines: int = 10, most: int = 16_384) -> str:
    """Return the last lines of a text file; empty if the file does not exist."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - most))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.rstrip().splitlines()[-lines:])
