"""How settings are read from the environment: by name, with an error that names the variable and the mend."""

from collections.abc import Mapping, Sequence

from carillon_core.errors import SettingsError


def required(env: Mapping[str, str], name: str, mend: str) -> str:
    """Return a variable that must be set, or raise ``SettingsError`` with the mend."""
    value = env.get(name, "").strip()
    if not value:
        raise SettingsError(f"{name} is not set: {mend}")
    return value


def positive_int(env: Mapping[str, str], name: str, default: int, most: int = 2**31 - 1) -> int:
    """Return a variable as a whole number from 1 to ``most``, or the default if it is unset."""
    text = env.get(name, "").strip()
    if not text:
        return default
    try:
        value = int(text)
    except ValueError:
        value = 0
    if not 1 <= value <= most:
        raise SettingsError(f"{name} is {text!r}: set it to a whole number from 1 to {most}")
    return value


def choice(env: Mapping[str, str], name: str, options: Sequence[str], default: str) -> str:
    """Return a variable that has a fixed set of values, or the default if it is unset."""
    text = env.get(name, "").strip()
    if not text:
        return default
    if text not in options:
        raise SettingsError(f"{name} is {text!r}: set it to one of {', '.join(options)}")
    return text
