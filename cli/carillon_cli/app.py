"""The commands, their options and their help; what they do is in the modules that they call."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from carillon_cli import explanation, next_times
from carillon_cli.documents import STDIN, InputError
from carillon_core import __version__

MOST_TIMES = 10_000
YEARS = (1970, 9000)
INVALID = 1
UNUSABLE = 2

app = typer.Typer(
    name="carillon",
    help="Look at the schedules of Carillon without a cluster.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    *,
    version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False,
) -> None:
    """Look at the schedules of Carillon without a cluster."""
    if version:
        typer.echo(__version__)
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())
    else:
        return
    raise typer.Exit


@app.command("next", short_help="Print the next fire times of an expression or a file.")
def next_command(
    what: Annotated[
        str,
        typer.Argument(
            metavar="EXPRESSION|FILE",
            help="A cron expression in quotes, a YAML file of ScheduledTasks and RunRequests, or - for the standard "
            "input.",
        ),
    ],
    time_zone: Annotated[
        str | None,
        typer.Option("--time-zone", "-z", metavar="ZONE", help="The IANA time zone of the expression; UTC by default."),
    ] = None,
    after: Annotated[
        str | None, typer.Option("--after", metavar="TIME", help="Look from this RFC 3339 time; now by default.")
    ] = None,
    count: Annotated[int, typer.Option("-n", metavar="N", help=f"How many times, 1 to {MOST_TIMES}.")] = 5,
) -> int:
    """Print the next fire times, one a line: in UTC, and on the clock of the time zone.

    A line is 2026-03-29T01:30:00Z  2026-03-29T03:30:00+02:00, the same format always. Times of a file stand under
    a line # namespace/name. Notes go to the standard error: what may surprise, and what will never fire.

    Exit code 2 if the input cannot be used, or something in it is invalid.
    """
    if not 1 <= count <= MOST_TIMES:
        raise InputError(f"-n is {count}: write a number from 1 to {MOST_TIMES}")
    start = _instant(after, "--after")
    if _is_expression(what):
        answer = next_times.of_expression(what, time_zone, start, count)
    elif time_zone is not None:
        raise InputError("--time-zone goes with an expression: the tasks of a file say their own, in spec.timeZone")
    else:
        answer = next_times.of_file(what, start, count)
    _print(answer)
    return UNUSABLE if answer.invalid else 0


@app.command(short_help="Print what the operator would do about the tasks of a file, and why.")
def explain(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A YAML file, or - for the standard input.")],
    at: Annotated[
        str | None, typer.Option("--at", metavar="TIME", help="Decide as of this RFC 3339 time; now by default.")
    ] = None,
) -> int:
    """Print what the operator would do about each task of a file, and why: its own decision, without a cluster.

    The file may come from kubectl get --output yaml: then the status and the Jobs in it count. A task without a
    creationTimestamp is taken as created at that time.

    Exit code 1 if something is invalid, with each field and its mend; 2 if the file cannot be used.
    """
    answer = explanation.of_file(file, _instant(at, "--at"))
    _print(answer)
    return INVALID if answer.invalid else 0


def _is_expression(what: str) -> bool:
    """Return whether the argument is a cron expression rather than a file's name."""
    if what == STDIN or _exists(what) or what.endswith((".yaml", ".yml", ".json")):
        return False
    return any(c.isspace() for c in what) or what.startswith("@") or "/" not in what


def _exists(name: str) -> bool:
    try:
        return Path(name).exists()
    except (OSError, ValueError):  # too long for a name, or not one at all
        return False


def _instant(text: str | None, option: str) -> datetime:
    """Return a time that the user wrote, or this instant."""
    if text is None:
        return datetime.now(UTC)
    try:
        when = datetime.fromisoformat(text)
        if when.tzinfo is None:
            raise InputError(f"{option} {text} has no zone: write it with one, such as 2027-01-01T00:00:00Z")
        when = when.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InputError(f"{option} {text!r} is not a time: write it as 2027-01-01T00:00:00Z, with its zone") from error
    first, last = YEARS
    if not first <= when.year < last:
        raise InputError(f"{option} {text} is too far away: write a time of the years {first} to {last - 1}")
    return when


def _print(answer: next_times.Answer) -> None:
    for line in answer.lines:
        typer.echo(line)
    for note in answer.notes:
        typer.echo(f"note: {note}", err=True)
