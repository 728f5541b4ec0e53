"""Whether the templates of an HTTP task or target can be read. ``validity`` asks; the runner renders. Pure."""

from carillon_core.errors import FieldProblem

VARIABLES = ("slot", "local_slot", "execution_id", "attempt", "task", "namespace", "cause", "parameters")
"""What a template may read; see ``HTTPTask``."""
_BUILT_IN = ("range", "dict", "cycler", "joiner")


def template_problems(text: str | None, path: str) -> tuple[FieldProblem, ...]:
    """Return what is wrong with one template: its syntax, or a name that no template has."""
    if text is None or "{" not in text:
        return ()
    from jinja2 import TemplateError, meta  # noqa: PLC0415  # a task without templates does not pay for it
    from jinja2.sandbox import SandboxedEnvironment  # noqa: PLC0415  # the same

    try:
        parsed = SandboxedEnvironment(autoescape=False).parse(text)
        unknown = sorted(meta.find_undeclared_variables(parsed) - {*VARIABLES, *_BUILT_IN})  # reads filters as well
    except (TemplateError, RecursionError) as error:
        why = error.message if isinstance(error, TemplateError) else "it nests too deeply"
        return (FieldProblem(path, f"is not a template: {str(why).rstrip('.')}; write one such as {{{{ slot }}}}"),)
    if unknown:
        known = ", ".join(VARIABLES)
        return (FieldProblem(path, f"reads {', '.join(unknown)}, which no template has: use {known}"),)
    return ()
