"""Read a request body: limited in size, as strict JSON, into a model. The routes depend on it.

FastAPI's own parser accepts NaN, lone surrogates, duplicate keys, ``"5"`` for
5 and bodies of any size; the API server rejects them, and so does the facade.
"""

import json
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NoReturn, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError

from carillon_api.http.problems import Kind, RequestRefusedError
from carillon_core.errors import FieldProblem, InvalidResourceError
from carillon_core.resources.scheduled_task import field_problems

MAX_BODY_BYTES = 1024 * 1024
MAX_DEPTH = 32
MAX_INTEGER_DIGITS = 19
MAX_INTEGER = 2**63 - 1

M = TypeVar("M", bound=BaseModel)


def json_body(model: type[M]) -> Callable[[Request], Awaitable[M]]:
    """Return a FastAPI dependency that reads the body as that model."""

    async def dependency(request: Request) -> M:
        _check_media_type(request)
        return parse_body(model, await _read(request))

    return dependency


def optional_json_body(model: type[M]) -> Callable[[Request], Awaitable[M]]:
    """Return a FastAPI dependency that reads the body as that model; a missing body counts as an empty object."""

    async def dependency(request: Request) -> M:
        body = await _read(request)
        if body or "content-type" in request.headers:
            _check_media_type(request)
        return parse_body(model, body or b"{}")

    return dependency


def parse_body(model: type[M], data: bytes) -> M:
    """Return a body as a model.

    Raises:
        RequestRefusedError: If it is not JSON.
        InvalidResourceError: With every problem found.

    """
    check_values(decode_json(data))
    try:
        return model.model_validate_json(data, strict=True, extra="forbid", by_alias=True, by_name=False)
    except ValidationError as error:
        raise InvalidResourceError(field_problems(error)) from error


def chosen_body(field: str, models: Mapping[str, type[M]]) -> Callable[[Request], Awaitable[M]]:
    """Return a FastAPI dependency that reads the body as the model that one of its fields names.

    Args:
        field: The field's name in JSON.
        models: The models by the field's value; each has the field too.

    """

    async def dependency(request: Request) -> M:
        _check_media_type(request)
        body = await _read(request)
        decoded = decode_json(body)
        check_values(decoded)
        chosen = decoded.get(field) if isinstance(decoded, dict) else None
        if isinstance(decoded, dict) and (not isinstance(chosen, str) or chosen not in models):
            message = "must be one of" if field in decoded else "is required: set it to one of"
            raise InvalidResourceError([FieldProblem(field, f"{message} {', '.join(models)}")])
        return parse_body(models[chosen] if isinstance(chosen, str) else next(iter(models.values())), body)

    return dependency


def _check_media_type(request: Request) -> None:
    """Reject a body that is not declared as JSON: a form that a browser posts from another site never is."""
    accepted = ["application/json"]
    if request.method == "PATCH":
        accepted.append("application/merge-patch+json")
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() not in accepted:
        listed = " or ".join(accepted)
        header = "Accept-Patch" if request.method == "PATCH" else "Accept"
        raise RequestRefusedError(
            Kind.UNSUPPORTED_MEDIA_TYPE,
            f"the body must be JSON: set the header Content-Type to {listed}",
            headers={header: ", ".join(accepted)},
        )


async def _read(request: Request) -> bytes:
    """Return the body; stop reading when it is too large, by its Content-Length or by what has arrived."""
    declared = request.headers.get("content-length", "")
    if len(declared) > MAX_INTEGER_DIGITS or (declared.isdecimal() and int(declared) > MAX_BODY_BYTES):
        _refuse_size()
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            _refuse_size()
    return bytes(body)


def _refuse_size() -> NoReturn:
    raise RequestRefusedError(Kind.TOO_LARGE, f"the body must not be larger than {MAX_BODY_BYTES} bytes")


def decode_json(data: bytes) -> Any:
    """Return JSON as Python values; a number beyond 64 bits becomes infinity, which ``check_values`` reports.

    Raises:
        RequestRefusedError: If it is not JSON (RFC 8259), or an object has a duplicate key.

    """
    try:
        return json.loads(data.decode(), parse_int=_integer, object_pairs_hook=_object)
    except UnicodeDecodeError as error:
        raise RequestRefusedError(Kind.MALFORMED, "the body must be encoded in UTF-8") from error
    except json.JSONDecodeError as error:
        where = f"line {error.lineno} column {error.colno}"
        raise RequestRefusedError(Kind.MALFORMED, f"the body is not valid JSON: {error.msg} at {where}") from error
    except RecursionError as error:
        raise RequestRefusedError(
            Kind.MALFORMED, f"the body must not be nested deeper than {MAX_DEPTH} levels"
        ) from error


def _integer(text: str) -> float:
    # Python needs quadratic time to parse a long number, and raises an error beyond 4300 digits.
    value = int(text) if len(text) <= MAX_INTEGER_DIGITS + 1 else math.inf
    return value if abs(value) <= MAX_INTEGER else math.inf


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        # Parsers disagree on which value counts; RFC 8259, section 4.
        raise RequestRefusedError(Kind.MALFORMED, "an object in the body has a duplicate key: remove one of the two")
    return found


def check_values(value: Any) -> None:
    """Reject values that JSON can express but Kubernetes, Postgres or UTF-8 cannot store.

    Raises:
        RequestRefusedError: If it is nested too deep.
        InvalidResourceError: With the paths of the invalid values.

    """
    problems = []
    left: list[tuple[str, Any, int]] = [("", value, 1)]
    while left:
        path, item, depth = left.pop()
        if depth > MAX_DEPTH:
            raise RequestRefusedError(Kind.MALFORMED, f"the body must not be nested deeper than {MAX_DEPTH} levels")
        message = None
        if isinstance(item, dict):
            left.extend((f"{path}.{k}".lstrip("."), v, depth + 1) for k, v in item.items())
            message = next((m for k in item if (m := _text_problem(k))), None)
        elif isinstance(item, list):
            left.extend((f"{path}[{i}]", v, depth + 1) for i, v in enumerate(item))
        elif isinstance(item, str):
            message = _text_problem(item)
        elif isinstance(item, float) and not math.isfinite(item):
            message = "must be a finite number that fits into 64 bits: use a smaller number"
        if message:
            problems.append(FieldProblem(path or "(body)", message))
    if problems:
        raise InvalidResourceError(problems)


def _text_problem(text: str) -> str | None:
    if "\0" in text:
        return "must not contain a NUL character: remove it"
    if any("\ud800" <= c <= "\udfff" for c in text):
        return "must not contain half of a surrogate pair: use the whole character"
    return None
