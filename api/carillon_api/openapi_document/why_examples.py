"""Examples of the explanations of a time, one for each of several outcomes."""

from collections.abc import Mapping

from carillon_core.ports import JSONObject

_UID = "7b3c6f0e-9d6f-4f53-8a8e-1f2b8d1f5c3a"
_BY_ALICE: JSONObject = {"manager": "carillon", "user": "alice"}
_RAN: JSONObject = {
    "namespace": "team-a",
    "task": "nightly-report",
    "at": "2027-01-07T01:30:00Z",
    "timeZone": "Europe/Berlin",
    "outcome": "Ran",
    "message": "the slot of 2027-01-07T01:30:00Z failed: the server answered 503",
    "reason": "HTTP5xx",
    "slot": "2027-01-07T01:30:00Z",
    "execution": {
        "id": "0c4b8a5e-2f0e-5f43-9a61-0b6f0c2a7d11",
        "slot": "2027-01-07T01:30:00Z",
        "firstSlot": None,
        "status": "Failed",
        "reason": "HTTP5xx",
        "message": "the server answered 503",
        "startedAt": "2027-01-07T01:30:01.412Z",
        "finishedAt": "2027-01-07T01:30:42.612Z",
    },
    "revision": {"uid": _UID, "generation": 4, "seenAt": "2026-12-01T10:00:00Z", "changedBy": _BY_ALICE},
    "suspension": None,
    "clockChange": None,
    "slotBefore": "2027-01-06T01:30:00Z",
    "slotAfter": "2027-01-08T01:30:00Z",
}
_SKIPPED: JSONObject = _RAN | {
    "outcome": "Skipped",
    "message": (
        "the slot of 2027-01-07T01:30:00Z was skipped: nightly-report-1799199000 is still active and concurrencyPolicy"
        " is Forbid"
    ),
    "reason": "StillActive",
    "execution": {
        "id": "0c4b8a5e-2f0e-5f43-9a61-0b6f0c2a7d11",
        "slot": "2027-01-07T01:30:00Z",
        "firstSlot": None,
        "status": "Skipped",
        "reason": "StillActive",
        "message": (
            "the slot of 2027-01-07T01:30:00Z was skipped: nightly-report-1799199000 is still active and"
            " concurrencyPolicy is Forbid"
        ),
        "startedAt": None,
        "finishedAt": "2027-01-07T01:30:00.310Z",
    },
}
_NOT_DUE: JSONObject = _RAN | {
    "at": "2027-01-07T09:00:00Z",
    "outcome": "NotDue",
    "message": "no slot was due; the nearest are 2027-01-07T01:30:00Z and 2027-01-08T01:30:00Z",
    "reason": None,
    "slot": None,
    "execution": None,
    "slotBefore": "2027-01-07T01:30:00Z",
}
_CLOCK_CHANGE: JSONObject = _NOT_DUE | {
    "at": "2027-10-31T01:30:00Z",
    "outcome": "SkippedByClockChange",
    "message": (
        "no slot was due, because of a clock change: on 2027-10-31 clocks in Europe/Berlin go back from 03:00 to 02:00:"
        " 02:30 occurs twice and fires only the first time"
    ),
    "clockChange": (
        "on 2027-10-31 clocks in Europe/Berlin go back from 03:00 to 02:00: 02:30 occurs twice and fires only the first"
        " time"
    ),
    "slotBefore": "2027-10-31T00:30:00Z",
    "slotAfter": "2027-11-01T01:30:00Z",
}
_SUSPENDED: JSONObject = _RAN | {
    "outcome": "Suspended",
    "message": (
        "the slot of 2027-01-07T01:30:00Z was not launched: the task was suspended; it was suspended since"
        " 2027-01-05T08:12:00Z by alice"
    ),
    "reason": "Suspended",
    "execution": None,
    "revision": {"uid": _UID, "generation": 5, "seenAt": "2027-01-05T08:12:00Z", "changedBy": _BY_ALICE},
    "suspension": {
        "since": "2027-01-05T08:12:00Z",
        "sinceOrEarlier": False,
        "generation": 5,
        "changedBy": _BY_ALICE,
    },
}
_WILL_RUN: JSONObject = _NOT_DUE | {
    "at": "2027-01-08T01:30:00Z",
    "outcome": "WillRun",
    "message": ("the slot of 2027-01-08T01:30:00Z will be launched at 2027-01-08T01:30:00Z, unless a gate stops it"),
    "slot": "2027-01-08T01:30:00Z",
    "slotAfter": "2027-01-09T01:30:00Z",
}
_REVISIONS: JSONObject = {
    "items": [
        {
            "uid": _UID,
            "generation": 5,
            "seenAt": "2027-01-05T08:12:00Z",
            "changedBy": _BY_ALICE,
            "createdAt": "2026-11-20T09:00:00Z",
            "lastSeenAt": "2027-01-07T12:00:00Z",
            "spec": {
                "schedule": "30 2 * * *",
                "timeZone": "Europe/Berlin",
                "suspend": True,
                "task": {"http": {"url": "https://example.com/report", "headers": {"Authorization": "***"}}},
            },
            "problem": None,
        }
    ],
    "nextCursor": "1f0a9c4e5b7d2360aaY3gxAAYpHk",
}

SEVERAL: Mapping[str, Mapping[str, JSONObject]] = {
    "explainTask": {
        "ran": {"summary": "It ran, and failed", "value": _RAN},
        "skipped": {"summary": "A gate skipped it", "value": _SKIPPED},
        "notDue": {"summary": "No slot was due", "value": _NOT_DUE},
        "clockChange": {"summary": "The clock repeated the hour", "value": _CLOCK_CHANGE},
        "suspended": {"summary": "It was suspended", "value": _SUSPENDED},
        "willRun": {"summary": "It is in the future", "value": _WILL_RUN},
    },
    "listTaskRevisions": {"revisions": {"summary": "A page of revisions", "value": _REVISIONS}},
}
"""The responses 200 of each operation that has several examples, by a name of theirs."""
