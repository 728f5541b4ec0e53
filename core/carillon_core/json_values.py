"""Counts the values of a JSON text before it is parsed; for the servers that read bodies of clients they do not know.

A few bytes can become a value of a hundred times their size, and an error
message for each.
"""

import re

# a string without an end matches to the end of the text, so that no quote is tried twice
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)


def has_more_values(data: bytes, most: int) -> bool:
    """Return whether JSON has more than ``most`` values, each after the beginning, a bracket, a brace or a comma.

    Only what is outside of strings counts. Nothing is copied, and the search
    ends with the first value too many, or with more strings than that many
    values and their keys can be.
    """
    if _beginnings(data, 0, len(data)) < most:
        return False
    count, at = 1, 0
    for number, string in enumerate(_STRING.finditer(data)):
        count += _beginnings(data, at, string.start())
        if count > most or number >= 2 * most:
            return True
        at = string.end()
    return count + _beginnings(data, at, len(data)) > most


def _beginnings(data: bytes, start: int, end: int) -> int:
    return data.count(b",", start, end) + data.count(b"[", start, end) + data.count(b"{", start, end)
