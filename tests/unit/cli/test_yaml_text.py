"""YAML that kubectl's parser reads as PyYAML wrote it."""

import re

import pytest
import yaml

from carillon_cli.yaml_text import yaml_text

GO_READS_OTHERWISE = ["1e3", "12e045", "0o17", "y", "N", "1_000", "+1", ".5", "0x1F", "-.inf", "190:20:30", "08", "1E5"]
"""Texts that a parser of YAML 1.1 or 1.2 reads as a number or a boolean, but for quotes."""


@pytest.mark.parametrize("text", GO_READS_OTHERWISE)
def test_a_text_that_looks_like_another_value_is_quoted(text: str) -> None:
    """PyYAML itself reads some of them as texts, and would write them without quotes."""
    assert yaml_text([{"a": text}]) == f"---\na: '{text}'\n"


def test_scripts_are_blocks_and_long_lines_are_not_folded() -> None:
    """So a reader recognises what was in the CronJob."""
    script = "set -eu\necho \"$(date) '$USER'\" | tee -a /log\n"
    written = yaml_text([{"script": script, "args": ["word " * 60]}])
    assert written.startswith("---\nscript: |\n  set -eu\n  echo")
    assert len(re.findall("\n", written)) == 6
    assert yaml.safe_load(written) == {"script": script, "args": ["word " * 60]}


@pytest.mark.parametrize("text", ["a\n  b \n", "\tx\n", " lead\n", "trail \n\n\n", "\r\n", "plain", "", "é\u2028x\n"])
def test_any_text_is_read_as_it_was(text: str) -> None:
    """Where a block cannot hold a text, it is quoted."""
    assert yaml.safe_load(yaml_text([{"a": text}])) == {"a": text}
