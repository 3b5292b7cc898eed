"""`python -m cgan_runtime.conformance URL`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Annotated, NoReturn

from cyclopts import Parameter

from cgan_runtime.access import headers_for
from cgan_runtime.address import address_of
from cgan_runtime.cli.shell import app, run

__all__ = ["main"]

command = app("cgan-conformance")


@command.default
def conformance(
    url: str,
    *,
    model: str | None = None,
    grpc: str | None = None,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
) -> int:
    """Ask a running server, and print one line per check.

    A check is ok, failed, or not offered: the server does not have what it is about.

    What begins with "ours" is no part of the protocol.

    Exit code 0: nothing failed; 1: something did.

    For example:

        python -m cgan_runtime.conformance http://127.0.0.1:8000

    Args:
        url: http://HOST:PORT, or https://HOST:PORT with TLS, which gRPC then has too. The API key is taken from the
            environment variable CGAN_API_KEY.
        model: Which model to ask. [default: the first that takes a seed]
        grpc: HOST:PORT for gRPC. [default: the same host, the next port]
        as_json: One JSON object with all results.
    """
    from cgan_runtime.conformance.bad_requests import BAD_REQUEST_CHECKS
    from cgan_runtime.conformance.checking import run as ask_all
    from cgan_runtime.conformance.grpc_checks import GRPC_CHECKS
    from cgan_runtime.conformance.http_checks import HTTP_CHECKS
    from cgan_runtime.conformance.laws import LAW_CHECKS
    from cgan_runtime.conformance.target import Server, find_target

    address = address_of(url, ("http", "https"))
    grpc = grpc or replace(address, port=address.port + 1).authority
    target = find_target(Server(address, grpc, headers_for(address)), model)
    results = ask_all(target, (*HTTP_CHECKS, *BAD_REQUEST_CHECKS, *GRPC_CHECKS, *LAW_CHECKS))
    count = {state: sum(r.state == state for r in results) for state in ("ok", "failed", "not offered")}
    if as_json:
        plain = [asdict(result) for result in results]
        print(json.dumps({"url": url, "model": target.model, "count": count, "checks": plain}, indent=2))
    else:
        for result in results:
            print(f"{result.state:12} {result.title}{f': {result.said}' if result.said else ''}")
        print(f"model {target.model} at {url}: {', '.join(f'{n} {state}' for state, n in count.items())}")
    return 1 if count["failed"] else 0


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Entry point of the command; `argv` are its words, those of the process by default."""
    run(command, argv)


if __name__ == "__main__":
    main()
