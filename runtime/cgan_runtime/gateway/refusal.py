"""Why a request is not answered, with the code of each protocol."""

from __future__ import annotations

from math import ceil
from typing import Final

__all__ = ["GRPC_CODES", "Refusal", "full", "unknown_model"]

# HTTP status -> the name of a grpc.StatusCode.
GRPC_CODES: Final = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    408: "DEADLINE_EXCEEDED",
    413: "RESOURCE_EXHAUSTED",
    415: "INVALID_ARGUMENT",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
}


class Refusal(Exception):  # noqa: N818 - it is an answer, not an error of ours
    """An answer that is no result: one sentence that says what was given, what is needed, what to do.

    Attributes:
        status: HTTP status; `GRPC_CODES` has the code of gRPC.
        reason: one word for the metrics.
        retry_after: seconds after which the same request may succeed; None where it never will.
        model: public name of the one that was asked; empty where none was found.
    """

    def __init__(
        self, text: str, *, status: int = 400, reason: str = "invalid", retry_after: float | None = None
    ) -> None:
        super().__init__(text)
        self.status, self.reason, self.model = status, reason, ""
        self.retry_after = None if retry_after is None else max(1, ceil(retry_after))

    @property
    def grpc_code(self) -> str:
        """Name of the grpc.StatusCode."""
        return GRPC_CODES[self.status]


def unknown_model(name: str, known: list[str]) -> Refusal:
    """There is no such model here."""
    return Refusal(
        f"{name[:80]!r} is not served here; there is {', '.join(known)}.", status=404, reason="unknown_model"
    )


def full(text: str, retry_after: float, reason: str = "full") -> Refusal:
    """Nothing is wrong with the request; it may be sent again."""
    return Refusal(text, status=503, reason=reason, retry_after=retry_after)
