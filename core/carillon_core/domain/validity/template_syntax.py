"""Whether the templates of an HTTP task or target can be read. ``validity`` asks; the runner renders. Pure."""

from typing import TYPE_CHECKING

from carillon_core.errors import FieldProblem

if TYPE_CHECKING:
    from jinja2.sandbox import SandboxedEnvironment

VARIABLES = ("slot", "local_slot", "execution_id", "attempt", "task", "namespace", "cause", "parameters")
"""What a template may read; see ``HTTPTask``."""
_BUILT_IN = ("range", "dict", "cycler", "joiner")


def template_problems(text: str | None, path: str) -> tuple[FieldProblem, ...]:
    """Return what is wrong with one template: its syntax, or a name that no template has."""
    if text is None or "{" not in text:
        return ()
    from jinja2 import TemplateError, meta  # noqa: PLC0415  # a task without templates does not pay for it

    try:
        parsed = _environment().parse(text)
        unknown = sorted(meta.find_undeclared_variables(parsed) - {*VARIABLES, *_BUILT_IN})  # reads filters as well
    except RecursionError:
        return (_unreadable(path, "it is nested too deeply"),)
    except TemplateError as error:
        return (_unreadable(path, str(error.message)),)
    except ValueError:  # Python's own, of what the lexer takes for an integer
        return (_unreadable(path, "it has a number that is too long"),)
    if unknown:
        known = ", ".join(VARIABLES)
        return (FieldProblem(path, f"reads {', '.join(unknown)}, which are not template variables: use {known}"),)
    return ()


def _unreadable(path: str, why: str) -> FieldProblem:
    return FieldProblem(path, f"is not a valid template: {why.rstrip('.')}; write one such as {{{{ slot }}}}")


def _environment() -> "SandboxedEnvironment":
    """Return an environment that reads templates and computes nothing.

    To find the names in a template Jinja generates its code, and folds constants as it does so: ``{{ 9**9**9 }}`` would
    be worked out here, in the process that serves everybody. It folds no operator that a sandbox intercepts, and no
    filter or test that wants the context.
    """
    from jinja2 import pass_context  # noqa: PLC0415  # a task without templates does not pay for it
    from jinja2.sandbox import SandboxedEnvironment  # noqa: PLC0415  # the same

    @pass_context
    def unfolded(*_: object) -> None:
        """Stand for a filter or a test, whose name is all that is asked for."""

    environment = SandboxedEnvironment(autoescape=False)
    environment.intercepted_binops = frozenset(environment.default_binop_table)
    environment.intercepted_unops = frozenset(environment.default_unop_table)
    environment.filters = dict.fromkeys(environment.filters, unfolded)
    environment.tests = dict.fromkeys(environment.tests, unfolded)
    return environment
