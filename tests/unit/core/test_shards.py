"""The division of tasks among several operators, and the settings of shards and the Lease."""

from uuid import NAMESPACE_DNS, uuid5

import pytest

from carillon_core.domain.shard import Shard
from carillon_core.errors import SettingsError
from carillon_operator.settings import Settings

NEEDED = {"DATABASE_URL": "postgresql://u:p@x/y", "CARILLON_RUNNER_IMAGE": "runner:1"}


UIDS = [str(uuid5(NAMESPACE_DNS, str(number))) for number in range(1000)]
"""Random uids, the same in each run."""


@pytest.mark.parametrize("count", [1, 2, 3, 7, 10, 64, 100])
def test_each_uid_has_exactly_one_shard(count: int) -> None:
    """For any number of shards, each object has exactly one owner."""
    for uid in [*UIDS, "", "no uid at all", "ü"]:
        assert sum(Shard(index, count).owns(uid) for index in range(count)) == 1


def test_the_shard_of_a_uid_never_changes() -> None:
    """Operators of different versions must agree; the expected values were computed with sha256sum."""
    owners = {
        "00000000-0000-0000-0000-000000000000": 0,
        "123e4567-e89b-12d3-a456-426614174000": 3,
    }
    for uid, want in owners.items():
        assert [index for index in range(7) if Shard(index, 7).owns(uid)] == [want]


def test_shards_are_of_about_the_same_size() -> None:
    """With a thousand tasks in four shards, none has less than half of its share."""
    assert all(sum(map(Shard(index, 4).owns, UIDS)) > 125 for index in range(4))


def test_without_settings_the_operator_decides_alone_about_all() -> None:
    """There is no Lease and one shard, as in `make run`."""
    made = Settings.from_env(NEEDED)
    assert (made.lease, made.shard) == (None, Shard(0, 1))


LEASE = {"CARILLON_LEASE_NAMESPACE": "carillon-system"}
LEASES: dict[str, tuple[dict[str, str], tuple[str, int, str]]] = {
    "the namespace alone": (LEASE, ("carillon-operator", 6, "")),
    "another name and length": (
        LEASE | {"CARILLON_LEASE_NAME": "mine", "CARILLON_LEASE_SECONDS": "15"},
        ("mine", 15, ""),
    ),
    "the pod's name": (LEASE | {"CARILLON_POD_NAME": "operator-7f-x"}, ("carillon-operator", 6, "operator-7f-x")),
    "one of three shards": (
        LEASE | {"CARILLON_SHARDS": "3", "CARILLON_SHARD": "2"},
        ("carillon-operator-2", 6, ""),
    ),
}


@pytest.mark.parametrize(("env", "want"), LEASES.values(), ids=LEASES.keys())
def test_the_lease_is_as_the_settings_say(env: dict[str, str], want: tuple[str, int, str]) -> None:
    """Two processes without a configured name have different identities."""
    lease = Settings.from_env(NEEDED | env).lease
    assert lease is not None
    name, seconds, identity = want
    assert (lease.namespace, lease.name, lease.seconds) == ("carillon-system", name, seconds)
    if identity:
        assert lease.identity == identity
        return
    other = Settings.from_env(NEEDED | env).lease
    assert other is not None
    assert lease.identity != other.identity


WRONG: dict[str, tuple[dict[str, str], str]] = {
    "a namespace that none can be": (
        {"CARILLON_LEASE_NAMESPACE": "My Space"},
        "CARILLON_LEASE_NAMESPACE: must be a name of at most 63 lower-case letters",
    ),
    "a name that none can be": (LEASE | {"CARILLON_LEASE_NAME": "a/b"}, "CARILLON_LEASE_NAME: must be a name"),
    "a Lease too short for a second try": (
        LEASE | {"CARILLON_LEASE_SECONDS": "2"},
        'CARILLON_LEASE_SECONDS: must be a number from 3 to 3600 (got "2")',
    ),
    "no shards": ({"CARILLON_SHARDS": "0"}, 'CARILLON_SHARDS: must be a number from 1 to 100 (got "0")'),
    "a shard beyond the last": (
        {"CARILLON_SHARDS": "2", "CARILLON_SHARD": "2"},
        'CARILLON_SHARD: must be a number from 0 to 1, as CARILLON_SHARDS is 2 (got "2")',
    ),
    "a shard of one": (
        {"CARILLON_SHARD": "1"},
        'CARILLON_SHARD: must be a number from 0 to 0, as CARILLON_SHARDS is 1 (got "1")',
    ),
}


@pytest.mark.parametrize(("env", "want"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_setting_is_named_with_its_mend(env: dict[str, str], want: str) -> None:
    """The operator does not start with an unintended part of the tasks."""
    with pytest.raises(SettingsError) as error:
        Settings.from_env(NEEDED | env)
    assert want in str(error.value)
