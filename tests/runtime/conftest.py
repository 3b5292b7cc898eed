"""The tiny bundles, and one real Triton that serves all of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cgan_runtime.bundle import Bundle
from cgan_runtime.serving.environment import ServerEnvironment
from cgan_runtime.serving.server import ServerOptions, TritonServer

from tests.helpers import free_ports
from tests.runtime import tiny


@pytest.fixture(scope="session")
def tiny_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tiny")


@pytest.fixture(scope="session")
def shoes(tiny_root: Path) -> Bundle:
    return tiny.shoes(tiny_root)


@pytest.fixture(scope="session")
def clouds(tiny_root: Path) -> Bundle:
    return tiny.clouds(tiny_root)


@pytest.fixture(scope="session")
def blends(tiny_root: Path) -> Bundle:
    return tiny.blends(tiny_root)


@pytest.fixture(scope="session")
def logs(tiny_root: Path) -> Bundle:
    return tiny.logs(tiny_root)


@pytest.fixture(scope="session")
def tiny_server(
    shoes: Bundle, clouds: Bundle, blends: Bundle, logs: Bundle, server_environment: ServerEnvironment
) -> Iterator[TritonServer]:
    """A running server with all of them."""
    options = ServerOptions(ports=free_ports(), drain_seconds=2)
    with TritonServer([shoes, clouds, blends, logs], server_environment, options) as running:
        yield running
