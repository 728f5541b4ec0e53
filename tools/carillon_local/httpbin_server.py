"""A real httpbin on loopback, for the HTTP example on a machine that cannot reach httpbin.org."""

import os

from httpbin import app
from werkzeug.serving import run_simple


def main() -> None:
    """Serve until ended, on the port that ``HTTPBIN_PORT`` names."""
    run_simple("127.0.0.1", int(os.environ["HTTPBIN_PORT"]), app, threaded=True)


if __name__ == "__main__":
    main()
