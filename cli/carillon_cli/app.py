"""The commands with their options and help. The modules that they call do the work."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from carillon_cli import api_keys, explanation, importing, next_times, transfer
from carillon_cli.conversion import cronjobs
from carillon_cli.documents import STDIN, InputError
from carillon_cli.kubectl import Cluster, kubectl_command
from carillon_core import __version__

MOST_TIMES = 10_000
YEARS = (1970, 9000)
INVALID = 1
UNUSABLE = 2

app = typer.Typer(
    name="carillon",
    help="Inspect schedules, convert CronJobs, create API keys; export and import tasks and targets.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

keys = typer.Typer(help="Create API keys for the REST API.", rich_markup_mode=None, no_args_is_help=True)
app.add_typer(keys, name="api-key")
conversions = typer.Typer(
    help="Convert objects of other schedulers into tasks.", rich_markup_mode=None, no_args_is_help=True
)
app.add_typer(conversions, name="convert")


Context = Annotated[
    str | None,
    typer.Option("--context", metavar="NAME", help="The context of the kubeconfig. Default: the current one."),
]
Kubeconfig = Annotated[
    str | None, typer.Option("--kubeconfig", metavar="FILE", help="The kubeconfig file. Default: the one kubectl uses.")
]


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    *,
    version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False,
) -> None:
    """Inspect schedules, convert CronJobs, create API keys; export and import tasks and targets."""
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
            help="A quoted cron expression, a YAML file of ScheduledTasks and RunRequests, or - for standard input.",
        ),
    ],
    time_zone: Annotated[
        str | None,
        typer.Option("--time-zone", "-z", metavar="ZONE", help="IANA time zone of the expression. Default: UTC."),
    ] = None,
    after: Annotated[
        str | None, typer.Option("--after", metavar="TIME", help="Start after this RFC 3339 time. Default: now.")
    ] = None,
    count: Annotated[int, typer.Option("-n", metavar="N", help=f"Number of times, 1 to {MOST_TIMES}.")] = 5,
) -> int:
    """Print the next fire times, one per line: in UTC and in the time zone.

    Each line has the format 2026-03-29T01:30:00Z  2026-03-29T03:30:00+02:00. For a file, a line # namespace/name
    precedes the times of each task. Warnings go to standard error.

    Exit code 2 if the input cannot be read or is invalid.
    """
    if not 1 <= count <= MOST_TIMES:
        raise InputError(f"-n: must be from 1 to {MOST_TIMES} (got {count})")
    if not what.strip():
        raise InputError("the expression is empty: write five fields, such as '0 2 * * *', or name a file")
    start = _instant(after, "--after")
    if _is_expression(what):
        answer = next_times.of_expression(what, time_zone, start, count)
    elif time_zone is not None:
        raise InputError("--time-zone only applies to an expression: tasks in a file have spec.timeZone")
    else:
        answer = next_times.of_file(what, start, count)
    _print(answer)
    return UNUSABLE if answer.invalid else 0


@app.command(short_help="Print what the operator would do with the tasks of a file, and why.")
def explain(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A YAML file, or - for standard input.")],
    at: Annotated[
        str | None, typer.Option("--at", metavar="TIME", help="Decide at this RFC 3339 time. Default: now.")
    ] = None,
) -> int:
    """Print what the operator would do with each task of a file, and why, without a cluster.

    The decision is made by the operator's own code. The file may come from kubectl get --output yaml; the status
    and the Jobs in it are used. A task without a creationTimestamp counts as created at that time.

    Exit code 1 if something is invalid; each field is listed with what to write instead. Exit code 2 if the file
    cannot be used.
    """
    answer = explanation.of_file(file, _instant(at, "--at"))
    _print(answer)
    return INVALID if answer.invalid else 0


@app.command("export", short_help="Print the tasks and targets of a cluster as YAML.")
def export_command(
    namespace: Annotated[
        str | None, typer.Option("--namespace", "-n", metavar="NAME", help="Only this namespace. Default: all.")
    ] = None,
    selector: Annotated[
        str | None, typer.Option("--selector", "-l", metavar="LABELS", help="Only objects with these labels.")
    ] = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Print the tasks and targets of a cluster as YAML for carillon import or kubectl apply.

    The output has names, labels, annotations and specs in a fixed order, and no status. Secrets are named but
    never read. The cluster is accessed with kubectl: the program that KUBECTL names, the kubectl on the PATH, or the
    one in the local cluster.
    """
    typer.echo(transfer.exported(_cluster(kubeconfig, context), namespace, selector), nl=False)


@app.command("import", short_help="Create the tasks and targets of a file in a cluster.")
def import_command(  # noqa: PLR0913  # a command's parameters are its options
    file: Annotated[str, typer.Argument(metavar="FILE", help="A YAML file, or - for standard input.")],
    namespace: Annotated[
        str | None,
        typer.Option(
            "--namespace", "-n", metavar="NAME", help="Create everything in this namespace. Default: as in the file."
        ),
    ] = None,
    *,
    existing: Annotated[
        importing.Existing, typer.Option("--existing", help="What to do with objects that already exist.")
    ] = importing.Existing.FAIL,
    suspended: Annotated[
        bool, typer.Option("--suspended", help="Suspend the tasks, for use while another cluster still runs them.")
    ] = False,
    skip_invalid: Annotated[
        bool, typer.Option("--skip-invalid", help="Write the valid objects, and list the invalid ones.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Let the cluster validate everything without writing.")
    ] = False,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> int:
    """Create the tasks and targets in a file, targets first.

    If any of them is invalid, nothing is written, unless --skip-invalid is set.

    The output says of each object whether it was written, also if the import stops, and ends with a summary. An
    imported task starts afresh: past slots are not run. If an import is interrupted, repeat it with
    --existing skip. The cluster is accessed with kubectl: the program that KUBECTL names, the kubectl on the PATH, or
    the one in the local cluster.

    Exit code 1 if something is invalid or already exists; 2 if the file or the cluster cannot be used, or the cluster
    refuses an object.
    """
    options = importing.ImportOptions(
        namespace=namespace, existing=existing, suspended=suspended, dry_run=dry_run, skip_invalid=skip_invalid
    )
    answer = importing.imported(file, _cluster(kubeconfig, context), datetime.now(UTC), options)
    for line in answer.lines:
        typer.echo(line)
    for problem in answer.problems:
        typer.echo(problem, err=True)
    return answer.code


@conversions.command("cronjob", short_help="Convert CronJobs into ScheduledTasks that run at the same times.")
def convert_cronjob(
    file: Annotated[
        str | None, typer.Argument(metavar="[FILE]", help="A YAML file with CronJobs, or - for standard input.")
    ] = None,
    namespace: Annotated[
        str | None,
        typer.Option("--namespace", "-n", metavar="NAME", help="Convert the CronJobs of this namespace instead."),
    ] = None,
    time_zone: Annotated[
        str | None,
        typer.Option(
            "--time-zone",
            "-z",
            metavar="ZONE",
            help="The time zone of kube-controller-manager, for CronJobs without timeZone. Default: UTC.",
        ),
    ] = None,
    start: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="Compare from this RFC 3339 time on. Default: now.")
    ] = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> int:
    """Print the ScheduledTasks of CronJobs as YAML for kubectl apply, and prove that they run at the same times.

    The fire times of both are computed independently for 400 days and compared. Standard error has one line for each
    CronJob with the result, one for each difference, and one for each field that has no equivalent. Times differ only
    where the clock of the time zone changes. Other kinds in the file are skipped. A cluster is reached through
    kubectl, or the program named by KUBECTL. Suspend or delete the CronJobs when the tasks are applied.

    Exit code 1 if a CronJob cannot be converted, or its times differ without an explanation; the others are printed.
    Exit code 2 if the file or the cluster cannot be used.
    """
    since = _instant(start, "--from")
    if file is not None and namespace is None:
        answer = cronjobs.of_file(file, time_zone, since)
    elif namespace is not None and file is None:
        answer = cronjobs.of_namespace(_cluster(kubeconfig, context), namespace, time_zone, since)
    else:
        raise InputError("name either a FILE or a --namespace, not both")
    typer.echo(answer.text, nl=False)
    for line in answer.lines():
        typer.echo(line, err=True)
    return 0 if answer.complete else INVALID


@keys.command("create", short_help="Create an API key and the manifest that registers it.")
def create_key(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the key: letters, digits and hyphens.")],
    user: Annotated[
        str,
        typer.Option(
            "--user",
            metavar="USER",
            help="User that the key authenticates, such as system:serviceaccount:team-a:ci. RBAC limits that user.",
        ),
    ],
    group: Annotated[
        list[str] | None, typer.Option("--group", metavar="GROUP", help="Group of that user. May be repeated.")
    ] = None,
    expires_at: Annotated[
        str | None, typer.Option("--expires-at", metavar="TIME", help="RFC 3339 time at which the key expires.")
    ] = None,
    previous_hash: Annotated[
        str | None,
        typer.Option("--previous-hash", metavar="sha256:HEX", help="Hash of the key to replace; both keys are valid."),
    ] = None,
    secret: Annotated[
        str, typer.Option("--secret", metavar="NAMESPACE/NAME", help="Secret with the keys.")
    ] = api_keys.SECRET,
) -> None:
    """Create an API key: print it once on standard error, and a manifest on standard output.

    The manifest contains a hash and the user, never the key. It is one data key of the Secret named by
    CARILLON_API_KEYS_SECRET. Apply it with a separate field manager for each key, so that the other keys are kept:

    carillon api-key create ci --user system:serviceaccount:team-a:ci
    | kubectl apply --server-side --field-manager carillon-api-key-ci -f -

    To replace a key without a gap, create one with the same name and --previous-hash of the old key, update the
    callers, and apply the manifest again without the old hash. To revoke a key, apply the Secret without it.
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


def _cluster(kubeconfig: str | None, context: str | None) -> Cluster:
    return Cluster(kubeconfig, context, kubectl_command(os.environ))


def _is_expression(what: str) -> bool:
    """Return whether the argument is a cron expression rather than a file's name."""
    if what == STDIN or _exists(what) or what.endswith((".yaml", ".yml", ".json")):
        return False
    return any(c.isspace() for c in what) or what.startswith("@") or "/" not in what


def _exists(name: str) -> bool:
    try:
        return Path(name).exists()
    except (OSError, ValueError):  # not a valid name
        return False


def _instant(text: str | None, option: str) -> datetime:
    """Return the time that the user wrote, or the current time."""
    if text is None:
        return datetime.now(UTC)
    try:
        when = datetime.fromisoformat(text)
        if when.tzinfo is None:
            raise InputError(f"{option} {text} has no time zone: write 2027-01-01T00:00:00Z, for example")
        when = when.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InputError(f"{option} {text!r} is not a time: write 2027-01-01T00:00:00Z, for example") from error
    first, last = YEARS
    if not first <= when.year < last:
        raise InputError(f"{option} {text} is out of range: write a time in the years {first} to {last - 1}")
    return when


def _print(answer: next_times.Answer) -> None:
    for line in answer.lines:
        typer.echo(line)
    for note in answer.notes:
        typer.echo(f"note: {note}", err=True)
