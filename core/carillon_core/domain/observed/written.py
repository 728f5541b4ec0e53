"""What an invalid spec says about its schedule, for the status. Pure; ``ObservedTask`` calls it."""

from typing import Any

MOST = 256
"""The maximum length, which is that of ``spec.schedule``."""
_STARTS = {"schedule": "{}", "intervalSeconds": "every {}s", "runAt": "at {}"}
_BOUNDS = {"startAt": " from {}", "endAt": " until {}", "durationSeconds": " for {}s"}


def written_schedule(spec: Any) -> str | None:
    """Return the schedule in a spec in short form, whether it is valid or not; None if there is none.

    The words are those of ``schedule_description``. Two schedules, which make a spec invalid, are both shown.
    """
    if not isinstance(spec, dict):
        return None
    starts = _phrases(spec, _STARTS)
    if starts and "schedule" in spec and (zone := _word(spec.get("timeZone"))):
        starts[0] = f"{starts[0]} {zone}"
    text = " and ".join(starts) + "".join(_phrases(spec, _BOUNDS))
    return None if not text else text if len(text) <= MOST else f"{text[: MOST - 1]}…"


def _phrases(spec: dict[str, Any], forms: dict[str, str]) -> list[str]:
    words = ((form, _word(spec.get(field))) for field, form in forms.items())
    return [form.format(word) for form, word in words if word]


def _word(value: Any) -> str:
    """Return a text or a number of a spec as text; empty for everything else."""
    if isinstance(value, str):
        return value[:MOST]
    return str(value)[:MOST] if isinstance(value, int | float) and not isinstance(value, bool) else ""
