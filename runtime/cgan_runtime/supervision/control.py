"""How commands speak to a server that runs: a socket in its folder that only its user can open.

One JSON object a line each way: `Request`, then `Reply`.
"""

from __future__ import annotations

import contextlib
import os
import socket
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import ValidationError

from cgan_runtime.contract import Value
from cgan_runtime.errors import (
    BundleError,
    CganError,
    CheckFailedError,
    ServerError,
    UsageError,
)
from cgan_runtime.serving.ports import state_folder
from cgan_runtime.supervision.publishing import Publisher
from cgan_runtime.supervision.supervisor import Supervisor

__all__ = ["Reply", "Request", "ask", "control_socket"]

SOCKET: Final = "control"
MOST_BYTES: Final = 2**16
ANSWER_SECONDS: Final = 600.0  # a large model is read, loaded and tried
ERRORS: Final = {
    kind.exit_code: kind for kind in (CganError, UsageError, BundleError, ServerError, CheckFailedError)
}


class Request(Value):
    """What a command asks for.

    Attributes:
        action: which of them.
        bundle: absolute path, to publish.
        name: of a bundle, to roll back.
        allow_new_contract: publish though clients have to change.
    """

    action: Literal["publish", "rollback", "status"]
    bundle: str = ""
    name: str = ""
    allow_new_contract: bool = False


class Reply(Value):
    """What the server answers: a result, or the exit code and the sentence of an error."""

    result: str | dict[str, Any] = ""
    error: str | None = None
    exit_code: int = 0


@contextlib.contextmanager
def control_socket(server: Supervisor, publisher: Publisher) -> Iterator[None]:
    """Answer commands during the block, each in a thread of its own.

    Raises:
        OSError: the socket cannot be made.
    """

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            reply = _answer(self.rfile.readline(MOST_BYTES), server, publisher)
            with contextlib.suppress(OSError):  # who asked did not wait
                self.wfile.write(reply.model_dump_json().encode() + b"\n")

    with _address(server.settings.http_port) as address:
        Path(address).unlink(missing_ok=True)  # of a server that was killed: this one has claimed the ports
        listener = socketserver.ThreadingUnixStreamServer(address, Handler)
        Path(address).chmod(0o600)
        listener.daemon_threads = True
        threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
        try:
            yield
        finally:
            listener.shutdown()
            listener.server_close()
            Path(address).unlink(missing_ok=True)


def ask(http_port: int, request: Request) -> str | dict[str, Any]:
    """The result of a request to the server on this port.

    Raises:
        ServerError: there is none of this user, or it ended before it answered.
        CganError: what the server raised, as the class with its exit code.
    """
    try:
        with _address(http_port) as address, socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(ANSWER_SECONDS)
            connection.connect(address)
            connection.sendall(request.model_dump_json().encode() + b"\n")
            line = connection.makefile("rb").readline()
        reply = Reply.model_validate_json(line)
    except OSError as error:
        raise ServerError(
            f"no cgan-serve of this user runs on HTTP port {http_port} ({error.strerror or error}); start it, or "
            "give its --http-port."
        ) from error
    except ValidationError as error:
        raise ServerError(
            f"the cgan-serve on HTTP port {http_port} ended before it answered; its log tells why."
        ) from error
    if reply.error is not None:
        raise ERRORS.get(reply.exit_code, CganError)(reply.error)
    return reply.result


def _answer(line: bytes, server: Supervisor, publisher: Publisher) -> Reply:
    try:
        request = Request.model_validate_json(line)
        if request.action == "publish":
            return Reply(
                result=publisher.publish(Path(request.bundle), allow_new_contract=request.allow_new_contract)
            )
        if request.action == "rollback":
            return Reply(result=publisher.rollback(request.name))
        return Reply(result=server.status())
    except ValidationError:
        return Reply(error="the server does not understand this command; are both of one release?", exit_code=1)
    except CganError as error:
        return Reply(error=str(error), exit_code=error.exit_code)
    except OSError as error:
        return Reply(error=f"{error.filename or 'the server'}: {error.strerror or error}.", exit_code=1)


@contextlib.contextmanager
def _address(http_port: int) -> Iterator[str]:
    """The path of the socket, by a handle of its folder: a socket's path may have 107 bytes at most."""
    handle = os.open(state_folder(http_port), os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{handle}/{SOCKET}"
    finally:
        os.close(handle)
