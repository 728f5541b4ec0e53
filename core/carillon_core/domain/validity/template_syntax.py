"""Checks the syntax of the templates of an HTTP task or target; the runner renders them. Pure."""

from typing import TYPE_CHECKING

from carillon_core.errors import FieldProblem

if TYPE_CHECKING:
    from jinja2.sandbox import SandboxedEnvironment

VARIABLES = ("slot", "local_slot", "execution_id", "attempt", "task", "namespace", "cause", "parameters")
"""The variables of templates; see ``HTTPTask``."""
_BUILT_IN = ("range", "dict", "cycler", "joiner")


def template_problems(text: str | None, path: str) -> tuple[FieldProblem, ...]:
    """Return the problems of one template: invalid syntax, or an unknown variable."""
    if text is None or "{" not in text:
        return ()
    from jinja2 import TemplateError, meta  # noqa: PLC0415  # imported only for tasks with templates

    try:
        parsed = _environment().parse(text)
        unknown = sorted(meta.find_undeclared_variables(parsed) - {*VARIABLES, *_BUILT_IN})  # reads filters as well
    except RecursionError:
        return (_unreadable(path, "it is nested too deeply"),)
    except TemplateError as error:
        return (_unreadable(path, str(error.message)),)
    except ValueError:  # from Python, for an integer with too many digits
        return (_unreadable(path, "it has a number that is too long"),)
    if unknown:
        known = ", ".join(VARIABLES)
        return (FieldProblem(path, f"reads {', '.join(unknown)}, which are not template variables: use {known}"),)
    return ()


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
