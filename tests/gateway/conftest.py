"""A real Triton with the small bundle, and a gateway in front of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cgan_runtime.bundle import Bundle
from cgan_runtime.serving.environment import ServerEnvironment
from cgan_runtime.serving.server import TritonServer

from tests.gateway.gateway_process import GatewayProcess, engine_of, route_of
from tests.helpers import free_ports


@pytest.fixture(scope="session")
def gateway(
    server: TritonServer,
    bundle: Bundle,
    server_environment: ServerEnvironment,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[GatewayProcess]:
    with GatewayProcess(free_ports(), tmp_path_factory.mktemp("gateway") / "gateway.log") as running:
        running.tell(routes=(route_of(bundle, server_environment),))
        running.tell(engine=engine_of(server))
        yield running


@pytest.fixture
def own_gateway(server: TritonServer, bundle: Bundle, server_environment: ServerEnvironment, tmp_path: Path) -> Any:
    """A gateway with the settings that a test wants, ready."""
    started: list[GatewayProcess] = []

    def start(**settings: Any) -> GatewayProcess:
        gateway = GatewayProcess(free_ports(), tmp_path / f"gateway-{len(started)}.log", **settings)
        gateway.__enter__()
        started.append(gateway)
        gateway.tell(routes=(route_of(bundle, server_environment),))
        gateway.tell(engine=engine_of(server))
        return gateway

    yield start
    for gateway in started:
        gateway.stop()
