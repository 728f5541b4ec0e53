"""The end of a log that a row keeps."""

import pytest

from carillon_core.domain.observed.log_ends import MOST_BYTES, log_end

LINE = b"0123456789abcde\n"


@pytest.mark.parametrize(
    ("log", "want"),
    [
        pytest.param(b"", "", id="nothing"),
        pytest.param(b"one\ntwo", "one\ntwo", id="all of a short one"),
        pytest.param(b"first\n" + LINE * 256, LINE.decode() * 256, id="whole lines that just fit"),
        pytest.param(b"x" + LINE * 256, LINE.decode() * 255, id="no part of a line"),
        pytest.param(b"x" * 5000, "x" * MOST_BYTES, id="the end of a line that is longer"),
        pytest.param(b"x" * 5000 + b"\n", "x" * (MOST_BYTES - 1) + "\n", id="and of one that is the last"),
        pytest.param("é".encode() * 3000 + b"!", "é" * 2047 + "!", id="no half of a character"),
        pytest.param(b"a\0b\xff\n", "ab\ufffd\n", id="neither NUL nor what is not UTF-8"),
    ],
)
def test_the_end_of_a_log(log: bytes, want: str) -> None:
    """It has at most 4 KiB, and no part of a line or a character where that can be avoided."""
    assert log_end(log) == want
