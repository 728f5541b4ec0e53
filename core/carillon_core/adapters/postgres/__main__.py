"""The command ``carillon-migrate``: migrates and maintains the database, and creates its roles."""

import argparse
import asyncio
import os
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Annotated

from pydantic import Field, SecretStr

from carillon_core.adapters.postgres import migrate
from carillon_core.adapters.postgres.maintenance import Changes, maintain
from carillon_core.adapters.postgres.roles import api_role, runner_role
from carillon_core.adapters.postgres.roles.namespace_login import RUNNER
from carillon_core.errors import SettingsError, UnavailableError
from carillon_core.logs import LEVELS, configure_logging, get_logger
from carillon_core.settings import (
    DATABASE_URL_FORM,
    MOST_RETENTION_DAYS,
    DatabaseURL,
    Form,
    HistorySettings,
    ProgramSettings,
)

WAIT_SECONDS = 60.0
BEHIND = 1
UNAVAILABLE = 1
MISCONFIGURED = 2

_CHARTS_KEYS = {
    RUNNER: "the Helm chart takes it from the key runner-database-url of the database's Secret",
    api_role.API: (
        "the Helm chart takes it from the key api-database-url of the database's Secret while database.apiRole is true"
    ),
}

log = get_logger("carillon_migrate")


class Variables(ProgramSettings):
    """The databases that ``carillon-migrate`` works on; ``maintain`` also reads ``HistorySettings``."""

    database_url: DatabaseURL = Field(
        validation_alias="DATABASE_URL", description="The database, with the login that owns the schema."
    )
    runner_database_url: Annotated[SecretStr | None, Form("a URL like DATABASE_URL")] = Field(
        default=None,
        validation_alias="CARILLON_RUNNER_DATABASE_URL",
        description="The same database with the user and the password for runners, which `runner-role` creates.",
    )
    api_database_url: Annotated[SecretStr | None, Form("a URL like DATABASE_URL")] = Field(
        default=None,
        validation_alias="CARILLON_API_DATABASE_URL",
        description="The same database with the user and the password for the API, which `api-role` creates.",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return 0, 1 (database unavailable, or not at the newest revision) or 2 (misconfigured)."""
    options = _parser().parse_args(argv)
    configure_logging(options.log_level, options.log_format)
    try:
        given = Variables.from_env(os.environ)
        url = given.database_url.get_secret_value()
        if options.command == "maintain":
            days: int | None = options.retention_days
            if days is None:
                days = HistorySettings.from_env(os.environ).history_retention_days
            changes = asyncio.run(maintain(url, _now, days))
            print(_told(changes))
            return 0
        if options.command == "runner-role":
            runner_url = _role_url(RUNNER, "runners", given.runner_database_url)
            print(*_runner_roles(url, runner_url, options.namespace), sep="\n")
            return 0
        if options.command == "api-role":
            print(*api_role.prepare(url, _role_url(api_role.API, "the API", given.api_database_url)), sep="\n")
            return 0
        if options.command == "upgrade":
            revision = migrate.upgrade(url, wait_seconds=options.wait)
            _prepare(url)
        elif options.command == "downgrade":
            revision = migrate.downgrade(url, options.revision, wait_seconds=options.wait)
        else:
            revision = migrate.current(url, wait_seconds=options.wait)
    except SettingsError as error:
        print(f"error: {error}", file=sys.stderr)
        return MISCONFIGURED
    except UnavailableError as error:
        print(f"error: {error}", file=sys.stderr)
        return UNAVAILABLE
    print(f"{revision.current or 'base'} ({'newest' if revision.is_head else f'newest: {revision.head}'})")
    return BEHIND if options.command == "current" and not revision.is_head else 0


def _runner_roles(url: str, runner_url: str, namespaces: Sequence[str]) -> Iterator[str]:
    if not namespaces:
        yield from runner_role.prepare(url, runner_url)
    for namespace in namespaces:
        yield from runner_role.prepare_namespace(url, runner_url, namespace)


def _prepare(url: str) -> None:
    """Run the maintenance without dropping months: an upgrade must not delete history."""
    try:
        asyncio.run(maintain(url, _now, 0))
    except UnavailableError as error:
        # the schema is upgraded, and the operator retries the maintenance
        log.warning("schema upgraded, but its maintenance failed; the operator will retry", why=str(error))


def _told(changes: Changes) -> str:
    left = {"left in the default partition": changes.left}
    counts = {"moved": changes.moved, **left, **{f"deleted from {table}": n for table, n in changes.deleted.items()}}
    why = "kept because executions run or have just ended"
    months = {"created": changes.created, "dropped": changes.dropped, why: changes.kept}
    told = [f"{what} {' '.join(names)}" for what, names in months.items() if names]
    told += [f"{what} {number}" for what, number in counts.items() if number]
    return "; ".join(told) or "nothing to do"


def _now() -> datetime:
    return datetime.now(UTC)


def _whole_days(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > MOST_RETENTION_DAYS:
        most = MOST_RETENTION_DAYS
        raise argparse.ArgumentTypeError(f'must be a number from 0 to {most} (got "{text}")')
    return int(text)


def _role_url(name: str, whose: str, url: SecretStr | None) -> str:
    if url is None:
        raise SettingsError(
            f"{name}: must be set to {DATABASE_URL_FORM}, with the user and the password for {whose};"
            f" {_CHARTS_KEYS[name]}"
        )
    return url.get_secret_value()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="carillon-migrate", description="Migrate and maintain the database of DATABASE_URL, and create its roles."
    )
    parser.add_argument("--log-level", choices=LEVELS, default="INFO")
    parser.add_argument("--log-format", choices=("text", "json"), default="text")
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("upgrade", help="upgrade the schema to the newest revision")
    down = commands.add_parser(
        "downgrade", help="downgrade the schema to a revision; data that it has no place for is lost"
    )
    down.add_argument("revision", help="the revision, or base for an empty schema")
    now = commands.add_parser("current", help="print the revision of the schema; exit with 1 if it is not the newest")
    keep = commands.add_parser("maintain", help="create partitions for the coming months and drop expired ones")
    keep.add_argument(
        "--retention-days",
        type=_whole_days,
        metavar="N",
        help="drop months that ended more than N days ago, 0: none (default: CARILLON_HISTORY_RETENTION_DAYS or 400)",
    )
    runner = commands.add_parser(
        "runner-role",
        help="create and verify the role of CARILLON_RUNNER_DATABASE_URL, which may only record executions",
    )
    runner.add_argument(
        "--namespace",
        action="append",
        default=[],
        metavar="NAME",
        help="create the role of this namespace's runners instead (CARILLON_RUNNER_LOGINS=namespace); may be repeated",
    )
    commands.add_parser(
        "api-role",
        help="create and verify the role of CARILLON_API_DATABASE_URL, which may only do what the API does",
    )
    for command, seconds in ((up, WAIT_SECONDS), (down, 0.0), (now, 0.0)):
        command.add_argument(
            "--wait",
            type=float,
            default=seconds,
            metavar="SECONDS",
            help=f"how long to wait for the database (default: {seconds:g})",
        )
    return parser


if __name__ == "__main__":
    sys.exit(main())
