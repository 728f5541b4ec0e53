"""How settings are read from the environment: by name, with an error that names the variable and the mend."""

import re
from collections.abc import Mapping, Sequence

from carillon_core.domain.scope import SETTING, Scope
from carillon_core.errors import SettingsError

RETENTION_DAYS = 400
"""How long the history is kept unless it is said otherwise."""
MOST_RETENTION_DAYS = 36_500
DATABASE_URL_MEND = (
    "set it to the database's URL, postgresql://user:password@host:5432/name; the Helm chart takes it from the key"
    " database-url of the Secret that database.existingSecret names"
)

_DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def required(env: Mapping[str, str], name: str, mend: str) -> str:
    """Return a variable that must be set, or raise ``SettingsError`` with the mend."""
    value = env.get(name, "").strip()
    if not value:
        raise SettingsError(f"{name} is not set: {mend}")
    return value


def positive_int(env: Mapping[str, str], name: str, default: int, most: int = 2**31 - 1) -> int:
    """Return a variable as a whole number from 1 to ``most``, or the default if it is unset."""
    return whole_number(env, name, default, 1, most)


def whole_number(env: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    """Return a variable as a whole number from ``least`` to ``most``, or the default if it is unset."""
    text = env.get(name, "").strip()
    if not text:
        return default
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if not least <= value <= most:
        raise SettingsError(f"{name} is {text!r}: set it to a whole number from {least} to {most}")
    return value


def retention_days(env: Mapping[str, str]) -> int:
    """Return ``CARILLON_HISTORY_RETENTION_DAYS``, which the operator and ``carillon-migrate`` share; 0 is for ever."""
    return whole_number(env, "CARILLON_HISTORY_RETENTION_DAYS", RETENTION_DAYS, 0, MOST_RETENTION_DAYS)


def scope(env: Mapping[str, str]) -> Scope:
    """Return ``CARILLON_NAMESPACES``, the namespaces by commas that operator and facade are for; unset, all.

    Raises:
        SettingsError: One is no namespace's name or is named twice, or there are commas alone: who gives a list does
            not mean all.

    """
    text = env.get(SETTING, "").strip()
    if not text:
        return Scope()
    found = [word for part in text.split(",") if (word := part.strip())]
    for name in found:
        if not _DNS_LABEL.fullmatch(name):
            mend = "write at most 63 lower-case letters, digits and hyphens for each, such as team-a,team-b"
            raise SettingsError(f"{SETTING} has {name!r}, which no namespace can be called: {mend}")
        if found.count(name) > 1:
            raise SettingsError(f"{SETTING} has {name!r} twice: name each namespace once")
    if not found:
        raise SettingsError(f"{SETTING} is {text!r} and names no namespace: name some, or unset it to mean all")
    return Scope(tuple(sorted(found)))


def choice(env: Mapping[str, str], name: str, options: Sequence[str], default: str) -> str:
    """Return a variable that has a fixed set of values, or the default if it is unset."""
    text = env.get(name, "").strip()
    if not text:
        return default
    if text not in options:
        raise SettingsError(f"{name} is {text!r}: set it to one of {', '.join(options)}")
    return text
