"""The setting with the served namespaces, and its effect on operator and facade."""

from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import pytest

from carillon_api.settings import Settings as FacadeSettings
from carillon_core.domain.scope import Scope
from carillon_core.errors import SettingsError
from carillon_operator.admission.admission import webhook_configuration
from carillon_operator.gather.handlers import kopf_settings
from carillon_operator.settings import Settings
from carillon_operator.webhook_settings import WebhookSettings

NEEDED = {"DATABASE_URL": "postgresql://u:p@x/y", "CARILLON_RUNNER_IMAGE": "runner:1"}
READ: dict[str, tuple[str, tuple[str, ...]]] = {
    "nothing means all": ("", ()),
    "blanks mean nothing": ("  ", ()),
    "one": ("team-a", ("team-a",)),
    "some, in order whatever their order was": ("team-b, team-a", ("team-a", "team-b")),
    "a comma too many": ("team-a,", ("team-a",)),
    "a number": ("2026", ("2026",)),
    "a name of 63 characters": ("a" * 63, ("a" * 63,)),
}


@pytest.mark.parametrize("case", READ)
def test_operator_and_facade_read_the_same_list(case: str) -> None:
    """Both read the same variable."""
    text, want = READ[case]
    env = NEEDED | {"CARILLON_NAMESPACES": text}
    assert Settings.from_env(env).scope == FacadeSettings.from_env(env).scope == Scope(want)


WRONG: dict[str, tuple[str, str]] = {
    "a capital": ("Team", "CARILLON_NAMESPACES: must be names of at most 63 lower-case letters"),
    "a pattern": ("team-*", '(got "team-*")'),
    "blanks for commas": ("team-a team-b", '(got "team-a team-b")'),
    "a name of 64 characters": ("a" * 64, "CARILLON_NAMESPACES: must be names of at most 63"),
    "a hyphen at the end": ("team-", '(got "team-")'),
    "one twice": ("team-a,team-b,team-a", 'CARILLON_NAMESPACES: lists "team-a" twice: list each namespace once'),
    "commas alone, which do not mean all": (
        " , ",
        'CARILLON_NAMESPACES: lists no namespace: list at least one, or unset it to serve all (got ",")',
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_list_is_refused_with_the_mend(case: str) -> None:
    """Otherwise, an operator would serve other namespaces than intended."""
    text, want = WRONG[case]
    for read in (Settings.from_env, FacadeSettings.from_env):
        with pytest.raises(SettingsError) as refused:
            read(NEEDED | {"CARILLON_NAMESPACES": text})
        assert want in str(refused.value)


def test_the_facades_default_namespace_is_one_of_the_list() -> None:
    """The default is the first; a namespace outside the list is rejected."""
    env = NEEDED | {"CARILLON_NAMESPACES": "team-b,team-a"}
    assert FacadeSettings.from_env(env).default_namespace == "team-a"
    chosen = env | {"CARILLON_DEFAULT_NAMESPACE": "team-b"}
    assert FacadeSettings.from_env(chosen).default_namespace == "team-b"
    hint = r'CARILLON_DEFAULT_NAMESPACE: must be in CARILLON_NAMESPACES, one of team-a, team-b \(got "default"\)'
    with pytest.raises(SettingsError, match=f"^{hint}$"):
        FacadeSettings.from_env(env | {"CARILLON_DEFAULT_NAMESPACE": "default"})


def test_a_scope_is_all_or_its_list() -> None:
    """It knows its namespaces, the lists to make, and its description."""
    everything, some = Scope(), Scope(("a", "b"))
    assert (everything.places, some.places) == ((None,), ("a", "b"))
    assert everything.holds("c")
    assert [name for name in "abc" if some.holds(name)] == ["a", "b"]
    assert [str(Scope(tuple("abcdefghijkl"[:many]))) for many in (0, 2, 11)] == [
        "all",
        "a, b",
        "a, b, c, d, e, f, g, h, i, j and 1 more",
    ]


def test_the_webhook_is_asked_in_the_list_alone() -> None:
    """The API server's label of each namespace selects them; without a list, all are selected."""
    settings = WebhookSettings(port=9443, cert_file=Path("c"), key_file=Path("k"), host="127.0.0.1")
    given = {"url": "https://127.0.0.1:9443"}
    for hook in webhook_configuration(settings, given, Scope(("a", "b")))["webhooks"]:
        expression = {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["a", "b"]}
        assert hook["namespaceSelector"] == {"matchExpressions": [expression]}
    for scope in (None, Scope()):
        assert all("namespaceSelector" not in h for h in webhook_configuration(settings, given, scope)["webhooks"])


def test_with_a_list_kopf_tries_a_call_for_ever() -> None:
    """Otherwise, one unreadable namespace would end kopf and the observation of the others."""
    bounded, endless = (kopf_settings(endless=endless).networking.error_backoffs for endless in (False, True))
    assert isinstance(bounded, tuple)
    assert isinstance(endless, Iterable)
    for _ in range(2):  # each call has its own waits
        waits = list(islice(endless, 100))
        assert (waits[: len(bounded)], waits[-1]) == ([*bounded], 8.0)
