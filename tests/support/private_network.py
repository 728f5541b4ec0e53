"""A private network for a runner: a public address, a secret on the loopback interface, and a DNS server that lies.

``PrivateNetwork`` starts this module as a program, which moves into namespaces
of its own (user, mount and network; Linux) and serves there. A test tells it what
each name resolves to, starts a runner inside with ``prefix``, and asks what was
looked up and who was called. The C library's resolver is the real one: its
``/etc/resolv.conf`` names our server.
"""

import ctypes
import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

PUBLIC = "93.184.216.34"
PUBLIC_TOO = "93.184.216.35"
_RESOLVER = "127.0.0.53"
_SECRETS = ("127.0.0.1", "::1", "10.1.2.3", "169.254.169.254")
"""The addresses at which the same server returns its secret, and which must never be called."""
_NEW_MOUNTS, _NEW_USER, _NEW_NETWORK = 0x0002_0000, 0x1000_0000, 0x4000_0000
_BIND, _RECURSIVE, _PRIVATE = 0x1000, 0x4000, 0x4_0000
_SET_ADDRESS, _SET_NETMASK, _SET_FLAGS = 0x8916, 0x891C, 0x8914
_UP = 0x1
_HINT = (
    "the tests of HTTP tasks need namespaces of their own (user, mount, network): run them as root on Linux, or allow "
    "user namespaces (sysctl user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns=0)"
)


class PrivateNetwork:
    """The network, as a test sees it from outside; a context manager."""

    def __init__(self) -> None:
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "support.private_network"],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._stack.enter_context(self._process)
        assert self._process.stdin is not None
        # the program ends at the end of its input, before we wait for its exit
        self._stack.callback(self._process.stdin.close)
        ready = self._read()
        with_user = ["--user", "--preserve-credentials"] if ready["own_user"] else []
        self.prefix: Sequence[str] = ("nsenter", "--target", str(ready["pid"]), "--mount", "--net", *with_user)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def resolve(self, names: Mapping[str, Sequence[Sequence[str]]]) -> None:
        """Set the answers of each name, look-up by look-up (see ``DNSServer.names``); forget earlier look-ups."""
        self._ask(names)

    def seen(self) -> tuple[dict[str, int], list[str]]:
        """Return how often each ``name type`` was looked up, and each request as ``address Host path``."""
        answer = self._ask(None)
        return answer["queries"], answer["requests"]

    def _ask(self, question: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the private network has ended: see what it wrote to the standard error"
        answer: dict[str, Any] = json.loads(line)
        assert "error" not in answer, answer["error"]
        return answer


class _Requests:
    """The requests to the HTTP servers."""

    def __init__(self, stack: ExitStack) -> None:
        self.seen: list[str] = []
        self._stack = stack

    def serve(self, address: str) -> None:
        """Serve on port 80 of an address: ``/to?url=…`` redirects, other paths return the address."""
        requests = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                requests.seen.append(f"{address} {self.headers['Host']} {self.path}")
                urls = parse_qs(urlsplit(self.path).query).get("url", [])
                body = f"here is {address}".encode()
                self.send_response(302 if urls else 200)
                for url in urls:
                    self.send_header("Location", url)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            address_family = socket.AF_INET6 if ":" in address else socket.AF_INET

        server = Server((address, 80), Handler)
        self._stack.callback(server.server_close)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        self._stack.callback(thread.join)
        self._stack.callback(server.shutdown)


def _enter_namespaces() -> bool:
    """Move into new namespaces; return whether a user namespace is among them."""
    user, group = os.getuid(), os.getgid()
    own_user = True
    try:
        _call("unshare", _NEW_USER | _NEW_MOUNTS | _NEW_NETWORK)
    except OSError:
        # root may create the other two even if user namespaces are disabled
        _call("unshare", _NEW_MOUNTS | _NEW_NETWORK)
        own_user = False
    if own_user:
        with suppress(FileNotFoundError):  # kernels before 3.19
            Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    return own_user


def _lie_about_names(folder: Path) -> None:
    """Mount our own files over those that the C library's resolver reads."""
    _call("mount", b"none", b"/", None, _RECURSIVE | _PRIVATE, None)
    files = {
        "/etc/resolv.conf": f"nameserver {_RESOLVER}\nsearch .\noptions timeout:5 attempts:1\n",
        "/etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
        "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    }
    for path, text in files.items():
        ours = folder / Path(path).name
        ours.write_text(text)
        _call("mount", str(ours).encode(), path.encode(), None, _BIND, None)
    cache = Path("/run/nscd")
    if cache.is_dir():  # a name cache that would be used first
        empty = folder / "empty"
        empty.mkdir()
        _call("mount", str(empty).encode(), str(cache).encode(), None, _BIND, None)


def _add_addresses() -> None:
    """Bring up the loopback interface, and add the other addresses that are served."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SET_FLAGS, struct.pack("16sh14x", b"lo", _UP))
        mine = (PUBLIC, PUBLIC_TOO, *(a for a in _SECRETS if not a.startswith(("127.", "::"))))
        for number, address in enumerate(mine):
            alias = f"lo:{number}".encode()
            for request, value in ((_SET_ADDRESS, address), (_SET_NETMASK, "255.255.255.255")):
                packed = struct.pack("16sHH4s8x", alias, socket.AF_INET, 0, socket.inet_aton(value))
                fcntl.ioctl(control, request, packed)


def _call(name: str, *arguments: Any) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if getattr(library, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _say(answer: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Serve, and answer commands on standard input until it ends."""
    from support.dns_server import DNSServer  # noqa: PLC0415  # the test's side does not need it

    with ExitStack() as stack:
        try:
            own_user = _enter_namespaces()
            _lie_about_names(Path(stack.enter_context(tempfile.TemporaryDirectory())))
            _add_addresses()
        except OSError as error:
            _say({"error": f"{_HINT} ({error})"})
            return
        dns = stack.enter_context(DNSServer(_RESOLVER))
        requests = _Requests(stack)
        for address in (PUBLIC, PUBLIC_TOO, *_SECRETS):
            requests.serve(address)
        _say({"pid": os.getpid(), "own_user": own_user})
        for line in sys.stdin:
            names = json.loads(line)
            if names is not None:
                dns.names = names
                dns.queries.clear()
                requests.seen.clear()
            queries = {f"{name} {kind}": count for (name, kind), count in dns.queries.items()}
            _say({"queries": queries, "requests": list(requests.seen)})


if __name__ == "__main__":
    main()
