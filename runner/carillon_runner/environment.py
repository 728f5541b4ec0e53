"""The environment variables that the operator sets for a runner, read once by ``__main__``."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar
from uuid import UUID

from carillon_core import contract
from carillon_core.errors import SettingsError
from carillon_runner.retry import RetryPolicy, parse_policy

if TYPE_CHECKING:
    from carillon_core.domain.egress.rules import AllowList

T = TypeVar("T")

MAX_TIMEOUT_SECONDS = 366 * 86_400
HINT = "the operator sets this variable; to start a runner by hand, see carillon_core.contract"


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """One execution, as the operator described it."""

    record_url: str = field(repr=False)
    """Where to record: a recorder's ``https://`` or ``http://`` URL, or a libpq URL, which contains a password."""
    token: str = field(repr=False)
    """Permits recording this execution. Only the database reads it."""
    execution_id: UUID
    task_uid: UUID
    origin: UUID
    """The uid of the task, or of the RunRequest that asked for the execution."""
    namespace: str
    task: str
    """The task's name."""
    task_type: str
    """The task type of ``spec.task``. This runner may not know it."""
    spec: Mapping[str, Any] = field(repr=False)
    """The fields below the task type. May contain secrets."""
    slot: datetime
    cause: str
    timeout_seconds: float
    job_name: str
    pod_name: str
    termination_log: str | None
    """The file for the termination message. None: ``contract.TERMINATION_LOG``, if it exists."""
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    parameters: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Available to templates as ``parameters``."""
    time_zone: str = "UTC"
    """For templates. May be unknown on this machine."""
    recorder_ca: str | None = field(default=None, repr=False)
    """PEM certificates that the recorder's must be signed by. None: those that the image trusts."""
    claim_seconds: float = 300
    """How long to wait until the execution can be claimed."""
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Variables that contain secrets, by name; the task's spec refers to them."""
    http_allow: "AllowList | None" = None
    """Addresses that the http task may reach besides public ones. None: no others."""


def read_environment(env: Mapping[str, str]) -> Environment:
    """Return the execution that these variables describe.

    Raises:
        SettingsError: A variable is missing or invalid; the message names it and contains no secret.

    """
    whole = _joined(_joined(env, contract.ENV_TASK), contract.ENV_PARAMETERS)
    task_type, spec = _read(whole, contract.ENV_TASK, _task, "a JSON object with exactly one task type", secret=True)
    timeout_seconds = _read(
        env, contract.ENV_TIMEOUT_SECONDS, _timeout, f"a number of seconds above 0, at most {MAX_TIMEOUT_SECONDS}"
    )
    return Environment(
        record_url=_record_url(env),
        token=_read(env, contract.ENV_EXECUTION_TOKEN, str, "the token that the operator created", secret=True),
        execution_id=_read(env, contract.ENV_EXECUTION_ID, UUID, "a UUID"),
        task_uid=_read(env, contract.ENV_TASK_UID, UUID, "a UUID"),
        origin=_read(
            env, contract.ENV_ORIGIN if env.get(contract.ENV_ORIGIN) else contract.ENV_TASK_UID, UUID, "a UUID"
        ),
        namespace=_read(env, contract.ENV_TASK_NAMESPACE, str, "a name"),
        task=_read(env, contract.ENV_TASK_NAME, str, "a name"),
        task_type=task_type,
        spec=spec,
        slot=_read(env, contract.ENV_SLOT, _instant, "an RFC 3339 time with a time zone"),
        # not checked against Cause: an older runner image has to run what a newer operator launches
        cause=_read(env, contract.ENV_CAUSE, str, "a word"),
        timeout_seconds=timeout_seconds,
        job_name=_read(env, contract.ENV_JOB_NAME, str, "a name"),
        pod_name=_read(env, contract.ENV_POD_NAME, str, "a name"),
        termination_log=env.get(contract.ENV_TERMINATION_LOG) or None,
        retry=_read_optional(env, contract.ENV_RETRY, parse_policy, "a retry policy as JSON", RetryPolicy()),
        parameters=_read_optional(whole, contract.ENV_PARAMETERS, _json_object, "a JSON object", {}),
        time_zone=_read_optional(env, contract.ENV_TIME_ZONE, str, "a name", "UTC"),
        recorder_ca=env.get(contract.ENV_RECORDER_CA, "").strip() or None,
        claim_seconds=_read_optional(
            env, contract.ENV_CLAIM_SECONDS, _timeout, "a number of seconds above 0", timeout_seconds
        ),
        secrets={name: value for name, value in env.items() if name.startswith(contract.ENV_SECRET_PREFIX)},
        http_allow=_allow_list(env),
    )


def _allow_list(env: Mapping[str, str]) -> "AllowList | None":
    if not env.get(contract.ENV_HTTP_ALLOW, "").strip():
        return None
    from carillon_core.domain.egress.rules import read_allow_list  # noqa: PLC0415  # set only for HTTP tasks

    return read_allow_list(env)


def _joined(env: Mapping[str, str], name: str) -> Mapping[str, str]:
    """Return the environment with the parts of a variable joined."""
    parts = [env.get(name, "")]
    while (part := env.get(f"{name}_{len(parts)}")) is not None:
        parts.append(part)
    return {**env, name: "".join(parts)} if len(parts) > 1 else env


def _read_optional(env: Mapping[str, str], name: str, parse: Callable[[str], T], what: str, default: T) -> T:
    return _read(env, name, parse, what, secret=True) if env.get(name, "").strip() else default


def _read(env: Mapping[str, str], name: str, parse: Callable[[str], T], what: str, *, secret: bool = False) -> T:
    text = env.get(name, "").strip()
    if not text:
        raise SettingsError(f"{name} is not set: {HINT}")
    try:
        return parse(text)
    except (ValueError, RecursionError):
        shown = "cannot be read" if secret else f"is {text[:100]!r}"
        raise SettingsError(f"{name} {shown}: must be {what}; {HINT}") from None


def _record_url(env: Mapping[str, str]) -> str:
    if env.get(contract.ENV_RECORDER_URL, "").strip():
        return _read(env, contract.ENV_RECORDER_URL, _recorder_url, "an https:// or http:// URL", secret=True)
    return _read(env, contract.ENV_DATABASE_URL, _postgres_url, "a postgresql:// URL", secret=True)


def _recorder_url(text: str) -> str:
    if not re.fullmatch(r"https?://[^\s/?#@]+/?", text):
        raise ValueError
    return text.rstrip("/")


def _postgres_url(text: str) -> str:
    rest, found = re.subn(r"^postgres(ql)?(\+psycopg)?://", "postgresql://", text, count=1)
    if not found:
        raise ValueError
    return rest


def _instant(text: str) -> datetime:
    when = datetime.fromisoformat(text)
    if when.tzinfo is None:
        raise ValueError
    return when


def _timeout(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds <= MAX_TIMEOUT_SECONDS:
        raise ValueError
    return seconds


def _task(text: str) -> tuple[str, Mapping[str, Any]]:
    task = _json_object(text)
    if len(task) != 1:
        raise ValueError
    ((task_type, spec),) = task.items()
    if not task_type or not isinstance(spec, dict):
        raise ValueError
    return task_type, spec


def _json_object(text: str) -> Mapping[str, Any]:
    value = json.loads(text, parse_constant=_refuse_constant)
    if not isinstance(value, dict):
        raise ValueError  # noqa: TRY004  # one kind of error for ``_read``: the text is invalid
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)
