"""``carillon`` and ``python -m carillon_cli``: run a command. Bad input is reported in one sentence."""

import os
import sys

import typer

from carillon_cli.app import app
from carillon_cli.documents import InputError

BAD_INPUT = 2


def main() -> int:
    """Run the command line; return the exit code: 0, 1 if something is invalid, 2 if the input cannot be used."""
    try:
        code = app(standalone_mode=False, prog_name="carillon")
        sys.stdout.flush()
    except typer.Exit as asked:
        return asked.exit_code
    except typer.TyperException as error:
        shown = error.format_message() if isinstance(error, typer.BadParameter) else str(error)
        return _refuse(f"{shown.rstrip('.')}: see carillon --help")
    except typer.Abort:
        return 130
    except InputError as error:
        return _refuse(str(error))
    except BrokenPipeError:  # the reader closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code if isinstance(code, int) else 0


def _refuse(sentence: str) -> int:
    print(f"carillon: {sentence}", file=sys.stderr)
    return BAD_INPUT


if __name__ == "__main__":
    sys.exit(main())
