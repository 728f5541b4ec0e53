"""The families of faults, by which results are added up. Pure."""

from collections.abc import Mapping
from enum import StrEnum

from faults.plans.plan import RECORDER_FAULTS, Fault, Plan


class Family(StrEnum):
    """What fails."""

    OPERATOR = "operator"
    """The operator is killed, or told to stop, at a write or an event."""
    WRITES = "writes"
    """A write to the API server is refused, lost, late or repeated, or the server is down."""
    WATCHES = "watches"
    """An event is lost, late or repeated, or its stream ends."""
    RELISTS = "relists"
    """The operator has to list again, and what it reads is old, or without the pods."""
    RECORDER = "recorder"
    """The recorder is killed, slow, busy, or its answer is lost."""
    POSTGRES = "postgres"
    """The database is down, or has no connection left."""
    PODS = "pods"
    """A pod is killed, evicted or deleted; some ignore SIGTERM."""
    DELETIONS = "deletions"
    """A Job is deleted in the background, in the foreground, or without its pods."""
    TENANTS = "tenants"
    """Another tenant forges Jobs and pods, or creates tasks that are dear."""
    REQUESTS = "requests"
    """Requests come by the thousand."""
    CLOCKS = "clocks"
    """An operator whose clock is wrong by an hour takes over for a while."""
    LEADERS = "leaders"
    """Two operators decide at the same time."""


FAMILIES: Mapping[Family, tuple[Fault, ...]] = {
    Family.OPERATOR: (Fault.KILL_BEFORE, Fault.KILL_AFTER, Fault.TERMINATE, Fault.KILL_AT_EVENT),
    Family.WRITES: (
        Fault.LOST_ANSWER,
        Fault.LATE_ANSWER,
        Fault.NEVER_SENT,
        Fault.CONFLICT,
        Fault.TOO_MANY,
        Fault.ERROR_BEFORE,
        Fault.ERROR_AFTER,
        Fault.SENT_TWICE,
        Fault.UNAVAILABLE,
    ),
    Family.WATCHES: (Fault.DROP, Fault.DELAY, Fault.DUPLICATE, Fault.CUT, Fault.GONE_IN_STREAM),
    Family.RELISTS: (Fault.RELIST, Fault.HIDDEN_PODS, Fault.STALE_RESTART),
    Family.RECORDER: RECORDER_FAULTS,
    Family.POSTGRES: (Fault.POSTGRES_STOP, Fault.POSTGRES_STOP_KILL, Fault.POSTGRES_FULL),
    Family.PODS: (Fault.POD_KILLED, Fault.POD_DELETED, Fault.POD_EVICTED),
    Family.DELETIONS: (Fault.JOB_DELETED,),
    Family.TENANTS: (Fault.HOSTILE_OBJECTS,),
    Family.REQUESTS: (Fault.REQUESTS,),
    Family.CLOCKS: (Fault.CLOCK_STEP,),
    Family.LEADERS: (Fault.SECOND_OPERATOR,),
}
FAMILY_OF: Mapping[Fault, Family] = {fault: family for family, faults in FAMILIES.items() for fault in faults}


def families_of(plan: Plan) -> list[Family]:
    """Return the families of a plan's faults, each once; a plan counts for each of them."""
    return list(dict.fromkeys(FAMILY_OF[injection.fault] for injection in plan.injections))
