"""The Jinja templates of an HTTP task. Jinja is imported only if a text contains a template.

The author of a task writes its templates, so they may be hostile. They are rendered
in a sandbox without access to files or Python internals, in a child process with
limits on memory and CPU time, because a sandbox limits neither.
"""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

from carillon_runner.environment import Environment
from carillon_runner.isolated import ChildLostError, call_isolated
from carillon_runner.outcome import Execution, TaskFailedError

OUTPUT_LIMIT = 2**20
"""Maximum number of characters of all rendered texts."""
RANGE_LIMIT = 10_000
MEMORY_BYTES = 128 * 2**20
CPU_SECONDS = 2
_MARKERS = ("{{", "{%", "{#")
_POWER_LIMIT = 1024
_WORDS_LIMIT = 300
_WIDTH = re.compile(r"%[^%a-zA-Z]*(\d{4}|\*)")


class Slot(datetime):
    """A time that prints in RFC 3339 format: ``2026-01-02T03:04:05Z``, with an offset if it is not in UTC."""

    def __str__(self) -> str:
        """Return the time to the second."""
        return self.isoformat(timespec="seconds").replace("+00:00", "Z")

    @classmethod
    def of(cls, when: datetime) -> "Slot":
        """Return the same time as a ``Slot``."""
        clock = (when.hour, when.minute, when.second, when.microsecond)
        return cls(when.year, when.month, when.day, *clock, tzinfo=when.tzinfo, fold=when.fold)


def has_template(text: str) -> bool:
    """Return whether a text contains a template."""
    return any(marker in text for marker in _MARKERS)


def rendered(texts: Mapping[str, str], execution: Execution) -> dict[str, str]:
    """Return the texts, by their fields' names, with the templates among them rendered.

    Raises:
        TaskFailedError: One cannot be rendered (``TemplateFailed``); the message names the field and says why.

    """
    templates = {name: text for name, text in texts.items() if has_template(text)}
    if not templates:
        return dict(texts)
    context = _context(execution.environment, execution.attempt, templates)
    try:
        answer = call_isolated(
            partial(render, templates, context), grace_seconds=0, memory_bytes=MEMORY_BYTES, cpu_seconds=CPU_SECONDS
        )
    except ChildLostError as error:
        raise _failed(", ".join(templates), f"its process {error}: it needs too much time or memory") from error
    if "error" in answer:
        raise _failed(answer["field"], answer["error"])
    return {**texts, **answer["texts"]}


def render(templates: Mapping[str, str], context: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``{"texts": {field: text}}``, or ``{"field": …, "error": why}`` of the first that fails.

    Limits output, ranges and powers only; ``rendered`` limits time and memory.
    """
    from jinja2 import TemplateError, TemplateSyntaxError  # noqa: PLC0415  # 50 ms: only for a template

    environment = _sandbox()
    texts: dict[str, str] = {}
    left = OUTPUT_LIMIT
    for field, template in templates.items():
        try:
            chunks = []
            for chunk in environment.from_string(template).generate(context):
                left -= len(chunk)
                if left < 0:
                    return {"field": field, "error": f"renders more than {OUTPUT_LIMIT} characters"}
                chunks.append(chunk)
            texts[field] = "".join(chunks)
        except TemplateSyntaxError as error:
            return {"field": field, "error": f"{error.message} (line {error.lineno})"}
        except TemplateError as error:
            return {"field": field, "error": error.message or type(error).__name__}
        except MemoryError:
            return {"field": field, "error": "takes too much memory"}
        except Exception as error:  # noqa: BLE001  # a template can cause any exception
            # without the message, which may contain a parameter
            return {"field": field, "error": f"raises {type(error).__name__}"}
    return {"texts": texts}


def _failed(field: str, why: str) -> TaskFailedError:
    return TaskFailedError("TemplateFailed", f"the template of {field} cannot be rendered: {why[:_WORDS_LIMIT]}")


def _context(environment: Environment, attempt: int, templates: Mapping[str, str]) -> dict[str, Any]:
    context: dict[str, Any] = {
        "slot": Slot.of(environment.slot.astimezone(UTC)),
        "execution_id": str(environment.execution_id),
        "attempt": attempt,
        "task": environment.task,
        "namespace": environment.namespace,
        "cause": environment.cause,
        "parameters": environment.parameters,
    }
    asking = [field for field, text in templates.items() if "local_slot" in text]
    if asking:
        from zoneinfo import ZoneInfo  # noqa: PLC0415  # only if a template needs it

        try:
            zone = ZoneInfo(environment.time_zone)
        except (ValueError, OSError, LookupError):
            raise _failed(", ".join(asking), f"time zone {environment.time_zone[:100]!r} is not known here") from None
        context["local_slot"] = Slot.of(environment.slot.astimezone(zone))
    return context


def _sandbox() -> Any:
    from jinja2 import StrictUndefined  # noqa: PLC0415  # see render
    from jinja2.exceptions import SecurityError  # noqa: PLC0415  # see render
    from jinja2.sandbox import ImmutableSandboxedEnvironment  # noqa: PLC0415  # see render

    def checked_range(*bounds: int) -> range:
        numbers = range(*bounds)
        if len(numbers) > RANGE_LIMIT:
            raise SecurityError(f"a range can have at most {RANGE_LIMIT} numbers")
        return numbers

    def check_format(text: Any) -> None:
        if isinstance(text, str) and _WIDTH.search(text):
            raise SecurityError("a width or precision of % can have at most three digits and cannot be *")

    def checked_format(value: Any, *args: Any, **kwargs: Any) -> str:
        check_format(str(value))
        return str(value) % (kwargs or args)

    class Sandbox(ImmutableSandboxedEnvironment):
        intercepted_binops = frozenset({"*", "**", "%"})

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            if operator == "%":
                check_format(left)
            elif operator == "*" and _product_size(left, right) > OUTPUT_LIMIT:
                raise SecurityError("the product is too large")
            elif operator == "**" and _power_size(left, right) > _POWER_LIMIT:
                raise SecurityError("the power is too large")
            return super().call_binop(context, operator, left, right)

    made = Sandbox(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)  # no HTML here
    made.globals["range"] = checked_range
    made.filters["format"] = checked_format
    return made


def _product_size(left: Any, right: Any) -> float:
    """Return about how many characters, items or bits a product has."""
    if isinstance(left, int) and isinstance(right, int):
        return left.bit_length() + right.bit_length()
    for text, times in ((left, right), (right, left)):
        if isinstance(times, int) and hasattr(text, "__len__"):
            return float(len(text) * max(times, 0))
    return 0


def _power_size(base: Any, exponent: Any) -> float:
    """Return about how many bits a power has."""
    try:
        return abs(math.log2(abs(base) + 1) * exponent) if isinstance(base, int) and isinstance(exponent, int) else 0
    except OverflowError:
        return math.inf
