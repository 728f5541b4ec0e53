"""The retry policy: which failures are retried, the waits, and how it is read from the environment."""

import itertools
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from carillon_core import contract
from carillon_core.errors import SettingsError
from carillon_core.resources.tasks import RetryPolicy as ResourcePolicy
from carillon_runner.environment import read_environment
from carillon_runner.retry import RetryPolicy, is_tried_again, parse_policy, retry_after_seconds

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
ENV = {
    contract.ENV_DATABASE_URL: "postgresql://db/carillon",
    contract.ENV_EXECUTION_TOKEN: "x",
    contract.ENV_EXECUTION_ID: "0b0b8a0e-1d0c-5c55-8a5e-4f0e3a1b2c3d",
    contract.ENV_TASK_UID: "6f9619ff-8b86-4011-b42d-00c04fc964ff",
    contract.ENV_TASK_NAMESPACE: "shop",
    contract.ENV_TASK_NAME: "report",
    contract.ENV_SLOT: "2026-01-01T00:05:00Z",
    contract.ENV_CAUSE: "manual",
    contract.ENV_TASK: '{"sum": {"a": 1, "b": 2}}',
    contract.ENV_TIMEOUT_SECONDS: "60",
    contract.ENV_JOB_NAME: "report-1767225900",
    contract.ENV_POD_NAME: "report-1767225900-x7k2p",
}


@pytest.mark.parametrize(
    ("policy", "want"),
    [
        ({}, [10, 20, 40, 80, 160, 320, 600, 600]),
        ({"initialDelaySeconds": 1, "factor": 1}, [1, 1, 1, 1]),
        ({"initialDelaySeconds": 5, "factor": 10, "maxDelaySeconds": 60}, [5, 50, 60, 60]),
        ({"initialDelaySeconds": 0}, [0, 0, 0, 0]),
        ({"initialDelaySeconds": 4, "factor": 1.5}, [4, 6, 9, 13.5]),
        ({"initialDelaySeconds": 100, "maxDelaySeconds": 7}, [7, 7]),
    ],
)
def test_the_waits_grow_to_their_limit(policy: dict[str, Any], want: list[float]) -> None:
    """The expected waits are in the table of the docstring."""
    parsed = parse_policy(json.dumps(policy))
    assert [parsed.wait_seconds(k + 1, None, 0) for k in range(len(want))] == want


def test_the_longest_policy_does_not_overflow() -> None:
    """There are twenty attempts, with waits that grow by a factor of ten."""
    policy = parse_policy('{"limit": 20, "factor": 10, "initialDelaySeconds": 86400, "maxDelaySeconds": 86400}')
    assert policy.wait_seconds(20, None, 0) == 86_400


@pytest.mark.parametrize(("share", "want"), [(0, 40), (0.5, 35), (1, 30)])
def test_jitter_only_shortens(share: float, want: float) -> None:
    """It shortens a wait by at most its share."""
    assert RetryPolicy(jitter=0.25, initial_delay_seconds=40).wait_seconds(1, None, share) == want


@pytest.mark.parametrize(("asked", "want"), [(None, 10), (5, 10), (25, 25), (5000, 5000)])
def test_what_the_server_asks_for_is_waited_for_if_it_is_longer(asked: float | None, want: float) -> None:
    """It may exceed the policy's maximum wait; the execution's timeout limits it."""
    assert RetryPolicy(max_delay_seconds=60).wait_seconds(1, asked, 0) == want


def test_as_many_attempts_as_the_limit_follow_the_first() -> None:
    """The default is no retries."""
    assert not RetryPolicy().leaves_attempt_after(1)
    numbers = itertools.takewhile(RetryPolicy(limit=3).leaves_attempt_after, itertools.count(1))
    assert list(numbers) == [1, 2, 3]


def test_what_the_operator_writes_is_read_whole() -> None:
    """The resource's model and the runner's policy agree, including the defaults."""
    ours = parse_policy(json.dumps(ResourcePolicy().model_dump(mode="json")))
    assert ours == RetryPolicy()
    given = ResourcePolicy(
        limit=3, initial_delay_seconds=2, factor=1.5, max_delay_seconds=9, jitter=0, attempt_timeout_seconds=4
    )
    assert parse_policy(json.dumps(given.model_dump(mode="json"))) == RetryPolicy(
        limit=3, initial_delay_seconds=2, factor=1.5, max_delay_seconds=9, jitter=0, attempt_timeout_seconds=4
    )


@pytest.mark.parametrize(
    ("reason", "want"),
    [
        ("Timeout", True),
        ("DNS", True),
        ("Connection", True),
        ("HTTP5xx", True),
        ("HTTPStatus", True),
        ("ValueError", True),
        ("HTTP4xx", False),
        ("InvalidRequest", False),
        ("TemplateFailed", False),
        ("SecretMissing", False),
        ("PluginNotFound", False),
        ("Overflow", False),
    ],
)
def test_what_would_fail_the_same_way_is_not_tried_again(reason: str, want: bool) -> None:  # noqa: FBT001  # a column
    """The class of the failure decides."""
    assert is_tried_again(reason) is want


@pytest.mark.parametrize(
    ("header", "want"),
    [
        ("120", 120),
        (" 0 ", 0),
        ("Thu, 01 Jan 2026 12:01:00 GMT", 60),
        ("Thu, 01 Jan 2026 11:59:00 GMT", 0),
        ("Thu, 01 Jan 2026 13:01:00 +0100", 60),
        ("9" * 400, 999_999_999_999),
        ("-5", None),
        ("soon", None),
        ("", None),
        ("٣", None),
        ("Thu, 99 Jan 9999999 12:01:00 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str, want: float | None) -> None:
    """RFC 9110, 10.2.3; an invalid value is ignored."""
    assert retry_after_seconds({"Retry-After": header}, NOW) == want
    assert retry_after_seconds({}, NOW) is None


def test_what_is_not_set_has_its_default() -> None:
    """An older operator does not set these variables."""
    environment = read_environment(ENV)
    assert environment.origin == environment.task_uid
    assert environment.retry == RetryPolicy()
    assert (environment.parameters, environment.time_zone, environment.secrets) == ({}, "UTC", {})


def test_what_is_set_is_read_and_hidden() -> None:
    """Parameters may be in several variables; secrets are unchanged, and not in the representation."""
    given = {
        contract.ENV_ORIGIN: "33333333-3333-4333-8333-333333333333",
        contract.ENV_RETRY: '{"limit": 2}',
        contract.ENV_PARAMETERS: '{"to',
        f"{contract.ENV_PARAMETERS}_1": 'ken": "hunter2"}',
        contract.ENV_TIME_ZONE: "Europe/Berlin",
        f"{contract.ENV_SECRET_PREFIX}0": "hunter2\n",
    }
    environment = read_environment({**ENV, **given})
    assert str(environment.origin) == given[contract.ENV_ORIGIN]
    assert environment.retry == RetryPolicy(limit=2)
    assert environment.parameters == {"token": "hunter2"}
    assert environment.time_zone == "Europe/Berlin"
    assert environment.secrets == {"CARILLON_SECRET_0": "hunter2\n"}
    assert "hunter2" not in repr(environment)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (contract.ENV_ORIGIN, "seventeen"),
        (contract.ENV_PARAMETERS, "[]"),
        (contract.ENV_PARAMETERS, '{"hunter2": NaN}'),
        *(
            (contract.ENV_RETRY, text)
            for text in (
                '"hunter2"',
                '{"limit": -1}',
                '{"limit": 1.5}',
                '{"limit": true}',
                '{"limit": "3"}',
                '{"factor": 1e999}',
                '{"jitter": 1.5}',
                '{"attemptTimeoutSeconds": 0}',
            )
        ),
    ],
)
def test_what_cannot_be_read_is_named(name: str, value: str) -> None:
    """The message does not contain the value."""
    with pytest.raises(SettingsError, match=f"^{name} ") as caught:
        read_environment({**ENV, name: value})
    assert "hunter2" not in str(caught.value)
