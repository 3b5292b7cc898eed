"""A served model, conditions and seeds over the network: the server draws the noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cgan_runtime.errors import UsageError

from cgan_bench.backends.base import Backend, Call, Opened, missing_package
from cgan_bench.sizes import at_size
from cgan_bench.target import Target
from cgan_bench.workload import conditions_for

__all__ = ["Triton"]


@dataclass(frozen=True)
class Triton(Backend):
    """One client of a server. The time holds network, noise, queueing and inference, but no image files."""

    @property
    def key(self) -> str:
        """Name in JSON."""
        return "triton"

    @property
    def title(self) -> str:
        """Name of the row."""
        return "server"

    def absence(self, target: Target) -> str | None:
        """It needs an address and the client library."""
        if target.server is None:
            return "no server was given; add --url"
        return missing_package("tritonclient", extra="serve")

    def open(self, target: Target, *, threads: int) -> Opened:  # noqa: ARG002 - the server's, not ours
        """Connect and ask for the contract."""
        from cgan_runtime.triton_client import TritonClient, TritonGenerator

        assert target.server is not None  # noqa: S101 - `absence` was asked first
        generator = TritonGenerator(TritonClient(target.server.url), target.server.model)
        if target.digest and generator.digest and target.digest != generator.digest:
            raise UsageError(
                f"{target.server.url} serves model {generator.digest[:16]} as {target.server.model}, "
                f"the model given is {target.digest[:16]}."
            )

        contract = at_size(generator.contract, target.size)

        def prepare(seeds: Sequence[int]) -> Call:
            conditions = conditions_for(contract, seeds)
            return lambda: generator.generate(conditions, seeds, [0] * len(seeds))

        scheme = target.server.url.partition("://")[0]
        description = f"model {target.server.model}, {scheme}"
        return Opened(description=description, contract=contract, prepare=prepare)
