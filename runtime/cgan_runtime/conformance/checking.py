"""What a check is: a title and a function that returns if the server keeps it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from cgan_runtime.conformance.target import Target

__all__ = ["Check", "FailedError", "NotOfferedError", "Result", "require", "run"]

MAX_SENTENCE_CHARS = 300


class FailedError(Exception):
    """The server does otherwise; the message says what was expected and what was seen."""


class NotOfferedError(Exception):
    """The server does not have what the check is about."""


@dataclass(frozen=True)
class Check:
    """One line of the report.

    Attributes:
        title: what the server has to do, beginning with whose rule it is: http, binary, grpc or ours.
        ask: asks the server; raises FailedError or NotOfferedError.
    """

    title: str
    ask: Callable[[Target], None]


@dataclass(frozen=True)
class Result:
    """How a check ended; `said` is empty where it is ok."""

    title: str
    state: Literal["ok", "failed", "not offered"]
    said: str = ""


def require(fits: bool, expected: str, seen: object) -> None:
    """Say what was expected and what was seen.

    Raises:
        FailedError: it does not fit.
    """
    if not fits:
        raise FailedError(f"expected {expected}, got {seen}")


def run(target: Target, checks: Iterable[Check]) -> list[Result]:
    """Ask the server each check, in order."""
    results = []
    for check in checks:
        try:
            check.ask(target)
            results.append(Result(check.title, "ok"))
        except NotOfferedError as why:
            results.append(Result(check.title, "not offered", _sentence(why)))
        except FailedError as why:
            results.append(Result(check.title, "failed", _sentence(why)))
        except Exception as error:  # noqa: BLE001 - a broken answer may fail anywhere: KeyError, ValueError, RpcError
            results.append(Result(check.title, "failed", f"the answer cannot be used ({_sentence(error)})"))
    return results


def _sentence(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= MAX_SENTENCE_CHARS else f"{text[:MAX_SENTENCE_CHARS]}..."
