"""A server behind the gateway, and other versions of its bundle."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cgan_runtime.bundle import Bundle
from cgan_runtime.serving.environment import ServerEnvironment
from cgan_runtime.supervision.supervisor import Supervisor

from tests.soak.base import Said
from tests.supervision.clients import settings_of_a_test
from tests.supervision.versions import other_version, unsound_versions


@pytest.fixture(scope="session")
def versions(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Bundles of one name: two sound ones, a damaged one and one whose model is not that of its samples."""
    root = tmp_path_factory.mktemp("versions")
    return {
        "second": other_version(bundle, root / "second", 1.5),
        "third": other_version(bundle, root / "third", 2),
        **unsound_versions(bundle, root),
    }


@pytest.fixture(scope="module")
def supervised(bundle: Bundle, server_environment: ServerEnvironment, said: Said) -> Iterator[Supervisor]:
    """A running one."""
    with Supervisor([bundle], server_environment, settings_of_a_test(), say=said.note) as running:
        yield running


@pytest.fixture(scope="module")
def said() -> Said:
    """What the supervisor told its user."""
    return Said()
