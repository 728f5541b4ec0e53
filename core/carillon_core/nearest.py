"""Finds the name that a misspelt one was meant to be, for "did you mean". Pure; its work is bounded."""

import re
from collections.abc import Iterable
from difflib import get_close_matches

LONGEST = 64
"""The maximum number of characters of a name that is compared: no name of ours is as long."""
_SEPARATORS = re.compile(r"[-_ ]")


def nearest(name: str, candidates: Iterable[str], cutoff: float) -> str | None:
    """Return the candidate that is most like a name, or None if none is like it.

    Case, hyphens, underscores and spaces do not count. A candidate that begins with the name is like it.

    Args:
        name: The name that a user wrote, of any length.
        candidates: At most some hundred short names.
        cutoff: How alike they must be, from 0 to 1; see ``difflib.get_close_matches``.

    """
    if not name or len(name) > LONGEST:
        return None
    known = {_plain(candidate): candidate for candidate in sorted(candidates, reverse=True)}
    wanted = _plain(name)
    if wanted in known:
        return known[wanted]
    longer = [each for each in known if each.startswith(wanted)] if len(wanted) > len("cpu") else []
    found = longer if len(longer) == 1 else get_close_matches(wanted, known, n=1, cutoff=cutoff)
    return known[found[0]] if found else None


def _plain(name: str) -> str:
    return _SEPARATORS.sub("", name).lower()
