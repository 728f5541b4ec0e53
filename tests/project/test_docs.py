"""The documentation: links are valid, and decisions are numbered without gaps."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SKIPPED = {".carillon", ".venv", "node_modules", ".pytest_cache"}


def pages() -> list[Path]:
    """Return all pages of the project, without looking into folders of what is built or installed."""
    found: list[Path] = []
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in SKIPPED]
        found += [Path(folder) / name for name in files if name.endswith(".md")]
    return sorted(found)


PAGES = pages()
LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)(?:#[^)]*)?\)")
SHORT_PATH = re.compile(r"`(core|operator|api|runner|cli)/…/([\w/]+(?:\.py)?)`")
DECISIONS = ROOT / "docs" / "adr"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page: Path) -> None:
    """Only relative links are checked; external ones may be unreachable."""
    missing = [link for link in LINK.findall(page.read_text()) if not (page.parent / link).exists()]
    assert missing == []


def test_the_walks_through_the_code_name_files_that_exist() -> None:
    """The architecture page shortens paths with an ellipsis."""
    named = SHORT_PATH.findall((ROOT / "docs" / "architecture.md").read_text())
    assert named
    missing = [path for root, path in named if not (ROOT / root / f"carillon_{root}" / path).exists()]
    assert missing == []


def test_decisions_are_numbered_and_listed() -> None:
    """Each page has a number of its own, and its line in the index. Branches use ranges: some stay free."""
    decisions = sorted(path.name for path in DECISIONS.glob("0*.md"))
    assert len({int(name[:4]) for name in decisions}) == len(decisions)
    index = (DECISIONS / "README.md").read_text()
    assert [name for name in decisions if f"({name})" not in index] == []
