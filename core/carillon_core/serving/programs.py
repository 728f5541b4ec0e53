"""What the programs that serve HTTP have in common: their exit codes, how signals stop them, and their socket."""

import asyncio
import errno
import signal
import socket
import sys
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any, NoReturn, TypeVar

from carillon_core.errors import CarillonError, SettingsError
from carillon_core.logs import configure_logging
from carillon_core.settings import LogSettings

STOPPED, CANNOT_LISTEN, MISCONFIGURED = 0, 1, 2
"""The exit codes."""
BACKLOG = 2048

SettingsT = TypeVar("SettingsT", bound=LogSettings)


class CannotListenError(CarillonError):
    """The address cannot be listened on; the message says how to fix it."""


def run_server(
    program: str, read_settings: Callable[[], SettingsT], serve: Callable[[SettingsT], Coroutine[Any, Any, None]]
) -> int:
    """Serve until a signal stops it; return 0, 1 (cannot listen) or 2 (misconfigured).

    Args:
        program: The name of the program, for messages.
        read_settings: Reads its settings, or raises ``SettingsError``.
        serve: Serves until uvicorn ends.

    """
    # uvicorn drains on these signals and then raises them again for the previous handlers: the shutdown is complete
    # by then, and the exit code is 0.
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    try:
        settings = read_settings()
        configure_logging(settings.log_level, settings.log_format)
        asyncio.run(serve(settings))
    except (SettingsError, CannotListenError) as error:
        print(f"{program}: {error}", file=sys.stderr)  # noqa: T201  # it is a program's own message
        return MISCONFIGURED if isinstance(error, SettingsError) else CANNOT_LISTEN
    return STOPPED


def _stop(_signal: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(STOPPED)


def listening_socket(host: str, port: int, variables: tuple[str, str]) -> socket.socket:
    """Return a listening socket.

    Args:
        host: An address of this machine, or all of them.
        port: The port; 0 for a free one.
        variables: The environment variables that set the two, for messages.

    Raises:
        CannotListenError: If the address cannot be used; the message names the variable to change.

    """
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    dual = host == "::" and socket.has_dualstack_ipv6()
    try:
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG, dualstack_ipv6=dual)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            hint = f"stop the program that listens there, or set {variables[1]} to a free port"
            raise CannotListenError(f"{where} is in use: {hint}") from error
        hint = f"set {variables[0]} and {variables[1]} to an address of this machine that you may use"
        raise CannotListenError(f"cannot listen on {where} ({error.strerror}): {hint}") from error
    # Connections inherit it. asyncio sets it only on listeners that it opens itself; without it, the second half of
    # each response waits for the delayed acknowledgement of the other side, about 40 ms.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
