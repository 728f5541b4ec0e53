"""Checks the syntax of the templates of an HTTP task or target; the runner renders them. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING

from carillon_core.domain.validity.template_failures import certain_failures, parameters_read
from carillon_core.errors import FieldProblem

if TYPE_CHECKING:
    from jinja2.sandbox import SandboxedEnvironment

VARIABLES = ("slot", "local_slot", "execution_id", "attempt", "task", "namespace", "cause", "parameters")
"""The variables of templates; see ``HTTPTask``."""
MOST_PARTS = 20_000
"""Of all templates of a task together: reading them takes a fifth of a second."""
_BUILT_IN = ("range", "dict", "cycler", "joiner")


Templates = Iterable[tuple[str, str | None]]
"""Texts by the paths of their fields."""


def template_problems(templates: Templates) -> tuple[FieldProblem, ...]:
    """Return the problems of a task's templates.

    These are the syntax, names that no template has, what every rendering fails on, and more than can be read.
    """
    given = [(path, text) for path, text in templates if text is not None and "{" in text]
    return _judged(_Given(given)) if given else ()


def parameters_of_templates(templates: Templates) -> Iterator[tuple[str, list[str]]]:
    """Yield the paths of templates that cannot be rendered without parameters, with the names of these.

    Args:
        templates: Templates without problems.

    """
    for path, text in templates:
        if text is not None and "parameters" in text and (names := parameters_read(_environment().parse(text))):
            yield path, names


class _Given:
    """Templates, which are the same as others with the same digest. They are let go when they have been judged."""

    __slots__ = ("digest", "templates")

    def __init__(self, templates: Sequence[tuple[str, str]]) -> None:
        self.templates = templates
        self.digest = blake2b(repr(templates).encode(), digest_size=16).digest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Given) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)


@lru_cache(maxsize=4096)  # decide asks at each slot, and reading takes longer than all else
def _judged(given: _Given) -> tuple[FieldProblem, ...]:
    environment = _environment()
    left = MOST_PARTS
    problems: list[FieldProblem] = []
    for path, text in given.templates:
        left -= _parts(environment, text, left)
        if left < 0:
            message = f"is too long: the templates of a task must not have more than {MOST_PARTS} parts in all"
            problems.append(FieldProblem(path, f"{message}; write a shorter one"))
            break
        problems += _problems_of(environment, text, path)
    given.templates = ()
    return tuple(problems)


def _parts(environment: "SandboxedEnvironment", text: str, left: int) -> int:
    """Return how many names, operators, numbers and tags a template has; beyond ``left``, it stops counting.

    To find the names of a template, Jinja needs some microseconds for each of them.
    """
    from jinja2 import TemplateError  # noqa: PLC0415  # imported only for tasks with templates

    count = 0
    try:
        for _, kind, _ in environment.lexer.tokeniter(text, None):
            count += kind not in {"data", "whitespace"}
            if count > left:
                break
    except TemplateError:  # which the parser reports, with what it has read until there
        return count
    return count


def _problems_of(environment: "SandboxedEnvironment", text: str, path: str) -> tuple[FieldProblem, ...]:
    from jinja2 import TemplateError, meta  # noqa: PLC0415  # imported only for tasks with templates

    try:
        parsed = environment.parse(text)
        unknown = sorted(meta.find_undeclared_variables(parsed) - {*VARIABLES, *_BUILT_IN})  # reads filters as well
        failure = next(certain_failures(parsed), None)
    except RecursionError:
        return (_unreadable(path, "it is nested too deeply"),)
    except TemplateError as error:
        return (_unreadable(path, str(error.message)),)
    except ValueError:  # from Python, for an integer with too many digits
        return (_unreadable(path, "it has a number that is too long"),)
    if unknown:
        known = ", ".join(VARIABLES)
        return (FieldProblem(path, f"reads {', '.join(unknown)}, which are not template variables: use {known}"),)
    return () if failure is None else (FieldProblem(path, f"is a template that cannot be rendered: {failure}"),)


def _unreadable(path: str, why: str) -> FieldProblem:
    return FieldProblem(path, f"is not a valid template: {why.rstrip('.')}; write one such as {{{{ slot }}}}")


def _environment() -> "SandboxedEnvironment":
    """Return an environment that parses templates and computes nothing.

    To find the variables of a template, Jinja generates its code, and folds constants in doing so: it would compute
    ``{{ 9**9**9 }}`` here, in a process that serves all users. It does not fold operators that a sandbox intercepts,
    or filters and tests that take the context.
    """
    from jinja2 import pass_context  # noqa: PLC0415  # imported only for tasks with templates
    from jinja2.sandbox import SandboxedEnvironment  # noqa: PLC0415  # the same

    @pass_context
    def unfolded(*_: object) -> None:
        """Stand in for a filter or a test, of which only the name is needed."""

    environment = SandboxedEnvironment(autoescape=False)
    environment.intercepted_binops = frozenset(environment.default_binop_table)
    environment.intercepted_unops = frozenset(environment.default_unop_table)
    environment.filters = dict.fromkeys(environment.filters, unfolded)
    environment.tests = dict.fromkeys(environment.tests, unfolded)
    return environment
