"""Kubernetes' rules for names: each case is accepted as a label, as a subdomain, or as neither."""

import re

import pytest

from carillon_core.name_patterns import LABEL_WORD, is_dns_label, is_dns_subdomain

NAMES = {
    "letters and digits": ("a1", True, True),
    "hyphens inside": ("nightly--report", True, True),
    "the longest label": ("a" * 63, True, True),
    "a long label is a subdomain": ("a" * 64, False, True),
    "dots": ("a.b-c.d", False, True),
    "the longest subdomain": ("a." * 126 + "a", False, True),
    "too long": ("a" * 254, False, False),
    "empty": ("", False, False),
    "a hyphen first": ("-a", False, False),
    "a hyphen last": ("a-", False, False),
    "a part that ends with a hyphen": ("a-.b", False, False),
    "an empty part": ("a..b", False, False),
    "a capital": ("A", False, False),
    "an underscore": ("a_b", False, False),
    "a slash": ("a/b", False, False),
    "a line break last": ("a\n", False, False),
    "a letter outside ASCII": ("é", False, False),
}


@pytest.mark.parametrize(("name", "label", "subdomain"), NAMES.values(), ids=NAMES)
def test_names(name: str, label: bool, subdomain: bool) -> None:  # noqa: FBT001  # a case
    """A label has at most 63 characters and no dot; a subdomain has at most 253."""
    assert (is_dns_label(name), is_dns_subdomain(name)) == (label, subdomain)


@pytest.mark.parametrize(
    ("word", "valid"), {"A_b.c-1": True, "a" * 63: True, "a" * 64: False, "": False, "_a": False}.items()
)
def test_words_of_labels(word: str, valid: bool) -> None:  # noqa: FBT001  # a case
    """Capitals, dots and underscores are allowed inside."""
    assert (re.fullmatch(LABEL_WORD, word) is not None) == valid
