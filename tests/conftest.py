"""One small trained-like generator, its checkpoint, its bundle and a real Triton that serves it, once per run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from cgan_runtime.bundle import Bundle, read_bundle
from cgan_runtime.serving.environment import ServerEnvironment, make_environment
from cgan_runtime.serving.server import ServerOptions, TritonServer
from cgan_trainer.families.pix2pix_networks import Pix2pixGenerator

from tests.helpers import (
    LABEL_COLORS,
    assert_one_sentence,
    free_ports,
    made_once,
    pix2pix_generator,
    run_command,
    write_labelled,
    write_pix2pix_checkpoint,
)

__all__ = ["assert_one_sentence"]


# Fixtures that train a run or make a bundle of their own, a few seconds each.
SLOW_FIXTURES = frozenset(
    {
        *("run", "unbroken", "satellite", "digits"),
        *("full_bundle", "free_bundle", "labels_bundle", "free", "foreign", "toy"),
    }
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark `server` and `slow` by what a test uses, directly or through another fixture.

    A test that starts a command of ours is slow too: each is a new Python that imports torch or ONNX Runtime.
    """
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        if "server_environment" in fixtures:
            item.add_marker(pytest.mark.server)
        code = getattr(getattr(item, "function", None), "__code__", None)
        if fixtures & SLOW_FIXTURES or (code is not None and "run_command" in code.co_names):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    """Here and in commands that tests start: two processes run, and threads beyond the cores wait by spinning."""
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


@pytest.fixture(autouse=True, scope="session")
def _cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What tests keep stays out of the user's folders; commands that tests start inherit it.

    Decoded images, and the logs of servers.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CGAN_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="session")
def generator() -> Pix2pixGenerator:
    """The network itself."""
    return pix2pix_generator()


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, generator: Pix2pixGenerator) -> Path:
    """facades.pt"""
    return write_pix2pix_checkpoint(tmp_path_factory.mktemp("checkpoint") / "facades.pt", generator)


@pytest.fixture(scope="session")
def bundle_path(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Path:
    """facades/, exported by the command. Treat as read-only; copy it to damage it."""

    def make(target: Path) -> None:
        done = run_command("cgan-export", checkpoint, "-o", target)
        assert done.returncode == 0, done.stderr

    return made_once(tmp_path_factory, "facades", make)


@pytest.fixture(scope="session")
def bundle(bundle_path: Path) -> Bundle:
    """The same, read."""
    return read_bundle(bundle_path)


@pytest.fixture(scope="session")
def server_environment() -> ServerEnvironment:
    """The real Triton's environment, made on the first run."""
    return make_environment(say=lambda _: None)


@pytest.fixture(scope="session")
def server(bundle: Bundle, server_environment: ServerEnvironment) -> Iterator[TritonServer]:
    """A running server with the bundle."""
    with TritonServer([bundle], server_environment, ServerOptions(ports=free_ports(), drain_seconds=2)) as running:
        yield running


@pytest.fixture(scope="session")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("labelled")
    write_labelled(root / "train", 12, seed=0)
    write_labelled(root / "val", 2, seed=1)
    write_labelled(root / "test", 5, seed=2)
    palette = {"names": ["ground", "red", "green"], "colors": LABEL_COLORS}
    described = {"name": "blocks", "domains": {"A": "labels", "B": "photo"}, "palettes": {"A": palette}}
    (root / "dataset.json").write_text(json.dumps(described))
    return root
