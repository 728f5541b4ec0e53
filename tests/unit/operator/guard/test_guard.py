"""The guard: what is worked on is noted, and what stops the operator is set aside."""

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from carillon_core.cpu_limit import CPU_LIMIT
from carillon_core.errors import TooMuchWorkError
from carillon_operator.guard.guard import Guard, SetAsideError
from carillon_operator.guard.note import Note
from carillon_operator.guard.quarantine import Quarantine
from carillon_operator.guard.subject import Subject

TASK = Subject("ScheduledTask", "shop", "report", "1d0c", 3)
OTHER = Subject("ScheduledTask", "shop", "other", "2e1d", 1)


def crashed(folder: Path, subject: Subject = TASK, seconds: float = 0.0) -> None:
    """Leave what a process leaves that ended while it worked on an object."""
    note = Note(folder / "working-on")
    note.write(subject, "decide")
    if seconds:
        note.took(seconds)


def is_aside(guard: Guard, subject: Subject = TASK) -> bool:
    """Return whether work on an object is refused."""
    try:
        return guard.run(subject, "decide", lambda: False)
    except SetAsideError:
        return True


def test_work_that_ends_well_leaves_no_note(tmp_path: Path) -> None:
    """Its result is the caller's."""
    guard = Guard.in_folder(tmp_path)
    assert guard.run(TASK, "decide", lambda: 7) == 7
    assert Note(tmp_path / "working-on").left is None


def test_an_error_of_the_work_is_raised_as_it_is(tmp_path: Path) -> None:
    """It sets nothing aside: the reconciler tries again."""
    guard = Guard.in_folder(tmp_path)
    with pytest.raises(ZeroDivisionError):
        guard.run(TASK, "decide", lambda: 1 // 0)
    assert not is_aside(guard)
    assert Note(tmp_path / "working-on").left is None


@pytest.mark.parametrize("error", [RecursionError, MemoryError])
def test_an_object_whose_work_is_ended_is_set_aside(tmp_path: Path, error: type[Exception]) -> None:
    """At once, across restarts, and alone."""

    def work() -> None:
        raise error

    guard = Guard.in_folder(tmp_path)
    with pytest.raises(SetAsideError, match=r"set aside, .*; change its spec to have it tried again"):
        guard.run(TASK, "decide", work)
    for each in (guard, Guard.in_folder(tmp_path)):
        assert is_aside(each)
        assert not is_aside(each, OTHER)
    assert guard.quarantine.total == 1


def test_an_object_that_a_process_worked_on_for_long_when_it_ended_is_set_aside(tmp_path: Path) -> None:
    """It was killed by liveness, or for its memory."""
    crashed(tmp_path, seconds=0.5)
    assert is_aside(Guard.in_folder(tmp_path))
    assert is_aside(Guard.in_folder(tmp_path)), "it is forgotten after another restart"


def test_one_short_note_proves_nothing(tmp_path: Path) -> None:
    """A process that is killed is nearly always working on something; only a second end in a row is held against it."""
    crashed(tmp_path)
    assert not is_aside(Guard.in_folder(tmp_path))
    crashed(tmp_path)
    assert not is_aside(Guard.in_folder(tmp_path)), "work that ended well in between does not count for it"
    crashed(tmp_path)
    Guard.in_folder(tmp_path)
    crashed(tmp_path)
    guard = Guard.in_folder(tmp_path)
    assert is_aside(guard)
    assert not is_aside(guard, OTHER)


def test_other_work_on_it_that_ends_well_proves_nothing(tmp_path: Path) -> None:
    """A restarted operator parses an object before it decides about it."""
    for _ in range(2):
        crashed(tmp_path)
        guard = Guard.in_folder(tmp_path)
        with suppress(SetAsideError):
            guard.run(TASK, "parse", lambda: None)
    assert is_aside(guard)


def test_a_crash_on_another_object_clears_nobody(tmp_path: Path) -> None:
    """Each end counts for the object that it was in."""
    crashed(tmp_path)
    Guard.in_folder(tmp_path)
    crashed(tmp_path, OTHER)
    guard = Guard.in_folder(tmp_path)
    assert not is_aside(guard)
    assert not is_aside(guard, OTHER)


def test_a_new_generation_frees_it(tmp_path: Path) -> None:
    """Its spec has changed."""
    crashed(tmp_path, seconds=0.5)
    guard = Guard.in_folder(tmp_path)
    changed = Subject("ScheduledTask", "shop", "report", "1d0c", 4)
    assert not is_aside(guard, changed)
    assert list(guard.quarantine) == []
    assert list(Guard.in_folder(tmp_path).quarantine) == []


def test_an_object_of_the_same_name_is_another(tmp_path: Path) -> None:
    """It has another uid."""
    crashed(tmp_path, seconds=0.5)
    assert not is_aside(Guard.in_folder(tmp_path), Subject("ScheduledTask", "shop", "report", "ffff", 3))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"suspect": 1, "aside": 2}', '{"suspect": {"no": "such"}}'])
def test_files_that_cannot_be_read_are_forgotten(tmp_path: Path, text: str) -> None:
    """They may be of another version."""
    (tmp_path / "set-aside.json").write_text(text)
    (tmp_path / "working-on").write_bytes(b"\xff" * 100)
    assert not is_aside(Guard.in_folder(tmp_path))


def test_a_list_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    """The disk may be full; this process knows what is set aside."""
    quarantine = Quarantine(tmp_path / "no such folder" / "set-aside.json")
    quarantine.put(TASK, "it did not end")
    assert quarantine.why(TASK) == "it did not end"


def test_the_list_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest entries go first."""
    monkeypatch.setattr("carillon_operator.guard.quarantine.MOST", 2)
    quarantine = Quarantine(tmp_path / "set-aside.json")
    for number in range(3):
        quarantine.put(Subject("RunRequest", "shop", "r", str(number), 1), "it did not end")
    assert [subject.uid for subject in quarantine] == ["1", "2"]
    assert len(json.loads((tmp_path / "set-aside.json").read_text())["aside"]) == 2


def test_long_names_fit_into_the_note(tmp_path: Path) -> None:
    """The longest that Kubernetes takes."""
    longest = Subject("ScheduledTask", "n" * 63, "x" * 253, "u" * 128, 2**62)
    crashed(tmp_path, longest, seconds=0.5)
    assert is_aside(Guard.in_folder(tmp_path), longest)


def test_an_object_that_cannot_be_parsed_is_taken_without_its_spec(tmp_path: Path) -> None:
    """It stays visible, so that its condition can say why."""
    seen: list[str] = []

    def parse(raw: Any, quarantined: str) -> str:
        seen.append(quarantined)
        if not quarantined:
            raise RecursionError
        return str(raw["metadata"]["name"])

    parsed: Callable[[Any], str] = Guard.in_folder(tmp_path).parsed("ScheduledTask", parse)
    raw = {"metadata": {"namespace": "shop", "name": "report", "uid": "1d0c", "generation": 1}}
    assert parsed(raw) == "report"
    assert parsed(raw) == "report"
    assert [bool(why) for why in seen] == [False, True, True]


def test_the_note_takes_the_time_of_its_own_thread_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The webhook judges in another thread."""
    limit = CPU_LIMIT
    monkeypatch.setattr(limit, "watched", None)
    monkeypatch.setattr(limit, "stuck", None)
    guard = Guard.in_folder(tmp_path)
    guard.watch()
    assert limit.watched is not None

    def work() -> None:
        assert limit.watched is not None
        limit.watched(0, 5.0)
        raise TooMuchWorkError("x") from None

    with pytest.raises(SetAsideError):
        guard.run(TASK, "decide", work)
    assert json.loads((tmp_path / "set-aside.json").read_text())["suspect"] is None
