"""``Recorder`` over HTTP: the runner's client of the recorder. Standard library only, as each start of a pod pays.

It opens a connection when it needs one and keeps it until ``disconnect``. Each
call is one request, whose answer is read whole and within bounds; repeating it
is up to ``carillon_runner.record``.
"""

import http.client
import json
import ssl
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import urlsplit
from uuid import UUID

from carillon_core.contract import ENV_RECORDER_CA, ENV_RECORDER_URL
from carillon_core.errors import SettingsError
from carillon_core.recording import wire
from carillon_core.recording.port import (
    Attempts,
    Begun,
    End,
    RecorderUnavailableError,
    RecordRefusedError,
    Row,
    Takeover,
)
from carillon_core.recording.wire import Operation

T = TypeVar("T")

WHAT = "recorder"
ANSWER_SECONDS = 20.0
"""How long to wait for a connection, and for each part of an answer: longer than the recorder takes to say no."""
MAX_ANSWER_BYTES = 8 * 2**20
LONGEST_WAIT_SECONDS = 30.0
"""The longest wait that the recorder may ask for."""
_OK = 200
_TOKEN_REFUSED = frozenset({401, 403})
_UNAVAILABLE = frozenset({408, 429, 500, 502, 503, 504})
_WORDS_LIMIT = 300


class RecorderClient:
    """The row of one execution, which the recorder finds by the token."""

    what = WHAT

    def __init__(self, url: str, ca: str | None, token: str, execution: UUID) -> None:
        """Connect to nothing yet.

        Args:
            url: ``https://host:port`` or ``http://host:port``.
            ca: PEM certificates that the recorder's must be signed by; None: those that the machine trusts.
            token: The execution's.
            execution: Its id, so that the recorder refuses the token of another one.

        Raises:
            SettingsError: The URL or the CA is invalid.

        """
        try:
            parts = urlsplit(url)
            self._host, self._port = parts.hostname or "", parts.port
        except ValueError:
            raise SettingsError(f"{ENV_RECORDER_URL} is not a valid URL: write https://host:port") from None
        self._context = _context(ca) if parts.scheme == "https" else None
        self._token = token
        self._execution = execution
        self._connection: http.client.HTTPConnection | None = None

    def claim(self, pod: str) -> Begun | None:
        """See ``Recorder``."""
        return self._answer(Operation.CLAIM, {"pod": pod}, "begun", wire.decoded_begun)

    def look(self) -> Row | None:
        """See ``Recorder``."""
        return self._answer(Operation.LOOK, {}, "row", wire.decoded_row)

    def take_over(self, wanted: Takeover) -> Begun | Row | str:
        """See ``Recorder``."""
        return self._answer(Operation.TAKE_OVER, wire.encoded_takeover(wanted), "taken", wire.decoded_taken)

    def save_attempts(self, pod: str, attempts: Attempts) -> bool:
        """See ``Recorder``."""
        body = {"pod": pod, "attempts": list(attempts)}
        return self._answer_with_attempts(Operation.SAVE_ATTEMPTS, body, "saved")

    def increment(self, pod: str, name: str, attempts: Attempts) -> int | None:
        """See ``Recorder``."""
        body = {"pod": pod, "name": name, "attempts": list(attempts)}
        return self._answer(Operation.INCREMENT, body, "value", wire.decoded_value)

    def close(self, pod: str, end: End) -> bool:
        """See ``Recorder``."""
        return self._answer_with_attempts(Operation.CLOSE, wire.encoded_end(pod, end), "closed")

    def disconnect(self) -> None:
        """See ``Recorder``."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def abandon(self) -> None:
        """See ``Recorder``: the recorder cancels the statement of a caller that has gone."""
        self.disconnect()

    def _answer_with_attempts(self, operation: Operation, body: Mapping[str, Any], field: str) -> bool:
        """Do as ``_answer``, and once more without responses if that is refused: an older recorder knows none.

        While an upgrade replaces the recorder, a runner may be newer than it.
        """
        try:
            return self._answer(operation, body, field, bool)
        except RecordRefusedError as error:
            plain = wire.without_responses(body["attempts"])
            if error.is_token or plain == body["attempts"]:
                raise
            return self._answer(operation, {**body, "attempts": plain}, field, bool)

    def _answer(self, operation: Operation, body: Mapping[str, Any], field: str, decode: Callable[[Any], T]) -> T:
        """Send a request; return a field of its answer, decoded.

        Raises:
            RecordRefusedError: The recorder refuses it for good.
            RecorderUnavailableError: There is no answer, or one that asks for another try.

        """
        sent = False
        try:
            connection = self._connected()
            sent = True
            status, headers, answer = self._exchanged(connection, operation, body)
        except (OSError, http.client.HTTPException) as error:
            self.disconnect()
            raise RecorderUnavailableError(WHAT, _words(error), in_doubt=sent) from error
        except BaseException:
            # a signal came in between: nothing can be read from this connection any more
            self.disconnect()
            raise
        given = _decoded(answer)
        if status == _OK:
            try:
                return decode(given[field])
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                why = "its answer cannot be read"
                raise RecorderUnavailableError(WHAT, why, in_doubt=True) from error
        detail = str(given.get("detail") or f"it answered {status}")[:_WORDS_LIMIT]
        retry_after = headers.get("Retry-After")
        if retry_after is None and status not in _UNAVAILABLE and given:
            raise RecordRefusedError(detail, is_token=status in _TOKEN_REFUSED)
        in_doubt = given.get("inDoubt") is not False
        wait = min(float(retry_after), LONGEST_WAIT_SECONDS) if retry_after and retry_after.isdigit() else 0.0
        raise RecorderUnavailableError(WHAT, detail, in_doubt=in_doubt, retry_after=wait)

    def _exchanged(
        self, connection: http.client.HTTPConnection, operation: Operation, body: Mapping[str, Any]
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        path = wire.PATH.format(execution=self._execution, operation=operation.value)
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        encoded = json.dumps(body).encode()
        if len(encoded) > wire.MAX_BODY_BYTES:
            raise RecordRefusedError(f"what is to be recorded is larger than {wire.MAX_BODY_BYTES} bytes")
        connection.request("POST", path, encoded, headers)
        response = connection.getresponse()
        answer = response.read(MAX_ANSWER_BYTES + 1)
        if len(answer) > MAX_ANSWER_BYTES:
            raise http.client.HTTPException(f"its answer is longer than {MAX_ANSWER_BYTES} bytes")
        if response.will_close:
            self.disconnect()
        return response.status, response.headers, answer

    def _connected(self) -> http.client.HTTPConnection:
        if self._connection is None:
            made = (
                http.client.HTTPConnection(self._host, self._port, timeout=ANSWER_SECONDS)
                if self._context is None
                else http.client.HTTPSConnection(self._host, self._port, timeout=ANSWER_SECONDS, context=self._context)
            )
            made.connect()
            self._connection = made
        return self._connection


def _context(ca: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cadata=ca)
    except (ssl.SSLError, ValueError):
        raise SettingsError(f"{ENV_RECORDER_CA} cannot be read: must be certificates in PEM") from None


def _decoded(answer: bytes) -> Mapping[str, Any]:
    """Return the JSON object, or an empty one if it is none, such as the page of a proxy."""
    try:
        given = json.loads(answer)
    except (ValueError, RecursionError):
        return {}
    return given if isinstance(given, dict) else {}


def _words(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is refused: {error.verify_message}"
    if isinstance(error, TimeoutError):
        return f"no answer within {ANSWER_SECONDS:g} s"
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
