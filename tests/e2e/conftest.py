"""All of Carillon, once for all end-to-end tests, and the servers that they call."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from httpbin import app as httpbin_app
from werkzeug.serving import make_server

from support.stack_fixtures import namespace, stack

if TYPE_CHECKING:
    from support.stack import Stack

__all__ = ["namespace", "stack"]


@pytest.fixture(scope="module")
def shared_namespace(stack: Stack) -> Iterator[str]:
    """Give a namespace that the tests of a module share, so that their waits overlap."""
    with stack.new_namespace() as name:
        yield name


@pytest.fixture(scope="session")
def httpbin_url() -> Iterator[str]:
    """Serve a real httpbin on loopback."""
    server = make_server("127.0.0.1", 0, httpbin_app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.port}"
    server.shutdown()
    thread.join()
    server.server_close()
