"""Structured logging: the format of lines, the sources of fields, and the lines of libraries."""

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
    """Return the logged lines in a form, with a fixed time."""
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
    """The standard keys come first, then the fields in the order of the call; other types become text."""
    log.info("launched", task="team-a/nightly", slot=None, waits=[1, 2.5], error=ValueError("no"))
    (line,) = lines("json")
    assert line == (
        '{"time": "2024-01-02T03:04:05.250Z", "level": "INFO", "logger": "carillon_core.test", "message": "launched",'
        ' "task": "team-a/nightly", "slot": null, "waits": [1, 2.5], "error": "no"}'
    )


def test_a_line_of_text(lines: Callable[[str], list[str]]) -> None:
    """It has time, level, message and fields; the logger's name is in JSON only."""
    log.warning("status not written", task="team-a/nightly", attempt=2)
    log.error("stopped")
    assert lines("text") == [
        "2024-01-02T03:04:05.250Z WARNING status not written task=team-a/nightly attempt=2",
        "2024-01-02T03:04:05.250Z ERROR   stopped",
    ]


def test_a_library_uses_the_same_format(lines: Callable[[str], list[str]]) -> None:
    """Its arguments are formatted into its message."""
    logging.getLogger("library").warning("retrying in %d s", 5)
    assert said(lines) == {
        "time": "2024-01-02T03:04:05.250Z",
        "level": "WARNING",
        "logger": "library",
        "message": "retrying in 5 s",
    }


@pytest.mark.parametrize("name", ["name", "msg", "args", "module", "level", "method"])
def test_a_field_may_have_the_name_of_a_record_s_attribute(lines: Callable[[str], list[str]], name: str) -> None:
    """``logging`` rejects some of these names in ``extra``."""
    log.info("seen", **{name: "mine"})
    assert said(lines)[name] == "mine"


def test_a_percent_sign_is_no_argument(lines: Callable[[str], list[str]]) -> None:
    """A message is not a format string."""
    log.info("100 %s")
    assert said(lines)["message"] == "100 %s"


@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.parametrize("logger", [log, logging.getLogger("library")], ids=["ours", "a library's"])
def test_an_exception_is_in_its_line(lines: Callable[[str], list[str]], form: str, logger: Any) -> None:
    """Its traceback is a field in JSON, and follows the line in text."""
    try:
        dict[str, int]()["nightly"]
    except KeyError:
        logger.exception("failed")
    (line,) = lines(form)
    text = json.loads(line)["exception"] if form == "json" else line.split("\n", 1)[1]
    assert text.startswith("Traceback (most recent call last):\n")
    assert text.endswith("KeyError: 'nightly'")


def test_an_error_can_be_given(lines: Callable[[str], list[str]]) -> None:
    """An error can be passed outside of its ``except`` block; None means no error."""
    log.error("failed", exc_info=KeyError("nightly"))
    log.error("failed", exc_info=None)
    first, second = (json.loads(line) for line in lines("json"))
    assert first["exception"].endswith("KeyError: 'nightly'")
    assert "exception" not in second


@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.parametrize("logger", [log, logging.getLogger("library")], ids=["ours", "a library's"])
def test_every_line_of_a_piece_of_work_has_its_fields(form: str, logger: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Lines of libraries have them, too; lines outside of the block do not."""
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
    """It overrides the context's field."""
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
    """A handler without knowledge of structlog sees the message, and the fields as an attribute."""
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
