"""The limit on CPU time: it ends work of Python code that does not end, and nothing else."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from carillon_core import cpu_limit
from carillon_core.cpu_limit import CPULimit
from carillon_core.errors import TooMuchWorkError
from support.waiting import until


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> Iterator[CPULimit]:
    """Give a limit that is fast enough for a test."""
    monkeypatch.setattr(cpu_limit, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(cpu_limit, "SECONDS", 0.1)
    made = CPULimit()
    yield made
    made.stuck = made.watched = None


def spin() -> None:
    """Loop for ever."""
    while True:
        pass


def swallow() -> None:
    """Loop for ever over work that catches every error."""
    while True:
        with suppress(Exception):
            spin()


def call() -> int:
    """Loop for ever, calling C functions."""
    found = 0
    while True:
        found += len(sorted(range(100)))


@pytest.mark.parametrize("work", [spin, swallow, call])
def test_work_that_does_not_end_is_ended(limit: CPULimit, work: Callable[[], None]) -> None:
    """Also if it catches all exceptions; the thread goes on with other work."""
    for _ in range(2):
        with pytest.raises(TooMuchWorkError, match=r"it did not end within 0\.1 s of CPU time"):
            limit.run(work)
    assert limit.run(lambda: 1) == 1


def test_the_limit_holds_in_any_thread(limit: CPULimit) -> None:
    """The work of one thread is ended, and that of another is not."""
    ended: list[str] = []

    def work() -> None:
        try:
            limit.run(spin)
        except TooMuchWorkError as error:
            ended.append(str(error))

    thread = threading.Thread(target=work)
    thread.start()
    while thread.is_alive():
        assert limit.run(lambda: sum(range(100))) == 4950
    assert len(ended) == 1


def test_time_that_is_only_waited_does_not_count(limit: CPULimit) -> None:
    """A thread that gets no core for a while has done nothing wrong."""
    seen: list[float] = []
    limit.watched = lambda _, seconds: seen.append(seconds)

    def wait() -> str:
        until(lambda: len(seen) > 30, 30, "the work is looked at for longer than it may take", every=0.01)
        return "waited"

    assert limit.run(wait) == "waited"
    assert max(seen) < 0.1


def test_work_that_ends_just_then_leaves_nothing_behind(limit: CPULimit) -> None:
    """The exception is raised within the work or not at all, however close its end is."""
    ended = 0
    for number in range(40):
        # the first end by themselves however often they are looked at, the last ones do not
        until_then = time.thread_time() + 0.095 + number * 0.0005

        def work(then: float = until_then) -> None:
            while time.thread_time() < then:
                pass

        try:
            limit.run(work)
        except TooMuchWorkError:
            ended += 1
        assert sum(range(1000)) == 499500
    assert ended < 40, "nothing ended by itself"


@pytest.mark.parametrize(
    ("error", "want"), [(RecursionError, "it recursed too deeply"), (MemoryError, "it ran out of memory")]
)
def test_stack_and_memory_count_as_well(limit: CPULimit, error: type[Exception], want: str) -> None:
    """Work that ends so would end so again."""

    def work() -> None:
        raise error

    with pytest.raises(TooMuchWorkError, match=want):
        limit.run(work)


def test_another_error_is_the_callers(limit: CPULimit) -> None:
    """It is raised as it is."""
    with pytest.raises(ZeroDivisionError):
        limit.run(lambda: 1 // 0)


def test_work_within_work_belongs_to_the_outer_one(limit: CPULimit) -> None:
    """The outer call raises; the inner one cannot swallow the end."""

    def outer() -> None:
        with suppress(TooMuchWorkError):
            limit.run(spin)

    with pytest.raises(TooMuchWorkError):
        limit.run(outer)


def test_work_that_cannot_be_ended_is_reported(limit: CPULimit, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may catch even this exception; whoever owns the process learns of it and may end the process."""
    monkeypatch.setattr(cpu_limit, "STUCK_SECONDS", 0.2)
    reported = threading.Event()
    limit.stuck = lambda _: reported.set()

    def spin_on() -> None:
        while not reported.is_set():
            pass

    def work() -> None:
        with suppress(BaseException):
            spin_on()  # a call: CPython 3.13 does not guard the jump back of a loop that ends a ``with``
        spin_on()

    with suppress(TooMuchWorkError):
        limit.run(work)
    assert reported.is_set()
