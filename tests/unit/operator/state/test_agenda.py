"""The agenda: a turn looks at the requests that changed, that are due, or that wait for another."""

from datetime import UTC, datetime, timedelta

import pytest

from carillon_operator.state.agenda import Agenda

KEY = ("default", "backup")
NOW = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def name(number: int) -> tuple[str, str]:
    """Return the name of a request."""
    return "default", f"r{number}"


@pytest.fixture
def agenda() -> Agenda:
    """Give an empty agenda."""
    return Agenda()


def taken(agenda: Agenda, now: datetime = NOW, most: int = 50) -> list[tuple[str, str]]:
    """Return what a turn looks at."""
    return agenda.take(KEY, now, most)[0]


def test_what_changed_is_looked_at_once(agenda: Agenda) -> None:
    """Twice only if it changes again."""
    agenda.changed(KEY, name(1))
    agenda.changed(KEY, name(1))
    agenda.changed(("default", "other"), name(2))
    assert taken(agenda) == [name(1)]
    assert taken(agenda) == []
    agenda.put_back(KEY, [name(1)])
    assert taken(agenda) == [name(1)]


def test_a_turn_takes_a_share_and_says_that_there_is_more(agenda: Agenda) -> None:
    """In the order in which they changed."""
    for number in range(5):
        agenda.changed(KEY, name(number))
    assert agenda.take(KEY, NOW, 3) == ([name(0), name(1), name(2)], True)
    assert agenda.take(KEY, NOW, 3) == ([name(3), name(4)], False)


def test_what_is_due_is_looked_at_then(agenda: Agenda) -> None:
    """At the time that was said last; and once."""
    agenda.seen(KEY, name(1), NOW + MINUTE, restless=False, ended=None)
    agenda.seen(KEY, name(2), NOW + MINUTE, restless=False, ended=None)
    agenda.seen(KEY, name(2), NOW + 2 * MINUTE, restless=False, ended=None)
    agenda.seen(KEY, name(3), NOW + MINUTE, restless=False, ended=None)
    agenda.seen(KEY, name(3), None, restless=False, ended=None)
    assert agenda.next_time(KEY) == NOW + MINUTE
    assert taken(agenda) == []
    assert taken(agenda, NOW + MINUTE) == [name(1)]
    assert agenda.next_time(KEY) == NOW + 2 * MINUTE
    assert taken(agenda, NOW + 3 * MINUTE) == [name(2)]
    assert agenda.next_time(KEY) is None


def test_what_waits_for_another_is_looked_at_in_each_turn(agenda: Agenda) -> None:
    """Until it does not wait any more; it alone is no reason for another turn."""
    agenda.seen(KEY, name(1), None, restless=True, ended=None)
    assert agenda.take(KEY, NOW, 50) == ([name(1)], False)
    assert agenda.take(KEY, NOW, 50) == ([name(1)], False)
    agenda.seen(KEY, name(1), None, restless=False, ended=None)
    assert taken(agenda) == []


def test_the_oldest_beyond_a_limit_are_named(agenda: Agenda) -> None:
    """Of those that have ended, and each until it is handed over or gone."""
    for number in (3, 1, 2, 0):
        agenda.seen(KEY, name(number), None, restless=False, ended=NOW + number * MINUTE)
    agenda.seen(KEY, name(9), None, restless=True, ended=None)
    assert agenda.beyond(KEY, 4, 50) == []
    assert agenda.beyond(KEY, 2, 50) == [name(0), name(1)]
    assert agenda.beyond(KEY, 0, 3) == [name(0), name(1), name(2)]
    agenda.handed_over(KEY, name(0))
    agenda.gone(KEY, name(1))
    assert agenda.beyond(KEY, 1, 50) == [name(2)]


def test_nothing_is_left_of_what_is_gone(agenda: Agenda) -> None:
    """However it was known."""
    agenda.changed(KEY, name(1))
    agenda.seen(KEY, name(1), NOW, restless=True, ended=NOW)
    agenda.gone(KEY, name(1))
    assert agenda.take(KEY, NOW, 50) == ([], False)
    assert agenda.next_time(KEY) is None
    assert agenda.beyond(KEY, 0, 50) == []
    assert not any(part for part in vars(agenda).values())
