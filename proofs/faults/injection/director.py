"""Counts the steps of an operator, selects the fault to inject, and records what the oracle must excuse."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from faults.injection.timeline import Timeline, now
from faults.plans.plan import Injection, Step


class Controls(Protocol):
    """The actions of faults outside the proxy; ``PlanControls`` implements them."""

    def kill(self, injection: Injection) -> None:
        """Send the operator SIGKILL; a new one starts after the injection's ``down``."""
        ...

    def terminate(self, injection: Injection) -> None:
        """Send the operator SIGTERM; a new one starts after the injection's ``down``."""
        ...

    async def disrupt(self, injection: Injection) -> None:
        """Stop, or fill, the service that the fault is about, and return; it serves again after ``down``."""
        ...

    async def strike(self, injection: Injection, resource: str, name: str) -> None:
        """Do to an object of the cluster, a pod or a Job, what the injection says."""
        ...

    async def snapshot(self) -> None:
        """Remember the current lists for a stale restart."""
        ...

    async def hold(self, seconds: float) -> None:
        """Wait while the schedule goes on."""
        ...


@dataclass(slots=True)
class Blur:
    """A time in which an operator may have seen Jobs and pods late or not at all; of one task, or of all."""

    start: datetime
    end: datetime | None
    task: str = ""
    why: str = ""


@dataclass(slots=True)
class Outage:
    """A time in which an operator may have been unable to launch; of one task, or of all."""

    start: datetime
    end: datetime | None
    task: str = ""
    why: str = ""


@dataclass(slots=True)
class Director:
    """The faults of one operator and their effects."""

    injections: Sequence[Injection]
    timeline: Timeline
    name: str = "operator"
    steps: list[Step] = field(default_factory=list)
    """Every step seen, in order: the trace."""
    fired: list[Injection] = field(default_factory=list)
    blurs: list[Blur] = field(default_factory=list)
    outages: list[Outage] = field(default_factory=list)
    linger_until: datetime | None = None
    """The consequences of a fault may show until then."""
    armed: bool = True
    """Whether faults strike; steps are always counted."""
    _counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    _striking: int = 0

    def reached(self, kind: str, task: str) -> Injection | None:
        """Count a step; return the fault that strikes at it."""
        self._counts[kind, task] += 1
        step = Step(kind, task, self._counts[kind, task])
        self.steps.append(step)
        self.timeline.note(self.name, f"reaches {step}")
        found = next((i for i in self.injections if i.at == step and i not in self.fired), None)
        if not self.armed:
            return None
        if found is not None:
            self.fired.append(found)
            self.timeline.note("FAULT", str(found))
        return found

    @contextmanager
    def striking(self) -> Iterator[None]:
        """Carry out a fault that was reached; the plan goes on at least until it has."""
        self._striking += 1
        try:
            yield
        finally:
            self._striking -= 1

    @property
    def all_struck(self) -> bool:
        """Whether no fault is being carried out."""
        return not self._striking

    @property
    def all_fired(self) -> bool:
        """Whether every fault with a step has struck."""
        return all(i.at is None or i in self.fired for i in self.injections)

    def blur(self, task: str, why: str, start: datetime | None = None) -> Blur:
        """Begin a time in which Jobs and pods are seen late; the caller sets its end."""
        made = Blur(start or now(), None, task, why)
        self.blurs.append(made)
        return made

    def outage(self, task: str, why: str) -> Outage:
        """Begin a time in which slots cannot be launched; the caller sets its end."""
        made = Outage(now(), None, task, why)
        self.outages.append(made)
        return made
