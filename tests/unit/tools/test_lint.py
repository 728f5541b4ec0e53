"""``make lint``: all checks run, and a failed check fails the whole."""

import sys

import pytest

import lint


def saying(text: str, code: int) -> tuple[str, ...]:
    """Return the command of a check with this output and exit code."""
    return sys.executable, "-c", f"print({text!r}); raise SystemExit({code})"


def test_a_check_that_fails_fails_the_whole_and_the_others_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its output is shown completely, and the last line of the others."""
    checks = {"good": saying("all is well", 0), "bad": saying("line 2: oh\nline 3: oh", 1), "other": saying("fine", 0)}
    monkeypatch.setattr(lint, "CHECKS", checks)
    assert lint.main([]) == 1
    out, err = capsys.readouterr()
    assert "good passed in " in out
    assert "s: all is well" in out
    assert "s:\nline 2: oh\nline 3: oh" in out
    assert "other passed" in out
    assert err == "lint: failed: bad\n"


def test_checks_can_be_chosen(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Arguments are names; an unknown name is rejected, and nothing runs."""
    monkeypatch.setattr(lint, "CHECKS", {"good": saying("all is well", 0), "bad": saying("oh", 1)})
    assert lint.main(["good"]) == 0
    assert "oh" not in capsys.readouterr().out
    assert lint.main(["good", "better"]) == 2
    assert capsys.readouterr().err == "lint: unknown checks: better; the checks are good, bad\n"
