"""Runners over fake CUDA and fake TensorRT."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from cgan_runtime.bundle import Bundle
from cgan_runtime.contract import Contract
from cgan_runtime.runners.base import Array, Tensors
from cgan_runtime.runners.tensorrt.flavours import TENSORRT, TENSORRT_RTX
from cgan_runtime.runners.tensorrt.runner import TensorRtRunner

from tests.runtime.tensorrt.fake_cuda import FakeDriver, Faults
from tests.runtime.tensorrt.fake_tensorrt import FakeTensorRt, ProfileShapes, batches, fake_plan


@dataclass
class Opened:
    """A runner and what it runs on."""

    runner: TensorRtRunner
    driver: FakeDriver
    trt: FakeTensorRt


Open = Callable[..., Opened]


def open_on_fakes(
    model: bytes,
    contract: Contract,
    profiles: Sequence[ProfileShapes],
    *,
    rtx: bool = False,
    contexts: int = 1,
    graphs: bool = True,
    noise_on_device: bool = True,
    driver: FakeDriver | None = None,
) -> Opened:
    driver = driver or FakeDriver()
    trt = FakeTensorRt(driver, rtx=rtx)
    runner = TensorRtRunner(
        fake_plan(model, profiles),
        contract,
        driver=driver,
        flavour=TENSORRT_RTX if rtx else TENSORRT,
        module=trt,
        contexts=contexts,
        graphs=graphs,
        noise_on_device=noise_on_device,
    )
    return Opened(runner, driver, trt)


@pytest.fixture
def opened() -> Iterator[Open]:
    """`open_on_fakes`; everything is closed after the test and nothing may be left."""
    made: list[Opened] = []

    def make(
        bundle: Bundle, *ranges: tuple[int, int], faults: Faults | None = None, **options: bool | int
    ) -> Opened:
        contract = bundle.manifest.contract
        samples = {tensor.name: tuple(map(int, tensor.shape)) for tensor in contract.inputs}
        model = bundle.read(bundle.manifest.artifacts[0])
        one = open_on_fakes(model, contract, batches(samples, *ranges), driver=FakeDriver(faults), **options)  # type: ignore[arg-type] # of open_on_fakes
        made.append(one)
        return one

    yield make
    for one in made:
        one.runner.close()
        assert not one.driver.alive()


def inputs_of(contract: Contract, batch: int, seed: int = 0) -> dict[str, Array]:
    """Inputs that no other seed gives."""
    rng = np.random.default_rng((seed, batch))
    return {
        tensor.name: rng.normal(size=(batch, *map(int, tensor.shape))).astype(np.float32)
        if tensor.dtype == "float32"
        else rng.integers(0, 3, size=batch)
        for tensor in contract.inputs
    }


def assert_same(answer: Tensors, wanted: Tensors, *, exact: bool = True) -> None:
    assert list(answer) == list(wanted)
    for name, value in wanted.items():
        if exact:
            np.testing.assert_array_equal(answer[name], value)
        else:
            np.testing.assert_allclose(answer[name], value, atol=2e-6)
