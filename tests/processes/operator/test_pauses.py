"""What Python itself takes from the operator's loop is kept short."""

import gc
import sys
import weakref
from collections.abc import Iterator

import pytest

from carillon_operator.guard.pauses import MANY, SWITCH_SECONDS, Survivors, shorten_pauses


@pytest.fixture(autouse=True)
def shortened() -> Iterator[None]:
    """Shorten the pauses of this process for one test."""
    interval, callbacks, thresholds = sys.getswitchinterval(), list(gc.callbacks), gc.get_threshold()
    shorten_pauses()
    yield
    gc.callbacks[:] = callbacks
    gc.unfreeze()
    gc.freeze()  # as tests/conftest.py does
    gc.set_threshold(*thresholds)
    sys.setswitchinterval(interval)


class Node:
    """Part of a cycle."""

    def __init__(self) -> None:
        self.itself = self


def test_a_full_collection_does_not_look_again_at_what_survived_one() -> None:
    """However many objects are kept, the next one is short."""
    kept = [[number] for number in range(2 * MANY)]
    gc.collect()
    assert len(gc.get_objects()) < len(kept)


def test_what_is_in_no_cycle_is_freed_all_the_same() -> None:
    """Although no collection looks at it any more."""
    kept = [[number] for number in range(2 * MANY)]
    gc.collect()
    frozen = gc.get_freeze_count()
    del kept
    assert gc.get_freeze_count() <= frozen - MANY


def test_full_collections_come_before_there_is_much_to_look_at() -> None:
    """However much is kept from before: they are short because they are many."""
    kept = [[number] for number in range(10 * MANY)]
    assert len(gc.get_objects()) < len(kept) / 4


def test_cycles_that_came_since_are_collected() -> None:
    """As without it, even if they survived a full collection before."""
    node = Node()
    gone = weakref.ref(node)
    gc.collect()
    del node
    gc.collect()
    assert gone() is None


def test_in_the_end_cycles_among_what_was_left_out_are_collected_too() -> None:
    """From time to time a full collection looks at everything."""
    gc.callbacks[-1] = Survivors(thorough_after=3)
    node = Node()
    gone = weakref.ref(node)
    kept = [[[number] for number in range(2 * MANY)]]
    gc.collect()
    del node
    for _ in range(3):
        kept.append([[number] for number in range(2 * MANY)])
        gc.collect()
    assert gone() is None


def test_another_thread_gives_way_soon() -> None:
    """It reads a list of thousands of objects while the loop launches."""
    assert sys.getswitchinterval() == pytest.approx(SWITCH_SECONDS)
