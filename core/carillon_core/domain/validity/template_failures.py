"""Finds what every rendering of a template fails on, in its parsed form; nothing is rendered. Pure.

``template_syntax`` calls it. Templates are judged by what the runner gives them: a sandbox that changes nothing, no
other templates, and variables that are texts, numbers, times and one object. What depends on a value passes.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import cache
from inspect import Signature, signature
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import nodes

TEXTS = ("execution_id", "task", "namespace", "cause")
TIMES = ("slot", "local_slot")
_KINDS: dict[str, tuple[type, str]] = {
    **dict.fromkeys(TEXTS, (str, "a string")),
    **dict.fromkeys(TIMES, (datetime, "a time")),
    "attempt": (int, "a number"),
    "parameters": (dict, "an object"),
}
"""The type of each variable, and its name in a sentence."""
_GIVEN_BY_JINJA = {"context", "env", "environment", "eval_ctx"}
"""First parameters of filters that no template passes."""
_CHANGES = {"clear", "pop", "popitem", "setdefault", "update"}
"""Methods of an object that the sandbox refuses."""
_OPTIONAL = {"default", "d", "defined", "undefined"}
"""Filters and tests that take a variable that does not exist."""


def certain_failures(parsed: "nodes.Template") -> Iterator[str]:
    """Yield why a template cannot be rendered, one sentence each, without its first word and a full stop."""
    from jinja2 import nodes  # noqa: PLC0415  # imported only for tasks with templates

    judged = list(parsed.find_all(_judged()))
    own = _assigned(judged)
    optional = _optional(judged)
    # made once: a union of types is as slow to make as a node is to find
    others = (nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)
    divisions, applied = (nodes.Div, nodes.FloorDiv), (nodes.Filter, nodes.Test)
    certain = _certain(parsed)
    for node in judged:
        if id(node) not in certain:
            continue
        if isinstance(node, nodes.Getattr):
            if id(node) not in optional:
                yield from _attribute(node, own)
        elif isinstance(node, nodes.Call):
            yield from _call(node, own)
        elif isinstance(node, applied):
            yield from _arguments(node)
        elif isinstance(node, others):
            yield "it includes another template, which is not supported: write the text here"
        elif isinstance(node, nodes.NSRef):
            yield f"it sets the attribute {node.name}.{node.attr}, which is not allowed: set a plain variable instead"
        elif isinstance(node, divisions) and _is_zero(node.right):
            yield "it divides by zero"


def _certain(parsed: "nodes.Template") -> set[int]:
    """Return the nodes that every rendering evaluates: of a condition or a loop, what is evaluated first."""
    from jinja2 import nodes  # noqa: PLC0415  # the same

    first = {nodes.If: "test", nodes.CondExpr: "test", nodes.And: "left", nodes.Or: "left", nodes.For: "iter"}
    later = (nodes.Macro, nodes.CallBlock)
    found: set[int] = set()
    left: list[nodes.Node] = [parsed]
    while left:  # each node once
        node = left.pop()
        if isinstance(node, later):
            continue
        found.add(id(node))
        left += [getattr(node, first[type(node)])] if type(node) in first else node.iter_child_nodes()
    return found


def _assigned(judged: "Iterable[nodes.Node]") -> set[str]:
    """Return the names that a template itself defines, which may hide a variable."""
    from jinja2 import nodes  # noqa: PLC0415  # the same

    names = {each.name for each in judged if isinstance(each, nodes.Name) and each.ctx != "load"}
    return names | {each.name for each in judged if isinstance(each, nodes.Macro)}


def parameters_read(parsed: "nodes.Template") -> list[str]:
    """Return the parameters that every rendering of a template reads, sorted: none in a condition or with a default."""
    from jinja2 import nodes  # noqa: PLC0415  # the same

    judged = list(parsed.find_all(_judged()))
    own, optional, certain = _assigned(judged), _optional(judged), _certain(parsed)
    found = set()
    for node in judged:
        if id(node) not in certain or id(node) in optional:
            continue
        if not isinstance(node, nodes.Getattr | nodes.Getitem) or _variable(node.node, own) != "parameters":
            continue
        if isinstance(node, nodes.Getitem):
            if isinstance(node.arg, nodes.Const):
                found.add(str(node.arg.value))
        elif not hasattr(dict, node.attr):
            found.add(node.attr)
    return sorted(found)


def _optional(judged: "Iterable[nodes.Node]") -> set[int]:
    """Return the expressions that need not exist: those with a default, and those that are only passed on."""
    from jinja2 import nodes  # noqa: PLC0415  # the same

    found: list[nodes.Node | None] = []
    passing = (nodes.Assign, nodes.List, nodes.Tuple, nodes.Pair, nodes.Keyword)
    applied = (nodes.Filter, nodes.Test)
    for each in judged:
        if isinstance(each, nodes.Call):
            found += each.args
        elif isinstance(each, applied):
            found += each.args
            if each.name in _OPTIONAL:
                found.append(each.node)
        elif isinstance(each, passing):
            found += each.iter_child_nodes()
    return {id(each) for each in found}


def _judged() -> "tuple[type[nodes.Node], ...]":
    from jinja2 import nodes  # noqa: PLC0415  # the same

    names: tuple[type[nodes.Node], ...] = (nodes.Name, nodes.Macro, nodes.Filter, nodes.Test, nodes.NSRef)
    other_templates = (nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)
    passing = (nodes.Assign, nodes.List, nodes.Tuple, nodes.Pair, nodes.Keyword)
    return (*names, *other_templates, *passing, nodes.Div, nodes.FloorDiv, nodes.Call, nodes.Getattr, nodes.Getitem)


def _is_zero(node: "nodes.Expr") -> bool:
    from jinja2 import nodes  # noqa: PLC0415  # the same

    return isinstance(node, nodes.Const) and node.value == 0


def _call(node: "nodes.Call", own: set[str]) -> Iterator[str]:
    from jinja2 import nodes  # noqa: PLC0415  # the same

    called = node.node
    if isinstance(called, nodes.Name) and called.name in _KINDS and called.name not in own:
        yield f"it calls {called.name}, which is {_KINDS[called.name][1]}: write it without parentheses"
    elif isinstance(called, nodes.Getattr) and _variable(called.node, own) == "parameters" and called.attr in _CHANGES:
        yield "it modifies parameters, which are read-only"


def _attribute(node: "nodes.Getattr", own: set[str]) -> Iterator[str]:
    if node.attr.startswith("__") and hasattr(object, node.attr):
        yield f"it reads {node.attr}, which is not allowed in templates"
        return
    name = _variable(node.node, own)
    if name is None or name == "parameters":
        return
    kind, shown = _KINDS[name]
    if node.attr.startswith("_") or not hasattr(kind, node.attr):
        yield f"it reads {name}.{node.attr}, which does not exist: {name} is {shown}"


def _variable(node: "nodes.Expr", own: set[str]) -> str | None:
    """Return the name of the variable that an expression reads, if it is one of ours."""
    from jinja2 import nodes  # noqa: PLC0415  # the same

    return node.name if isinstance(node, nodes.Name) and node.name in _KINDS and node.name not in own else None


def _arguments(node: "nodes.Filter | nodes.Test") -> Iterator[str]:
    """Yield a sentence if a filter or a test does not take these arguments."""
    from jinja2 import filters, nodes, tests  # noqa: PLC0415  # the same

    is_filter = isinstance(node, nodes.Filter)
    taken = _signature((filters.FILTERS if is_filter else tests.TESTS).get(node.name))
    if taken is None or node.dyn_args is not None or node.dyn_kwargs is not None:
        return
    first = next(iter(taken.parameters), "")
    count = 1 + (first in _GIVEN_BY_JINJA) + len(node.args)
    try:
        taken.bind(*[None] * count, **{str(each.key): None for each in node.kwargs})
    except TypeError as error:
        yield f"the {'filter' if is_filter else 'test'} {node.name} does not take these arguments ({error})"


@cache
def _signature(function: Any) -> Signature | None:
    try:
        return signature(function) if function is not None else None
    except ValueError:  # a function in C that does not tell
        return None
