"""The program of a runner Job's pod: ``python -m carillon_runner``."""

import os
import sys

from carillon_runner.interrupts import Interrupts


def main() -> int:
    """Run the execution that the environment describes; return one of ``contract.ExitCode``."""
    interrupts = Interrupts()
    # first: process 1 of a container loses signals without a handler
    interrupts.install()
    from carillon_core.contract import ExitCode  # noqa: PLC0415  # after the handlers, see above
    from carillon_core.errors import SettingsError  # noqa: PLC0415  # the same
    from carillon_runner.environment import read_environment  # noqa: PLC0415  # the same

    try:
        environment = read_environment(os.environ)
        from carillon_runner.run import run  # noqa: PLC0415  # psycopg takes 0.1 s: only if there is a task

        return run(environment, interrupts)
    except SettingsError as error:
        print(f"carillon-runner: {error}", file=sys.stderr)
        return ExitCode.MISCONFIGURED
    finally:
        interrupts.ignore()


if __name__ == "__main__":
    sys.exit(main())
