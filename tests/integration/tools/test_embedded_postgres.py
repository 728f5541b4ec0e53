"""The embedded Postgres, used by its command, from one process after another."""

import importlib.util
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import psycopg
import pytest

import postgres_programs
from embedded_postgres import ROLE, EmbeddedPostgres
from postgres_programs import MAJOR, PACKAGE, SHARED_FOLDERS, Account, PostgresError, programs
from support.programs import EMBEDDED_POSTGRES, run_embedded_postgres


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    """Give a directory that other accounts cannot enter, as in root's home; stop its server afterwards."""
    above = tmp_path / "closed"
    above.mkdir(mode=0o700)
    path = above / "postgres"
    yield path
    assert stat.S_IMODE(above.stat().st_mode) == 0o700
    run_embedded_postgres("stop", path)
    assert servers(path) == []


def start(data_dir: Path, *options: str) -> str:
    """Start the server and return the URL."""
    done = run_embedded_postgres("start", data_dir, "--fast", *options)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def status(data_dir: Path) -> tuple[str, int]:
    """Return the output of ``status`` and its exit code."""
    done = run_embedded_postgres("status", data_dir)
    return done.stdout.strip(), done.returncode


def error(data_dir: Path, *options: str) -> str:
    """Return the error message of a failed start."""
    done = run_embedded_postgres("start", data_dir, "--fast", *options)
    assert done.returncode == 1
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    return lines[0]


def pid_file(data_dir: Path) -> Path:
    """Return the path of Postgres' pid file."""
    return data_dir / "pgdata" / "postmaster.pid"


def postmaster(data_dir: Path) -> int:
    """Return the server's process id."""
    return int(pid_file(data_dir).read_text().splitlines()[0])


def servers(data_dir: Path) -> list[int]:
    """Return the ids of all processes with this working directory; zombies do not count."""
    return [
        p.pid
        for p in psutil.process_iter(["name", "cwd", "status"])
        if p.info["cwd"] == str(data_dir / "pgdata") and p.info["status"] != psutil.STATUS_ZOMBIE
    ]


def note(url: str, text: str) -> list[str]:
    """Write a row and return all rows."""
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS notes (text text)")
        connection.execute("INSERT INTO notes VALUES (%s)", [text])
        return [row[0] for row in connection.execute("SELECT text FROM notes ORDER BY 1")]


def test_start_twice_is_start_once(data_dir: Path) -> None:
    """The second start finds the running server, and the URL works."""
    url = start(data_dir)
    first = postmaster(data_dir)
    assert start(data_dir) == url
    assert postmaster(data_dir) == first
    assert status(data_dir) == ("running", 0)
    assert run_embedded_postgres("url", data_dir).stdout.strip() == url
    assert note(url, "hello") == ["hello"]


def test_two_that_start_at_once_start_one(data_dir: Path) -> None:
    """This holds even for the first start, which creates the data directory."""
    with ThreadPoolExecutor(3) as pool:
        urls = set(pool.map(start, [data_dir] * 3))
    assert len(urls) == 1


def test_stop_leaves_nothing_and_start_brings_all_back(data_dir: Path) -> None:
    """There is no process, no pid file and no listener; afterwards, data, port and password are the same."""
    url = start(data_dir)
    note(url, "before")
    assert run_embedded_postgres("stop", data_dir).returncode == 0
    assert servers(data_dir) == []
    assert not pid_file(data_dir).exists()
    assert status(data_dir) == ("stopped", 3)
    with pytest.raises(psycopg.OperationalError, match="refused"):
        psycopg.connect(url)
    assert start(data_dir) == url
    assert note(url, "later") == ["before", "later"]


def test_stop_cuts_connections_and_is_idempotent(data_dir: Path) -> None:
    """A connected client does not prevent the stop; a second stop has no effect."""
    with psycopg.connect(start(data_dir)) as client:
        assert run_embedded_postgres("stop", data_dir).returncode == 0
        with pytest.raises(psycopg.OperationalError):
            client.execute("SELECT 1")
    assert run_embedded_postgres("stop", data_dir).returncode == 0
    assert run_embedded_postgres("stop", data_dir.with_name("nothing")).returncode == 0
    assert not data_dir.with_name("nothing").exists()


def test_a_killed_server_starts_again(data_dir: Path) -> None:
    """It has all committed data, even if a child of the old server is still running."""
    url = start(data_dir)
    note(url, "before")
    with psycopg.connect(url):
        os.kill(postmaster(data_dir), signal.SIGKILL)
        assert start(data_dir) == url
    assert note(url, "later") == ["before", "later"]
    assert len([p for p in servers(data_dir) if command_line(p)[1:2] == ["-D"]]) == 1


def command_line(pid: int) -> list[str]:
    """Return the command line of a process; empty if it has ended, as a connection's does."""
    try:
        return psutil.Process(pid).cmdline()
    except psutil.NoSuchProcess:
        return []


def test_stop_after_a_kill_leaves_nothing(data_dir: Path) -> None:
    """The children and the pid file are gone."""
    start(data_dir)
    os.kill(postmaster(data_dir), signal.SIGKILL)
    assert run_embedded_postgres("stop", data_dir).returncode == 0
    assert servers(data_dir) == []
    assert not pid_file(data_dir).exists()


@pytest.mark.parametrize("stranger", ["a live process", "nobody", "rubbish", "nothing"])
def test_a_stale_pid_file_is_mended(data_dir: Path, stranger: str) -> None:
    """Another process may have the id now; it is neither stopped nor waited for."""
    url = start(data_dir)
    lines = pid_file(data_dir).read_text().splitlines()
    owner = pid_file(data_dir).stat()
    run_embedded_postgres("stop", data_dir)
    pids = {"a live process": str(os.getpid()), "nobody": "99999999"}
    stale = "\n".join([pids[stranger], *lines[1:], ""]) if stranger in pids else {"rubbish": "?\n"}.get(stranger, "")
    pid_file(data_dir).write_text(stale)
    os.chown(pid_file(data_dir), owner.st_uid, owner.st_gid)
    assert status(data_dir) == ("stopped", 3)
    assert start(data_dir) == url
    assert note(url, "hello") == ["hello"]


def test_a_busy_port(data_dir: Path) -> None:
    """The stored port is replaced by another; a required port is refused with a message."""
    port = urlsplit(start(data_dir)).port
    assert port is not None
    run_embedded_postgres("stop", data_dir)
    with socket.create_server(("127.0.0.1", port)):
        assert f"port {port} of 127.0.0.1 is in use" in error(data_dir, "--port", str(port))
        other = start(data_dir)
    assert urlsplit(other).port != port
    assert note(other, "hello") == ["hello"]


def test_a_port_of_ones_choice(data_dir: Path) -> None:
    """It is used and stored."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    assert urlsplit(start(data_dir, "--port", str(port))).port == port
    run_embedded_postgres("stop", data_dir)
    assert urlsplit(start(data_dir)).port == port


def test_the_password_is_kept_from_others(data_dir: Path) -> None:
    """Its file has mode 0600, and it is on no command line; without it, there is no login, even as superuser."""
    url = start(data_dir)
    password = urlsplit(url).password
    assert password
    assert len(password) >= 32
    secret = data_dir / "password"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert stat.S_IMODE((data_dir / "pgdata").stat().st_mode) == 0o700
    assert not any(password in " ".join(psutil.Process(p).cmdline()) for p in servers(data_dir))
    for intruder in (url.replace(password, "guess"), url.replace("//carillon:", "//postgres:")):
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(intruder)
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT rolsuper, rolpassword FROM pg_roles WHERE rolname = current_user").fetchone()
        assert row is not None
        assert row[0] is False


@pytest.mark.parametrize(
    ("fast", "want"), [pytest.param((), "on", id="durable"), pytest.param(("--fast",), "off", id="fast")]
)
def test_durable_unless_told_otherwise(data_dir: Path, fast: tuple[str, ...], want: str) -> None:
    """Each start sets it again."""
    start(data_dir)
    run_embedded_postgres("stop", data_dir)
    with psycopg.connect(run_embedded_postgres("start", data_dir, *fast).stdout.strip()) as connection:
        for setting in ("fsync", "full_page_writes"):
            assert connection.execute(f"SHOW {setting}".encode()).fetchone() == (want,)


def test_data_of_another_version(data_dir: Path) -> None:
    """It is refused with both versions in the message, and not changed."""
    start(data_dir)
    run_embedded_postgres("stop", data_dir)
    version = data_dir / "pgdata" / "PG_VERSION"
    version.write_text("16\n")
    assert "was made by PostgreSQL 16 and this is 18" in error(data_dir)
    assert version.read_text() == "16\n"


def test_a_directory_of_something_else(data_dir: Path) -> None:
    """It is refused, not overwritten."""
    (data_dir / "pgdata").mkdir(parents=True)
    (data_dir / "pgdata" / "thesis.txt").write_text("years of work")
    assert "is not a Postgres data directory" in error(data_dir)
    assert (data_dir / "pgdata" / "thesis.txt").read_text() == "years of work"


def test_a_lost_password(data_dir: Path) -> None:
    """The server cannot be used without it, and the message says so."""
    start(data_dir)
    (data_dir / "password").unlink()
    assert "password is missing" in error(data_dir)


def test_a_setup_that_was_cut_short_is_done_again(data_dir: Path) -> None:
    """Its incomplete files are deleted."""
    (data_dir / "pgdata.new").mkdir(parents=True)
    data_dir.chmod(0o711)
    (data_dir / "pgdata.new" / "PG_VERSION").write_text("18\n")
    assert note(start(data_dir), "hello") == ["hello"]
    assert not (data_dir / "pgdata.new").exists()


def test_the_url_of_a_stopped_server(data_dir: Path) -> None:
    """It has no URL."""
    done = run_embedded_postgres("url", data_dir)
    assert (done.returncode, done.stdout) == (1, "")
    assert "is not running: start it first" in done.stderr


def test_a_server_of_an_earlier_version_learns_to_create_roles(data_dir: Path) -> None:
    """Its role could not create the runners' role; the superuser still cannot log in."""
    start(data_dir)
    run_embedded_postgres("stop", data_dir)
    server = EmbeddedPostgres(data_dir, fast=True)
    was = f"ALTER ROLE {ROLE} NOCREATEROLE;\n"
    server._execute_alone(Account.of(data_dir / "pgdata"), data_dir / "pgdata", was)  # noqa: SLF001  # this makes it an old one
    (data_dir / "roles").unlink()
    url = start(data_dir)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE ROLE runner LOGIN PASSWORD 'x'")
    parts = urlsplit(url)
    psycopg.connect(parts._replace(netloc=f"runner:x@127.0.0.1:{parts.port}").geturl()).close()
    with pytest.raises(psycopg.OperationalError, match="rejects connection"):
        psycopg.connect(parts._replace(netloc=f"postgres:x@127.0.0.1:{parts.port}").geturl())


def run_elsewhere(site: Path, command: str, data_dir: Path) -> subprocess.CompletedProcess[str]:
    """Run the command with Postgres' package installed in another folder."""
    program = [sys.executable, str(EMBEDDED_POSTGRES), command, "--data", str(data_dir), "--fast"]
    environment = os.environ | {"PYTHONPATH": str(site)}
    return subprocess.run(program, check=False, capture_output=True, text=True, env=environment)


def test_programs_and_data_in_a_closed_folder(data_dir: Path) -> None:
    """In a checkout in root's home, Postgres finds its programs, starts, and is found again; no mode is changed."""
    site = data_dir.parent / "site-packages"
    site.mkdir()
    found = importlib.util.find_spec(PACKAGE)
    assert found is not None
    assert found.origin is not None
    for path in Path(found.origin).parents[1].glob(f"{PACKAGE}*"):
        (site / path.name).symlink_to(path)
    checked = run_elsewhere(site, "check", data_dir)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
    started = run_elsewhere(site, "start", data_dir)
    assert started.returncode == 0, started.stderr
    assert note(started.stdout.strip(), "hello") == ["hello"]
    program = Path(psutil.Process(postmaster(data_dir)).exe())
    if os.geteuid() == 0:
        assert any(program.is_relative_to(shared) for shared in SHARED_FOLDERS)
        assert program.stat().st_uid == 0
    assert run_elsewhere(site, "status", data_dir).stdout.strip() == "running"
    assert run_elsewhere(site, "stop", data_dir).returncode == 0


def test_a_server_stays_ours_when_its_folder_closes_or_moves(passable_dir: Callable[[], Path]) -> None:
    """It was started in an accessible folder; after the change it can still be found, stopped and started."""
    above = passable_dir()
    try:
        url = start(above / "postgres")
        note(url, "before")
        above.chmod(0o700)
        assert status(above / "postgres") == ("running", 0)
        above = above.rename(above.with_name(f"{above.name}-moved"))
        assert status(above / "postgres") == ("running", 0)
        assert run_embedded_postgres("stop", above / "postgres").returncode == 0
        assert note(start(above / "postgres"), "later") == ["before", "later"]
    finally:
        run_embedded_postgres("stop", above / "postgres")


@pytest.mark.parametrize("planted", ["a folder that everyone may write to", "a link"])
def test_programs_are_not_taken_from_where_others_may_plant_them(
    planted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only root may own and write to a folder for copies."""
    shared = tmp_path / "shared"
    if planted == "a link":
        (tmp_path / "target").mkdir()
        shared.symlink_to(tmp_path / "target")
    else:
        shared.mkdir()
        shared.chmod(0o777)
    monkeypatch.setattr(postgres_programs, "SHARED_FOLDERS", (shared,))
    # the installed programs are in a closed folder
    monkeypatch.setattr(postgres_programs, "_package", lambda: closed(tmp_path) / PACKAGE)
    with pytest.raises(PostgresError, match="cannot enter"):
        programs(Account(65_534, 65_534))
    assert list(shared.iterdir()) == []


def closed(folder: Path) -> Path:
    """Create a folder that others cannot enter."""
    made = folder / "closed"
    made.mkdir(mode=0o700, exist_ok=True)
    bin_folder = made / PACKAGE / f"pginstall{MAJOR}" / "bin"
    bin_folder.mkdir(parents=True, exist_ok=True)
    return made
