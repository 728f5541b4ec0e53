"""The operations: the body of each, and what it does with a ``Recorder``."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, FailFast, Field, ValidationError
from pydantic.alias_generators import to_camel
from pydantic_core import ErrorDetails

from carillon_core.json_values import has_more_values
from carillon_core.recording import wire
from carillon_core.recording.port import End, Recorder, Takeover
from carillon_core.recording.wire import MAX_BODY_BYTES, Operation
from carillon_recorder.refusals import RefusedRequestError

MOST_ATTEMPTS = 1000
"""Of one request; the functions in Postgres have the same limit."""
MAX_VALUES = 10 * MOST_ATTEMPTS
"""Of a body: an attempt has eight, and is one. More are refused before anything is built from them."""
MAX_SMALL_BYTES = 4 * 1024
"""Of a body that has names only."""
_PROBLEMS = 3


def _storable(text: str) -> str:
    if "\0" in text:
        msg = "must not contain NUL"
        raise ValueError(msg)
    return text


_Text = Annotated[str, AfterValidator(_storable)]
_Name = Annotated[str, Field(min_length=1, max_length=253), AfterValidator(_storable)]


class _Body(BaseModel):
    """A body as ``recording.wire`` encodes it."""

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel, hide_input_in_errors=True)


class Attempt(BaseModel):
    """An attempt, as the functions in Postgres read it."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    number: Annotated[int, Field(ge=1, le=2**31 - 1)]
    status: _Text
    reason: _Text | None = None
    error: _Text | None = None
    started_at: AwareDatetime
    finished_at: AwareDatetime | None = None
    status_code: Annotated[int, Field(ge=100, le=999)] | None = None
    response_time_ms: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None


_Attempts = Annotated[tuple[Attempt, ...], FailFast(), Field(max_length=MOST_ATTEMPTS)]


class _Nothing(_Body):
    pass


class _Claim(_Body):
    pod: _Name


class _Takeover(_Body):
    pod: _Name
    job: _Name
    again: bool
    most_attempts: Annotated[int, Field(ge=1)] | None


class _Saving(_Body):
    pod: _Name
    attempts: _Attempts


class _Increment(_Saving):
    name: str


class _Close(_Saving):
    status: _Text
    reason: _Text | None
    error: _Text | None
    result: _Text | None
    finished_at: AwareDatetime


Answer = Mapping[str, Any]
Work = Callable[[Recorder], Answer]


def _claim(given: _Claim) -> Work:
    return lambda recorder: {"begun": wire.encoded_begun(recorder.claim(given.pod))}


def _look(_given: _Nothing) -> Work:
    return lambda recorder: {"row": wire.encoded_row(recorder.look())}


def _take_over(given: _Takeover) -> Work:
    wanted = Takeover(given.pod, given.job, given.again, given.most_attempts)
    return lambda recorder: {"taken": wire.encoded_taken(recorder.take_over(wanted))}


def _save_attempts(given: _Saving) -> Work:
    return lambda recorder: {"saved": recorder.save_attempts(given.pod, _plain(given.attempts))}


def _increment(given: _Increment) -> Work:
    return lambda recorder: {"value": recorder.increment(given.pod, given.name, _plain(given.attempts))}


def _close(given: _Close) -> Work:
    end = End(
        status=given.status,
        reason=given.reason,
        error=given.error,
        result=given.result,
        finished_at=given.finished_at.isoformat(),
        attempts=_plain(given.attempts),
    )
    return lambda recorder: {"closed": recorder.close(given.pod, end)}


def _plain(attempts: tuple[Attempt, ...]) -> list[Mapping[str, Any]]:
    return [attempt.model_dump(mode="json", exclude_none=True) for attempt in attempts]


@dataclass(frozen=True, slots=True)
class _Kind:
    body: type[BaseModel]
    work: Callable[[Any], Work]
    most_bytes: int


KINDS: Mapping[Operation, _Kind] = {
    Operation.CLAIM: _Kind(_Claim, _claim, MAX_SMALL_BYTES),
    Operation.LOOK: _Kind(_Nothing, _look, MAX_SMALL_BYTES),
    Operation.TAKE_OVER: _Kind(_Takeover, _take_over, MAX_SMALL_BYTES),
    Operation.SAVE_ATTEMPTS: _Kind(_Saving, _save_attempts, MAX_BODY_BYTES),
    Operation.INCREMENT: _Kind(_Increment, _increment, MAX_BODY_BYTES),  # it saves the attempts, too
    Operation.CLOSE: _Kind(_Close, _close, MAX_BODY_BYTES),
}


def most_bytes(operation: Operation) -> int:
    """Return how many bytes the body of an operation may have."""
    return KINDS[operation].most_bytes


def work_of(operation: Operation, body: bytes) -> Work:
    """Return what an operation's body asks for.

    Raises:
        RefusedRequestError: The body is not one of this operation.

    """
    if has_more_values(body, MAX_VALUES):
        raise _invalid(f"it has more than {MAX_VALUES} values")
    kind = KINDS[operation]
    try:
        given = kind.body.model_validate_json(body)
    except ValidationError as error:
        # as many as there are values, at most
        problems = error.errors(include_url=False, include_context=False, include_input=False)
        raise _invalid("; ".join(map(_words, problems[:_PROBLEMS]))) from None
    return kind.work(given)


def _words(problem: ErrorDetails) -> str:
    return f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}"


def _invalid(why: str) -> RefusedRequestError:
    return RefusedRequestError(422, "InvalidBody", f"the request's body is invalid: {why}"[:500])
