"""``dryRun=All`` in the query of a write: judge it, and change nothing. The parameter is Kubernetes' own."""

from urllib.parse import parse_qsl

from starlette.types import Scope

from carillon_api.http.problems import malformed

DRY_RUN = "dryRun"
ALL = "All"
WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})


def mentions_dry_run(scope: Scope) -> bool:
    """Return whether a write asks for a dry run, rightly or wrongly written."""
    return scope["method"] in WRITES and bool(_given(scope))


def is_dry_run(scope: Scope) -> bool:
    """Return whether a write is to be judged only; reads are never dry runs.

    Raises:
        RequestRefusedError: As 400, if the parameter has another value, or a name that only looks like it: to ignore
            ``dryrun=All`` would make the change that the caller wants to avoid.

    """
    given = _given(scope) if scope["method"] in WRITES else []
    for name, value in given:
        if name != DRY_RUN:
            raise malformed(DRY_RUN, f"must be spelled {DRY_RUN} (got {name[:20]}): write {DRY_RUN}={ALL}")
        if value != ALL:
            raise malformed(DRY_RUN, f"must be {ALL}: write {DRY_RUN}={ALL}, or leave it out to make the change")
    return bool(given)


def _given(scope: Scope) -> list[tuple[str, str]]:
    pairs = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    return [pair for pair in pairs if pair[0].casefold().replace("_", "").replace("-", "") == DRY_RUN.casefold()]
