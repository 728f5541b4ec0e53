"""Write the help of all commands as a page of the docs: ``python -m carillon_cli.reference [--output FILE]``."""

import argparse
import re
from pathlib import Path
from typing import Any

import typer

from carillon_cli.app import app

WIDTH = 100
HEAD = """<!-- Generated from carillon_cli by `make manifests`: change that, not this. -->
# The command line

`carillon` inspects schedules, converts CronJobs and creates API keys without a cluster; it reads only the file that is
named. `export`, `import` and `convert cronjob --namespace` reach a cluster through kubectl. `python -m carillon_cli` is
the same program. [Moving from CronJob](cronjobs.md) shows how to use `convert`.
"""


def reference() -> str:
    """Return the page, the same at every call."""
    group = typer.main.get_command(app)
    parts = [HEAD, _section("carillon", group, "##")]
    parts += _commands("carillon", group)
    return "\n".join(parts)


def _commands(path: str, group: Any) -> list[str]:
    """Return a section for each command of a group, and for those of the groups in it."""
    parts = []
    for name, command in getattr(group, "commands", {}).items():
        parts += [_section(f"{path} {name}", command, "##"), *_commands(f"{path} {name}", command)]
    return parts


def _section(title: str, command: Any, level: str) -> str:
    context = command.context_class(command, info_name=title, terminal_width=WIDTH, max_content_width=WIDTH)
    # remove the terminal's emphasis
    text = re.sub(r"\x1b\[[0-9;]*m", "", command.get_help(context))
    return f"{level} {title}\n\n```text\n{text.rstrip()}\n```\n"


def main() -> None:
    """Print the page, or write it to ``--output``."""
    parser = argparse.ArgumentParser(prog="python -m carillon_cli.reference", description=main.__doc__)
    parser.add_argument("--output", type=Path, metavar="FILE", help="the file to write")
    file: Path | None = parser.parse_args().output
    if file is None:
        print(reference(), end="")  # noqa: T201  # a command prints
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(reference(), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
