"""The commands, their options and their help; what they do is in the modules that they call."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from carillon_cli import api_keys, explanation, next_times, transfer
from carillon_cli.documents import STDIN, InputError
from carillon_core import __version__

MOST_TIMES = 10_000
YEARS = (1970, 9000)
INVALID = 1
UNUSABLE = 2

app = typer.Typer(
    name="carillon",
    help="Look at schedules and make API keys, without a cluster; export and import tasks and targets.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

keys = typer.Typer(help="Make API keys for the REST API.", rich_markup_mode=None, no_args_is_help=True)
app.add_typer(keys, name="api-key")


Context = Annotated[str | None, typer.Option("--context", metavar="NAME", help="Of the kubeconfig; its current one.")]
Kubeconfig = Annotated[str | None, typer.Option("--kubeconfig", metavar="FILE", help="As kubectl has it without.")]


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    *,
    version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False,
) -> None:
    """Look at schedules and make API keys, without a cluster; export and import tasks and targets."""
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


@app.command("export", short_help="Print tasks and targets as YAML, from a cluster.")
def export_command(
    namespace: Annotated[
        str | None, typer.Option("--namespace", "-n", metavar="NAME", help="Of this namespace; of all without it.")
    ] = None,
    selector: Annotated[
        str | None, typer.Option("--selector", "-l", metavar="LABELS", help="Only those that these labels select.")
    ] = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Print the tasks and targets of a cluster, as YAML for carillon import or kubectl apply.

    Names, labels, annotations and specs, in one order; no status. Secrets are named, and never read. The cluster is
    asked through kubectl, or the program that KUBECTL names.
    """
    typer.echo(transfer.exported(transfer.Cluster(kubeconfig, context), namespace, selector), nl=False)


@app.command("import", short_help="Create the tasks and targets of a file, in a cluster.")
def import_command(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A YAML file, or - for the standard input.")],
    namespace: Annotated[
        str | None, typer.Option("--namespace", "-n", metavar="NAME", help="Into this one, whatever the file says.")
    ] = None,
    *,
    existing: Annotated[
        transfer.Existing, typer.Option("--existing", help="What to do if one is there already.")
    ] = transfer.Existing.FAIL,
    suspended: Annotated[
        bool, typer.Option("--suspended", help="Suspend the tasks: while another cluster still runs them.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Have the cluster check it all, and write nothing.")
    ] = False,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> int:
    """Create the tasks and targets of a file, targets first; nothing at all if one of them is invalid.

    An imported task begins anew: nothing is made up for that passed before. If it is cut off half way, import again
    with --existing skip. The cluster is asked through kubectl, or the program that KUBECTL names.

    Exit code 1 if something is invalid or there already, each named with its mend; 2 if the file or the cluster
    cannot be used.
    """
    cluster = transfer.Cluster(kubeconfig, context)
    answer = transfer.imported(
        file,
        cluster,
        datetime.now(UTC),
        namespace=namespace,
        existing=existing,
        suspended=suspended,
        dry_run=dry_run,
    )
    for line in answer.lines:
        typer.echo(line)
    for problem in answer.problems:
        typer.echo(problem, err=True)
    return INVALID if answer.problems else 0


@keys.command("create", short_help="Make an API key, and the manifest that lets it in.")
def create_key(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The key's name: letters, digits and hyphens.")],
    user: Annotated[
        str,
        typer.Option(
            "--user",
            metavar="USER",
            help="As whom its bearer calls, such as system:serviceaccount:team-a:ci: RBAC says what that one may do.",
        ),
    ],
    group: Annotated[
        list[str] | None, typer.Option("--group", metavar="GROUP", help="A group of that user; may be repeated.")
    ] = None,
    expires_at: Annotated[
        str | None, typer.Option("--expires-at", metavar="TIME", help="From this RFC 3339 time on it is refused.")
    ] = None,
    previous_hash: Annotated[
        str | None,
        typer.Option(
            "--previous-hash", metavar="sha256:HEX", help="Of the key that it replaces: both are valid from now on."
        ),
    ] = None,
    secret: Annotated[
        str, typer.Option("--secret", metavar="NAMESPACE/NAME", help="The Secret with the keys.")
    ] = api_keys.SECRET,
) -> None:
    """Make an API key: print it on the standard error, once, and a manifest on the standard output.

    The manifest holds a hash and who the bearer is, never the key. It is one data key of the Secret that
    CARILLON_API_KEYS_SECRET names; apply it with a field manager of its own for each key, and the others stay:

    carillon api-key create ci --user system:serviceaccount:team-a:ci
    | kubectl apply --server-side --field-manager carillon-api-key-ci -f -

    To replace a key without a gap, create one of the same name with --previous-hash of the old one, let the callers
    change, and apply the manifest again without the old hash. To revoke it, apply the Secret without the data key.
    """
    made = api_keys.create(
        name,
        user,
        group or (),
        None if expires_at is None else _instant(expires_at, "--expires-at"),
        previous_hash,
        secret,
    )
    typer.echo(made.key, err=True)
    typer.echo(made.manifest, nl=False)


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
