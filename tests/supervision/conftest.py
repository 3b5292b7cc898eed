"""A server behind the gateway, and other versions of its bundle."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cgan_runtime.bundle import Bundle
from cgan_runtime.gateway.settings import GatewaySettings
from cgan_runtime.serving.environment import ServerEnvironment
from cgan_runtime.supervision.supervisor import Supervisor

from tests.helpers import free_ports
from tests.supervision.versions import other_version


def settings_of_a_test(drain_seconds: float = 2) -> GatewaySettings:
    ports = free_ports()
    return GatewaySettings(
        host="127.0.0.1",
        http_port=ports.http,
        grpc_port=ports.grpc,
        metrics_port=ports.metrics,
        drain_seconds=drain_seconds,
    )


@pytest.fixture(scope="session")
def versions(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Bundles of one name: two sound ones, a damaged one and one whose model is not that of its samples."""
    root = tmp_path_factory.mktemp("versions")
    found = {
        "second": other_version(bundle, root / "second", 1.5),
        "third": other_version(bundle, root / "third", 2),
        "damaged": other_version(bundle, root / "damaged", 3),
        "liar": other_version(bundle, root / "liar", 2.5, keeps_promise=False),
    }
    model = found["damaged"] / "model.onnx"
    model.write_bytes(model.read_bytes()[:-1] + b"x")
    return found


@pytest.fixture(scope="module")
def supervised(bundle: Bundle, server_environment: ServerEnvironment, said: list[str]) -> Iterator[Supervisor]:
    """A running one."""
    with Supervisor([bundle], server_environment, settings_of_a_test(), say=said.append) as running:
        yield running


@pytest.fixture(scope="module")
def said() -> list[str]:
    """What the supervisor told its user."""
    return []
