"""A sample of the mutants; `python -m tests.fuzz requests --count 12000` sends as many as wanted."""

from __future__ import annotations

from tests.fuzz.requests import Addresses, fuzz_requests
from tests.gateway.gateway_process import GatewayProcess
from tests.helpers import png, smooth_images

SAMPLE = 360


def test_every_mutant_of_a_request_is_answered(gateway: GatewayProcess) -> None:
    addresses = Addresses(
        gateway.settings.http_port,
        gateway.settings.grpc_port,
        model="facades",
        condition="condition",
        image=png(smooth_images(1, seed=5)[0]),
        side=64,
    )
    report = fuzz_requests(addresses, SAMPLE)
    assert report.failures == []
    refused = sum(count for said, count in report.counts.items() if said not in ("HTTP 200", "gRPC OK"))
    assert SAMPLE / 4 < refused < SAMPLE
