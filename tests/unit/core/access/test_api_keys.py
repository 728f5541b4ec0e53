"""API keys: their form, their stored hashes, and the users that they may authenticate."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from carillon_core.domain.access.api_keys import (
    APIKeyEntry,
    InvalidEntryError,
    entry,
    entry_json,
    hash_of,
    name_of,
    new_key,
    parse_entry,
    verified,
)
from carillon_core.domain.access.subjects import Subject

NOW = datetime(2026, 3, 1, tzinfo=UTC)
USER = "system:serviceaccount:team-a:ci"


def test_a_key_has_a_name_and_190_random_bits() -> None:
    """Keys are unique and contain their name."""
    keys = {new_key("ci-1") for _ in range(100)}
    assert len(keys) == 100
    assert {name_of(key) for key in keys} == {"ci-1"}
    assert {len(key.removeprefix("crl_ci-1_")) for key in keys} == {32}
    assert all(key.removeprefix("crl_ci-1_").isalnum() for key in keys)


@pytest.mark.parametrize("name", ["", "CI", "a_b", "-a", "a-", "a.b", "a" * 64, "a\n"])
def test_a_name_that_no_key_can_have_is_refused(name: str) -> None:
    """The name is part of the key, between underscores, and a data key of the Secret."""
    with pytest.raises(ValueError, match="is not a valid key name"):
        new_key(name)


NO_KEYS = [
    "",
    "crl_",
    "crl_ci_",
    "crl_ci_" + "a" * 31,
    "crl_ci_" + "a" * 33,
    "CRL_ci_" + "a" * 32,
    "x crl_ci_" + "a" * 32,
]


@pytest.mark.parametrize("text", [*NO_KEYS, "crl_ci_" + "a" * 32 + "\n", "crl_ci_" + "é" * 32])
def test_what_has_not_the_form_of_a_key_has_no_name(text: str) -> None:
    """No entry is looked up for it."""
    assert name_of(text) is None


KEY, OTHER = new_key("ci"), new_key("ci")
ENTRIES = {
    "ci": entry([hash_of(KEY)], USER, [], None),
    "both": entry([hash_of("crl_both_" + "a" * 32), hash_of("crl_both_" + "b" * 32)], USER, [], None),
    "old": entry([hash_of("crl_old_" + "a" * 32)], USER, [], NOW),
    "soon": entry([hash_of("crl_soon_" + "a" * 32)], USER, [], NOW + timedelta(microseconds=1)),
}
GIVEN: dict[str, tuple[str, str | None]] = {
    "the key": (KEY, "ci"),
    "another secret": (OTHER, None),
    "another name": (KEY.replace("crl_ci_", "crl_both_"), None),
    "a name that nobody knows": ("crl_none_" + "a" * 32, None),
    "the first of two": ("crl_both_" + "a" * 32, "both"),
    "the second of two": ("crl_both_" + "b" * 32, "both"),
    "one that has expired": ("crl_old_" + "a" * 32, None),
    "one that will": ("crl_soon_" + "a" * 32, "soon"),
    "its hash": (hash_of(KEY), None),
    "nothing": ("", None),
}


@pytest.mark.parametrize("case", GIVEN)
def test_which_keys_are_let_in(case: str) -> None:
    """The name and one of at most two hashes must match, and the key must not have expired."""
    key, want = GIVEN[case]
    assert verified(key, ENTRIES, NOW) == (ENTRIES[want] if want else None)


@pytest.mark.parametrize("case", GIVEN)
def test_every_key_costs_the_same_comparisons(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of a refusal does not reveal whether a name is known."""
    compared: list[tuple[str, str]] = []

    def compare(first: str, second: str) -> bool:
        compared.append((first, second))
        return first == second

    monkeypatch.setattr("hmac.compare_digest", compare)
    verified(GIVEN[case][0], ENTRIES, NOW)
    assert [len(known) for _, known in compared] == [len(hash_of(""))] * 2


def stored(**changes: Any) -> bytes:
    """Return a valid value of the Secret, with changes; None removes a field."""
    value = {"hashes": [hash_of(KEY)], "user": USER, **changes}
    return json.dumps({k: v for k, v in value.items() if v is not None}).encode()


SERVICE = ("system:authenticated", "system:serviceaccounts", "system:serviceaccounts:team-a")
SOUND: dict[str, tuple[bytes, APIKeyEntry]] = {
    "a service account": (stored(), APIKeyEntry((hash_of(KEY),), Subject(USER, SERVICE))),
    "a user": (stored(user="a@b"), APIKeyEntry((hash_of(KEY),), Subject("a@b", ("system:authenticated",)))),
    "with groups": (
        stored(user="a@b", groups=["dev", "system:authenticated"]),
        APIKeyEntry((hash_of(KEY),), Subject("a@b", ("dev", "system:authenticated"))),
    ),
    "with an end": (
        stored(user="a@b", expiresAt="2026-03-01T01:00:00+01:00"),
        APIKeyEntry((hash_of(KEY),), Subject("a@b", ("system:authenticated",)), NOW),
    ),
}


@pytest.mark.parametrize("case", SOUND)
def test_a_sound_entry_is_read(case: str) -> None:
    """The groups that the cluster gives every user are added."""
    value, want = SOUND[case]
    assert parse_entry(value) == want


BAD: dict[str, bytes] = {
    "nothing": b"",
    "no JSON": b"{",
    "no UTF-8": b"\xff",
    "a list": b"[]",
    "no user": stored(user=None),
    "an empty user": stored(user=""),
    "a user with a line's end": stored(user="a\r\nImpersonate-Group: system:masters"),
    "a user beyond ASCII": stored(user="é"),
    "no hash": stored(hashes=[]),
    "three hashes": stored(hashes=[hash_of(KEY)] * 3),
    "the key itself": stored(hashes=[KEY]),
    "a hash in capitals": stored(hashes=[hash_of(KEY).upper()]),
    "a shorter hash": stored(hashes=[hash_of(KEY)[:-1]]),
    "an unknown field": stored(admin=True),
    "an end without a zone": stored(expiresAt="2026-03-01T00:00:00"),
    "an administrator": stored(groups=["system:masters"]),
    "a node's group": stored(groups=["system:nodes"]),
    "nobody's group": stored(groups=["system:unauthenticated"]),
    "a node": stored(user="system:node:one"),
    "the controller manager": stored(user="system:kube-controller-manager"),
    "the scheduler": stored(user="system:kube-scheduler"),
    "a group with a line's end": stored(groups=["a\nb"]),
    "a group that is a number": stored(groups=[5]),
}


@pytest.mark.parametrize("case", BAD)
def test_an_entry_that_cannot_be_used_is_refused(case: str) -> None:
    """The message contains neither a key nor a hash."""
    with pytest.raises(InvalidEntryError) as refused:
        parse_entry(BAD[case])
    assert KEY not in str(refused.value)
    assert hash_of(KEY)[10:20] not in str(refused.value)


def test_what_is_written_is_read_again() -> None:
    """The groups that reading adds are not written."""
    made = entry([hash_of(KEY)], USER, ["dev"], NOW)
    text = entry_json(made, ["dev"])
    assert parse_entry(text.encode()) == made
    assert json.loads(text)["groups"] == ["dev"]
