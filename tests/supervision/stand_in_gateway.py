"""A gateway that forwards nothing: it binds its ports, reads commands and says that they were done."""

from __future__ import annotations

import socket
import sys

from cgan_runtime.gateway.settings import Command, Event


def say(event: Event) -> None:
    sys.stdout.write(event.model_dump_json() + "\n")
    sys.stdout.flush()


def main() -> None:
    first = Command.model_validate_json(sys.stdin.readline())
    assert first.settings is not None
    settings, served = first.settings, set[str]()
    sockets = [socket.create_server((settings.host, port)) for port in (settings.http_port, settings.grpc_port)]
    say(Event(listening=True))
    for line in sys.stdin:
        command = Command.model_validate_json(line)
        idle: tuple[str, ...] = ()
        if command.routes is not None:
            now = {name for route in command.routes for name in route.models.values()}
            idle, served = tuple(served - now), now
        say(Event(done=command.number, idle=idle))
    for item in sockets:
        item.close()


if __name__ == "__main__":
    main()
