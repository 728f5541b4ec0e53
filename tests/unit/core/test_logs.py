"""Structured logging: what a line looks like, where its fields come from, and what libraries' lines share with ours."""

import json
import logging
import sys
from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest

from carillon_core.logs import configure_logging, formatter, get_logger, log_context

CREATED = 1704164645.25  # 2024-01-02T03:04:05.250Z
log = get_logger("carillon_core.test")


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[str], list[str]]:
    """Return what was logged, as lines of a form, all at one time."""
    caplog.set_level(logging.DEBUG)

    def formatted(form: str) -> list[str]:
        for record in caplog.records:
            record.created, record.msecs = CREATED, 250.0
        return [formatter(form).format(record) for record in caplog.records]

    return formatted


def said(lines: Callable[[str], list[str]]) -> Any:
    """Return the only JSON line."""
    (line,) = lines("json")
    return json.loads(line)


def test_a_line_of_json(lines: Callable[[str], list[str]]) -> None:
    """The keys that log collectors know, then the fields in the order of the call; what JSON lacks is text."""
    log.info("launched", task="team-a/nightly", slot=None, waits=[1, 2.5], error=ValueError("no"))
    (line,) = lines("json")
    assert line == (
        '{"time": "2024-01-02T03:04:05.250Z", "level": "INFO", "logger": "carillon_core.test", "message": "launched",'
        ' "task": "team-a/nightly", "slot": null, "waits": [1, 2.5], "error": "no"}'
    )


def test_a_line_of_text(lines: Callable[[str], list[str]]) -> None:
    """Time, level, message and fields; the logger's name is for machines."""
    log.warning("status not written", task="team-a/nightly", attempt=2)
    log.error("stopped")
    assert lines("text") == [
        "2024-01-02T03:04:05.250Z WARNING status not written task=team-a/nightly attempt=2",
        "2024-01-02T03:04:05.250Z ERROR   stopped",
    ]


def test_a_library_uses_the_same_format(lines: Callable[[str], list[str]]) -> None:
    """Its arguments are put into its message."""
    logging.getLogger("library").warning("retrying in %d s", 5)
    assert said(lines) == {
        "time": "2024-01-02T03:04:05.250Z",
        "level": "WARNING",
        "logger": "library",
        "message": "retrying in 5 s",
    }


@pytest.mark.parametrize("name", ["name", "msg", "args", "module", "level", "method"])
def test_a_field_may_have_the_name_of_a_record_s_attribute(lines: Callable[[str], list[str]], name: str) -> None:
    """``logging`` itself refuses some of them in ``extra``."""
    log.info("seen", **{name: "mine"})
    assert said(lines)[name] == "mine"


def test_a_percent_sign_is_no_argument(lines: Callable[[str], list[str]]) -> None:
    """A message is a phrase."""
    log.info("100 %s")
    assert said(lines)["message"] == "100 %s"


@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.parametrize("logger", [log, logging.getLogger("library")], ids=["ours", "a library's"])
def test_an_exception_is_in_its_line(lines: Callable[[str], list[str]], form: str, logger: Any) -> None:
    """With its traceback: in JSON one field, in text below the line."""
    try:
        dict[str, int]()["nightly"]
    except KeyError:
        logger.exception("failed")
    (line,) = lines(form)
    text = json.loads(line)["exception"] if form == "json" else line.split("\n", 1)[1]
    assert text.startswith("Traceback (most recent call last):\n")
    assert text.endswith("KeyError: 'nightly'")


def test_an_error_can_be_given(lines: Callable[[str], list[str]]) -> None:
    """Outside of its ``except`` block, and None where there is none."""
    log.error("failed", exc_info=KeyError("nightly"))
    log.error("failed", exc_info=None)
    first, second = (json.loads(line) for line in lines("json"))
    assert first["exception"].endswith("KeyError: 'nightly'")
    assert "exception" not in second


@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.parametrize("logger", [log, logging.getLogger("library")], ids=["ours", "a library's"])
def test_every_line_of_a_piece_of_work_has_its_fields(form: str, logger: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Those of libraries too; outside of the block there are none."""
    caplog.set_level(logging.INFO)
    logger.warning("said something")
    (record,) = caplog.records
    with log_context(request_id="req-1"):
        assert "req-1" in formatter(form).format(record)
        with log_context(task="nightly"):
            assert "req-1" in formatter(form).format(record)
            assert "nightly" in formatter(form).format(record)
        assert "nightly" not in formatter(form).format(record)
    assert "req-1" not in formatter(form).format(record)


def test_a_line_s_own_field_wins(lines: Callable[[str], list[str]]) -> None:
    """Over that of the work that it is part of."""
    log.info("seen", task="mine")
    with log_context(task="all", request_id="req-1"):
        assert said(lines) | {"time": ""} == {
            "time": "",
            "level": "INFO",
            "logger": "carillon_core.test",
            "message": "seen",
            "request_id": "req-1",
            "task": "mine",
        }


def test_a_record_can_be_read_as_any_other(caplog: pytest.LogCaptureFixture) -> None:
    """A handler that knows nothing of structlog sees the phrase, and the fields as an attribute."""
    log.warning("seen", task="nightly")
    (record,) = caplog.records
    assert (record.name, record.getMessage()) == ("carillon_core.test", "seen")
    assert vars(record)["fields"] == {"task": "nightly"}


def test_the_level_of_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines below it are not written."""
    root = logging.getLogger()
    handlers, level, stream = root.handlers[:], root.level, StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    try:
        configure_logging("WARNING", "text")
        log.info("not written")
        log.warning("written")
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    assert [line.split(" ", 1)[1] for line in stream.getvalue().splitlines()] == ["WARNING written"]
