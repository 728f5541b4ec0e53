"""What Python itself takes from the operator's loop is kept short."""

import gc
import sys
import weakref
from collections.abc import Iterator

import pytest

from carillon_operator.guard.pauses import SWITCH_SECONDS, shorten_pauses


@pytest.fixture(autouse=True)
def shortened() -> Iterator[None]:
    """Shorten the pauses of this process for one test."""
    interval, callbacks = sys.getswitchinterval(), list(gc.callbacks)
    shorten_pauses()
    yield
    gc.callbacks[:] = callbacks
    gc.unfreeze()
    sys.setswitchinterval(interval)


class Node:
    """Part of a cycle."""

    def __init__(self) -> None:
        self.itself = self


def test_a_full_collection_does_not_look_again_at_what_survived_one() -> None:
    """However many objects are kept, the next one is short."""
    kept = [[number] for number in range(10_000)]
    gc.collect()
    assert len(gc.get_objects()) < len(kept)


def test_what_is_in_no_cycle_is_freed_all_the_same() -> None:
    """Although no collection looks at it any more."""
    kept = [[number] for number in range(10_000)]
    gc.collect()
    frozen = gc.get_freeze_count()
    del kept
    assert gc.get_freeze_count() <= frozen - 10_000


def test_cycles_that_came_since_are_collected() -> None:
    """As without it."""
    gone = weakref.ref(Node())
    gc.collect()
    assert gone() is None


def test_another_thread_gives_way_soon() -> None:
    """It reads a list of thousands of objects while the loop launches."""
    assert sys.getswitchinterval() == pytest.approx(SWITCH_SECONDS)
