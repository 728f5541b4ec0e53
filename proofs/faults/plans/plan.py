"""Faults, the steps at which they strike, and plans with their text form. Pure; ``choice`` makes plans.

A plan's text is enough to replay it: ``kill-after@create-jobs/api#2,down=3``.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Self

from faults.plans.scenarios import SCENARIOS


class Fault(StrEnum):
    """The kinds of fault, grouped by the states that they leave the operator in, as in Sieve."""

    # at a write: intermediate states
    KILL_BEFORE = "kill-before"
    """SIGKILL; the write never reaches the server."""
    KILL_AFTER = "kill-after"
    """SIGKILL after the server has committed the write, before the answer."""
    TERMINATE = "terminate"
    """SIGTERM as the write is sent; the write is carried out and answered."""
    LOST_ANSWER = "lost-answer"
    """The write is committed, the connection is cut instead of an answer."""
    LATE_ANSWER = "late-answer"
    """The same, but the connection is cut only after more than a slot."""
    NEVER_SENT = "never-sent"
    """The connection is cut; the write never reaches the server."""
    CONFLICT = "conflict"
    """409 with the reason Conflict; not carried out."""
    TOO_MANY = "too-many"
    """429 with Retry-After; not carried out."""
    ERROR_BEFORE = "error-before"
    """500; not carried out."""
    ERROR_AFTER = "error-after"
    """500, as of a server that lost its database; carried out."""
    SENT_TWICE = "sent-twice"
    """The write is sent twice; the operator gets the second answer."""
    UNAVAILABLE = "unavailable"
    """The API server is down for more than a slot: watches are cut, every request is answered with 503."""
    POSTGRES_STOP = "postgres-stop"
    """Postgres is stopped before the write goes on, and started again later."""
    POSTGRES_FULL = "postgres-full"
    """Strangers take every connection to Postgres before the write goes on; those of the product are ended."""
    POSTGRES_STOP_KILL = "postgres-stop-kill"
    """The same, and the operator is killed while Postgres is down."""
    CLOCK_STEP = "clock-step"
    """SIGKILL after the commit; the next operator's clock is wrong, and it is replaced by one whose clock is right."""
    # at a restart: stale states
    STALE_RESTART = "stale-restart"
    """SIGKILL after the commit; the next operator's first lists are old ones, and events come late."""
    # at a watch event: unobserved states
    DROP = "drop"
    """The event is never delivered."""
    DELAY = "delay"
    """The event and the rest of its stream come more than a slot late."""
    DUPLICATE = "duplicate"
    """The event is delivered twice."""
    CUT = "cut"
    """The stream ends before the event; the operator watches again from where it was."""
    GONE_IN_STREAM = "gone-in-stream"
    """An ERROR event with 410 stands in the event's place, and the stream ends."""
    RELIST = "relist"
    """The stream is cut before the event, and the next watch is answered with 410."""
    HIDDEN_PODS = "hidden-pods"
    """The same, and the list that follows has no pods, for more than a slot."""
    KILL_AT_EVENT = "kill-at-event"
    """SIGKILL as the event would be delivered."""
    POD_KILLED = "pod-killed"
    """The event's pod is deleted, its process killed."""
    POD_DELETED = "pod-deleted"
    """The event's pod is deleted with a grace period."""
    POD_EVICTED = "pod-evicted"
    """The event's pod is evicted with a grace period, as a drain does."""
    JOB_DELETED = "job-deleted"
    """The event's Job is deleted: in the background, in the foreground, or leaving its pods behind."""
    HOSTILE_OBJECTS = "hostile-objects"
    """Another tenant creates forged Jobs or pods, or hostile tasks."""
    REQUESTS = "requests"
    """Requests for another task of the namespace, up to a thousand, are created at once."""
    # at a request to the recorder
    RECORDER_KILL = "recorder-kill"
    """The recorder gets SIGKILL before the request reaches it, and is started again later."""
    RECORDER_KILL_AFTER = "recorder-kill-after"
    """The same after it has committed, before the answer."""
    RECORDER_SLOW = "recorder-slow"
    """The request reaches the recorder more than a slot late."""
    RECORDER_LATE = "recorder-late"
    """The recorder commits; more than a slot later the connection is cut instead of an answer."""
    RECORDER_LOST = "recorder-lost"
    """The recorder commits; the connection is cut instead of an answer."""
    RECORDER_BUSY = "recorder-busy"
    """503 with Retry-After, as from a recorder whose queue is full; not carried out."""
    # during the whole plan
    SECOND_OPERATOR = "second-operator"
    """Another operator is active from the start, and sees every event late."""


WRITE_FAULTS = (
    Fault.KILL_BEFORE,
    Fault.KILL_AFTER,
    Fault.TERMINATE,
    Fault.LOST_ANSWER,
    Fault.LATE_ANSWER,
    Fault.NEVER_SENT,
    Fault.CONFLICT,
    Fault.TOO_MANY,
    Fault.ERROR_BEFORE,
    Fault.ERROR_AFTER,
    Fault.SENT_TWICE,
    Fault.UNAVAILABLE,
    Fault.POSTGRES_STOP,
    Fault.POSTGRES_FULL,
    Fault.POSTGRES_STOP_KILL,
    Fault.STALE_RESTART,
    Fault.CLOCK_STEP,
)
EVENT_FAULTS = (
    Fault.DROP,
    Fault.DELAY,
    Fault.DUPLICATE,
    Fault.CUT,
    Fault.GONE_IN_STREAM,
    Fault.RELIST,
    Fault.HIDDEN_PODS,
    Fault.KILL_AT_EVENT,
    Fault.POD_KILLED,
    Fault.POD_DELETED,
    Fault.POD_EVICTED,
    Fault.JOB_DELETED,
    Fault.HOSTILE_OBJECTS,
    Fault.REQUESTS,
)
STRANGER_FAULTS = frozenset({Fault.HOSTILE_OBJECTS, Fault.REQUESTS})
POD_FAULTS = frozenset({Fault.POD_KILLED, Fault.POD_DELETED, Fault.POD_EVICTED})
RECORDER_FAULTS = (
    Fault.RECORDER_KILL,
    Fault.RECORDER_KILL_AFTER,
    Fault.RECORDER_SLOW,
    Fault.RECORDER_LATE,
    Fault.RECORDER_LOST,
    Fault.RECORDER_BUSY,
)
KILLS = frozenset(
    {
        Fault.KILL_BEFORE,
        Fault.KILL_AFTER,
        Fault.TERMINATE,
        Fault.POSTGRES_STOP_KILL,
        Fault.STALE_RESTART,
        Fault.KILL_AT_EVENT,
    }
)
"""The faults after which the operator is started again."""


@dataclass(frozen=True, slots=True, order=True)
class Step:
    """One exchange of the operator with the API server, or of a runner with the recorder: the n-th about a task."""

    kind: str
    """Of a write ``create-jobs``, ``patch-status`` and the like; of an event ``event-pods-ended`` and the like; of a
    request to the recorder ``record-claim`` and the like."""
    task: str
    """The task's name, empty if it is about none."""
    nth: int
    """From 1."""

    @property
    def is_event(self) -> bool:
        """Whether it is a watch event rather than a write."""
        return self.kind.startswith("event-")

    @property
    def is_record(self) -> bool:
        """Whether it is a request to the recorder."""
        return self.kind.startswith("record-")

    def __str__(self) -> str:
        return f"{self.kind}/{self.task}#{self.nth}"


_TEXT = re.compile(r"(?P<fault>[a-z-]+)(@(?P<kind>[a-z-]+)/(?P<task>[a-z-]*)#(?P<nth>\d+))?(?P<more>(,[a-z]+=[\w-]+)*)")


@dataclass(frozen=True, slots=True)
class Injection:
    """One fault and where it strikes."""

    fault: Fault
    at: Step | None = None
    """None for a fault that lasts for the whole plan."""
    down: int = 0
    """How many seconds pass before what was killed or stopped is started again."""
    what: str = ""
    """Of a stale restart, which lists are old: ``tasks``, ``jobs``, ``pods`` or ``all``. Of a second operator, by how
    many milliseconds its events are late. Of ``postgres-stop-kill``, whether the operator comes back ``first``. Of a
    deleted or evicted pod, the grace period in seconds. Of a deleted Job, the propagation. Of hostile objects, their
    kind. Of requests, their number. Of a stepped clock, by how many seconds it is ahead."""

    def __str__(self) -> str:
        at = f"@{self.at}" if self.at else ""
        down = f",down={self.down}" if self.down else ""
        what = f",what={self.what}" if self.what else ""
        return f"{self.fault}{at}{down}{what}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse an injection.

        Raises:
            ValueError: The text is not an injection.

        """
        found = _TEXT.fullmatch(text.strip())
        if found is None:
            msg = f"{text!r} is not a fault: write for example kill-after@create-jobs/api#2,down=3"
            raise ValueError(msg)
        at = Step(found["kind"], found["task"], int(found["nth"])) if found["kind"] else None
        more = dict(part.split("=", 1) for part in found["more"].split(",") if part)
        return cls(Fault(found["fault"]), at, int(more.get("down", 0)), more.get("what", ""))


@dataclass(frozen=True, slots=True)
class Plan:
    """The faults of one run of a scenario."""

    number: int
    scenario: str
    injections: tuple[Injection, ...] = ()

    @property
    def ahead(self) -> timedelta:
        """By how much the clock of an operator is ahead."""
        steps = [int(injection.what) for injection in self.injections if injection.fault is Fault.CLOCK_STEP]
        return timedelta(seconds=max(0, *steps, 0))

    def __str__(self) -> str:
        return f"{self.scenario}: {' + '.join(map(str, self.injections)) or 'no fault'}"

    @classmethod
    def parse(cls, text: str, number: int = 0, scenarios: Collection[str] = SCENARIOS) -> Self:
        """Parse a plan of one of some scenarios; raise ``ValueError`` if the text is not one."""
        scenario, _, faults = text.partition(":")
        if scenario.strip() not in scenarios:
            msg = f"{scenario.strip()!r} is not a scenario: write one of {', '.join(scenarios)}, a colon and the faults"
            raise ValueError(msg)
        parts = [part for part in faults.split(" + ") if part.strip() not in {"", "no fault"}]
        return cls(number, scenario.strip(), tuple(Injection.parse(part) for part in parts))
