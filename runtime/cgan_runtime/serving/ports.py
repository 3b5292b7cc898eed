"""The ports of a server, held from before anything is loaded until it ends; and its folder for what it keeps."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cgan_runtime.errors import CganError, UsageError

__all__ = ["Ports", "claim_ports", "private_ports", "reachable_host", "state_folder"]

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, kw_only=True)
class Ports:
    """The three ports of a server."""

    http: int = 8000
    grpc: int = 8001
    metrics: int = 8002

    @property
    def named(self) -> dict[str, int]:
        """What people call each of them."""
        return {"HTTP": self.http, "gRPC": self.grpc, "metrics": self.metrics}


@contextlib.contextmanager
def claim_ports(host: str, ports: Ports) -> Iterator[None]:
    """Keep other servers of this user from the ports during the block.

    A socket alone cannot: gRPC binds so that several processes may share a port, and a server binds late.

    Raises:
        UsageError: two of them are equal.
        CganError: another server has one of them, or another program uses it.
    """
    import filelock

    taken: dict[int, str] = {}
    for purpose, port in ports.named.items():
        if port in taken:
            raise UsageError(
                f"the ports for {taken[port]} and {purpose} are both {port}; give each its own, for example "
                f"--{purpose.lower()}-port {max(ports.named.values()) % 65535 + 1}."
            )
        taken[port] = purpose
    folder = _state_root() / "ports"
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as held:
        for purpose, port in ports.named.items():
            file = folder / f"{port}.lock"
            lock = filelock.FileLock(file, thread_local=False)
            try:
                held.enter_context(lock.acquire(timeout=0))
            except filelock.Timeout as error:
                raise CganError(_refusal(purpose, port, host, "another cgan-serve has it")) from error
            held.callback(file.unlink, missing_ok=True)  # still locked: who waits for the removed file notices
            _require_free(purpose, port, host)
        yield


def private_ports() -> Ports:
    """Three loopback ports that nobody uses now."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(3)]
        for item in sockets:
            item.bind((LOOPBACK, 0))
        http, grpc, metrics = (int(item.getsockname()[1]) for item in sockets)
    return Ports(http=http, grpc=grpc, metrics=metrics)


def reachable_host(host: str) -> str:
    """The address by which this machine reaches what is bound to `host`."""
    everywhere = ("0.0.0.0", "::")  # noqa: S104 - compared, not bound
    return LOOPBACK if host in everywhere else host


def state_folder(http_port: int) -> Path:
    """Where the server on this port keeps its logs and its control socket."""
    return _state_root() / f"serve-{http_port}"


def _state_root() -> Path:
    import platformdirs

    return platformdirs.user_state_path("cgan-deploy")


def _require_free(purpose: str, port: int, host: str) -> None:
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise CganError(_refusal(purpose, port, host, str(error.strerror))) from error


def _refusal(purpose: str, port: int, host: str, reason: str) -> str:
    return (
        f"{purpose} port {port} on {host} cannot be used ({reason}); stop what uses it or choose another with "
        f"--{purpose.lower()}-port."
    )
