"""Read a request body: limited in size, as strict JSON, into a model. The routes depend on it.

FastAPI's own parser accepts NaN, lone surrogates, duplicate keys, ``"5"`` for
5 and bodies of any size; the API server rejects them, and so does the facade.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import NoReturn, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError

from carillon_api.http.json_text import MAX_INTEGER_DIGITS, check_values, decode_json
from carillon_api.http.problems import Kind, RequestRefusedError
from carillon_core.errors import FieldProblem, InvalidResourceError
from carillon_core.resources.field_problems import field_problems

MAX_BODY_BYTES = 1024 * 1024

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
        raise InvalidResourceError(field_problems(error, model)) from error


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
