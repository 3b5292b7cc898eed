"""Run a server until a signal ends it, or it ends by itself."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, NoReturn, Protocol

if TYPE_CHECKING:
    from cgan_runtime.bundle import Bundle

__all__ = ["serve_until_stopped"]


class Server(Protocol):
    """What can be served until a signal."""

    @property
    def models(self) -> tuple[str, ...]:
        """What it serves."""

    @property
    def http_url(self) -> str:
        """Base URL for HTTP clients."""

    @property
    def grpc_url(self) -> str:
        """host:port for gRPC clients."""

    def start(self) -> object:
        """Start, and wait until it serves."""

    def wait(self) -> object:
        """Block until it ends by itself."""

    def stop(self) -> object:
        """Answer what was accepted, and end."""


def serve_until_stopped(
    server: Server,
    bundles: Sequence[Bundle],
    say: Callable[[str], object],
    rules: str,
    beside: Callable[[], AbstractContextManager[object]] = contextlib.nullcontext,
    *,
    key: bool = False,
) -> int:
    """Start, print how to call it, and serve until SIGTERM, SIGHUP or Ctrl-C; returns 0 then.

    Args:
        server: not started yet.
        bundles: that it serves.
        say: told the rules once it serves, and when it ends.
        rules: what callers have to know.
        beside: what is to run beside it once it serves.
        key: whether callers need an API key.

    Raises:
        CganError: it could not be started, or ended by itself.
    """
    from cgan_runtime.serving.examples import ready_text

    began = None
    try:
        _end_at(signal.SIGTERM, signal.SIGHUP)
        server.start()
        began = time.monotonic()
        with beside():
            _end_at(signal.SIGINT)  # from now on Ctrl-C is the usual way to end
            say(rules)
            print(ready_text(server, bundles, key=key), flush=True)
            server.wait()
    except _Ended:
        pass
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # stopping is under way: once is enough
            signal.signal(number, signal.SIG_IGN)
        if began is not None:
            say("stopping; requests in flight are answered first")
        server.stop()
        if began is not None:
            say(f"served for {time.monotonic() - began:.0f} s")
    return 0


class _Ended(BaseException):
    """A signal asked for the end; no error, so that nobody handles it as one."""


def _end_at(*numbers: signal.Signals) -> None:
    for number in numbers:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup and a shell's `&` have it
            signal.signal(number, _end)


def _end(*_: object) -> NoReturn:
    raise _Ended
