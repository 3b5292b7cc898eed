"""cgan-serve publish, rollback and status: what is said to a server that runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators

__all__ = ["publish", "rollback", "status"]

Port = Annotated[int, Parameter(validator=validators.Number(gte=1, lte=65535))]


def publish(bundle: Path, *, http_port: Port = 8000, allow_new_contract: bool = False) -> None:
    """Serve another version of a bundle under the same name, without a failed request.

    The new one is checked, loaded and asked for its golden samples first.
    The one that serves goes on until then, and stays where anything is wrong.
    Every answer names its version and the digest of its model.

    Args:
        bundle: The bundle; one of its name is served already.
        http_port: Which server on this machine: its --http-port. [default: 8000]
        allow_new_contract: Also where inputs or outputs are other ones, so that clients have to change.
    """
    from cgan_runtime.bundle import read_bundle
    from cgan_runtime.supervision.control import Request, ask

    read_bundle(bundle)  # here too: what is wrong with it is said even where no server runs
    path = str(bundle.resolve())
    print(ask(http_port, Request(action="publish", bundle=path, allow_new_contract=allow_new_contract)))


def rollback(name: str, *, http_port: Port = 8000) -> None:
    """Serve again what was served under a name before the last publish or rollback.

    Args:
        name: Of the bundle.
        http_port: Which server on this machine: its --http-port. [default: 8000]
    """
    from cgan_runtime.supervision.control import Request, ask

    print(ask(http_port, Request(action="rollback", name=name)))


def status(*, http_port: Port = 8000, json_: Annotated[bool, Parameter(name="--json")] = False) -> None:
    """Say what a server on this machine serves, and how often it had to start something again.

    Args:
        http_port: Which server: its --http-port. [default: 8000]
        json_: As JSON.
    """
    from cgan_runtime.supervision.control import Request, ask

    found = ask(http_port, Request(action="status"))
    if json_ or isinstance(found, str):
        print(json.dumps(found, indent=2))
        return
    restarts = ", ".join(f"{count} of {what}" for what, count in found["restarts"].items())
    print(f"{'ready' if found['ready'] else 'not ready'} for {found['seconds']:.0f} s; restarts: {restarts}")
    for bundle in found["bundles"]:
        print(
            f"  {bundle['name']} version {bundle['version']}, model {bundle['model_digest']}, from {bundle['path']}"
        )
    print(f"  HTTP {found['http']}   gRPC {found['grpc']}\n  log {found['log']}")
