"""Evidence from within a container: its script notes the time while it lives, even in its grace period. Pure.

What the API says of a pod may be early or late. A process that writes is alive.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

_LIFE = """\
began=`date +%s.%N`
n=0
while [ $n -lt {beats} ]; do
  echo "$CARILLON_TASK_NAME $CARILLON_JOB_NAME $began `date +%s.%N` beat" >> "$PULSES"
  sleep {seconds}
  n=`expr $n + 1`
done
echo "$CARILLON_TASK_NAME $CARILLON_JOB_NAME $began `date +%s.%N` end" >> "$PULSES"
"""

_FAILS_FIRST = """\
if [ ! -e "$PULSES.$CARILLON_EXECUTION_ID" ]; then
  : > "$PULSES.$CARILLON_EXECUTION_ID"
  exit 3
fi
"""


def script(beats: int, seconds: float, *, stubborn: bool, fails_first: bool = False) -> str:
    """Return the script of a container.

    Args:
        beats: How often it notes the time before its end.
        seconds: How long it waits after each.
        stubborn: Whether it ignores SIGTERM.
        fails_first: Whether the first process of an execution fails at once.

    """
    life = (_FAILS_FIRST if fails_first else "") + _LIFE.format(beats=beats, seconds=seconds)
    return f"trap '' TERM\n{life}" if stubborn else life


_PARTS = 5


@dataclass(frozen=True, slots=True)
class Pulse:
    """The life of one process, as it noted it."""

    task: str
    job: str
    first: datetime
    last: datetime
    finished: bool
    """Whether it came to its end rather than being killed."""


def parsed(text: str) -> list[Pulse]:
    """Return the processes in a file of pulses; half a line at its end is ignored."""
    found: dict[tuple[str, str, str], Pulse] = {}
    for line in text.splitlines():
        parts = line.split()
        if len(parts) != _PARTS:
            continue
        task, job, began, at, kind = parts
        found[task, job, began] = Pulse(task, job, _time(began), _time(at), kind == "end")
    return sorted(found.values(), key=lambda pulse: pulse.first)


def _time(text: str) -> datetime:
    return datetime.fromtimestamp(float(text), UTC)


def overlaps(pulses: Iterable[Pulse]) -> Iterator[tuple[Pulse, Pulse]]:
    """Yield the processes of a task of which one began while the other was certainly alive."""
    by_task: dict[str, list[Pulse]] = defaultdict(list)
    for pulse in pulses:
        by_task[pulse.task].append(pulse)
    for own in by_task.values():
        for before, after in pairwise(sorted(own, key=lambda pulse: pulse.first)):
            if after.first < before.last:
                yield before, after
