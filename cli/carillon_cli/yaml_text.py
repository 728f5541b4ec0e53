"""Writes objects as YAML that kubectl reads as they are. ``export``, ``import`` and ``convert`` use it."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

_WIDTH = 1_000_000
"""Lines are not folded: a command stays in one line."""
_AMBIGUOUS = re.compile(r"[-+.0-9][-+.0-9a-fA-F_:xoinINeE]*|[yYnN]")
"""Texts that PyYAML writes without quotes, and kubectl's parser reads as numbers or booleans: 1e3, 0o17, y."""


class _Dumper(yaml.SafeDumper):
    """Writes multi-line strings as blocks, and quotes strings that another parser may read as something else."""


def _text_node(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else "'" if _AMBIGUOUS.fullmatch(text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text_node)


def yaml_text(objects: Sequence[Mapping[str, Any]]) -> str:
    """Return objects as the documents of a YAML file; empty without objects."""
    if not objects:
        return ""
    return yaml.dump_all(
        objects, Dumper=_Dumper, sort_keys=False, allow_unicode=True, explicit_start=True, width=_WIDTH
    )
