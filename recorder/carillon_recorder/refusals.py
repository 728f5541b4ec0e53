"""What a request is refused with; ``app`` turns one into a response that ``RecorderClient`` understands."""

from starlette.responses import JSONResponse, Response


class RefusedRequestError(Exception):
    """A request is not carried out, or it is unknown whether it was."""

    def __init__(
        self, status: int, code: str, detail: str, *, retry_after: int | None = None, in_doubt: bool = False
    ) -> None:
        """Say what the response is.

        Args:
            status: Of HTTP.
            code: A constant in CamelCase, for logs and metrics.
            detail: One sentence, for the runner's log and its termination message.
            retry_after: Seconds after which another try may succeed; None: it would be refused again.
            in_doubt: Whether the operation may have been carried out.

        """
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.retry_after = retry_after
        self.in_doubt = in_doubt

    def response(self) -> Response:
        """Return the response; a body that may not have been read ends the connection."""
        headers = {"Connection": "close"} if self.status in _UNREAD else {}
        if self.retry_after is not None:
            headers["Retry-After"] = str(self.retry_after)
        body = {"code": self.code, "detail": self.detail, "inDoubt": self.in_doubt}
        return JSONResponse(body, self.status, headers)


# a 503 keeps the connection: whoever comes again should not need another handshake, which is most of a claim's cost
_UNREAD = frozenset({401, 403, 408, 411, 413})


def busy(detail: str) -> RefusedRequestError:
    """Return the refusal of a request that the recorder has no room for now."""
    return RefusedRequestError(503, "Busy", detail, retry_after=1)
