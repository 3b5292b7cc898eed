"""Noise that the front models draw on the GPU: the kernel on the CPU, and NumPy as the reader of DLPack."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module, reload
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest
from cgan_runtime.axes import shape_of
from cgan_runtime.bundle import Bundle
from cgan_runtime.contract import Condition, Contract, ImageEncoding, NoiseInput, Output
from cgan_runtime.cuda.driver import DriverError
from cgan_runtime.errors import CganError, UsageError
from cgan_runtime.generator import SeededModel, noise_tensors
from cgan_runtime.serving import dlpack
from cgan_runtime.serving.device_inputs import DeviceInputs
from cgan_runtime.serving.dlpack import DeviceTensor
from cgan_runtime.serving.wire import OUR_SENTENCE

from tests.runtime.cpu_noise import CpuDriver, compile_for_the_cpu, noise_input

SEEDS = [7, 2**64 - 1, 0]
DRAWS = [0, 3, 2**32 - 1]
MASK, UNIFORM = noise_input("mask", 0, p=0.3), noise_input("uniform11", 2)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_for_the_cpu(tmp_path_factory.mktemp("noise"))


class Gpu(CpuDriver):
    """The rest of what the front models ask of a driver."""

    device = SimpleNamespace(number=0)
    is_closed = False
    is_filled = False

    def activate(self) -> None:
        self._called()

    def create_stream(self) -> int:
        self._called()
        return super().create_stream()

    def destroy_stream(self, stream: int) -> None:
        assert stream == 5

    def synchronise(self, stream: int) -> None:
        assert stream == 5
        self.is_filled = True
        self._called()

    def launch(self, *arguments: Any, **options: Any) -> None:
        self.is_filled = False
        super().launch(*arguments, **options)

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def gpu(library: Path) -> Gpu:
    return Gpu(library)


@pytest.fixture
def _readable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory of the device is memory of this process, and said to be: NumPy reads it then."""
    monkeypatch.setattr(dlpack, "CUDA", 1)


def sized(item: NoiseInput, *shape: int | str) -> NoiseInput:
    return item.model_copy(update={"shape": shape})


def shapes_of(inputs: Sequence[NoiseInput], rows: int, **sizes: int) -> dict[str, tuple[int, ...]]:
    return {item.name: (rows, *shape_of(item.shape, sizes)) for item in inputs}


def read(drawn: Mapping[str, DeviceTensor]) -> dict[str, np.ndarray]:
    return {name: np.from_dlpack(value).copy() for name, value in drawn.items()}


def bits(values: Mapping[str, np.ndarray]) -> dict[str, bytes]:
    return {name: value.tobytes() for name, value in values.items()}


@pytest.mark.usefixtures("_readable")
@pytest.mark.parametrize("half", [False, True])
def test_what_is_handed_over_is_the_hosts_noise(gpu: Gpu, half: bool) -> None:
    inputs = [sized(MASK, 2, 3, "h/4"), sized(UNIFORM, 5)]
    device = DeviceInputs(gpu.as_driver(), inputs, max_rows=4, half=half)
    for seeds, draws, side in ((SEEDS, DRAWS, 8), ([1], [0], 8), ([5] * 4, [0, 1, 2, 3], 64), (SEEDS, DRAWS, 8)):
        drawn = device.draw(seeds, draws, shapes_of(inputs, len(seeds), h=side))
        assert gpu.is_filled, "the consumer reads it on a stream of its own"
        wanted = noise_tensors(inputs, seeds, draws, {"h": side})
        found = read(drawn)
        assert {name: v.shape for name, v in found.items()} == {name: v.shape for name, v in wanted.items()}
        dtype = np.float16 if half else np.float32
        assert bits(found) == bits({name: value.astype(dtype) for name, value in wanted.items()})
    device.close()
    assert gpu.is_closed
    assert not gpu.alive


@pytest.mark.usefixtures("_readable")
def test_a_scalar_per_row_travels_as_one_column(gpu: Gpu) -> None:
    inputs = [sized(UNIFORM)]
    device = DeviceInputs(gpu.as_driver(), inputs, max_rows=3, half=False)
    assert read(device.draw(SEEDS, DRAWS, shapes_of(inputs, 3)))["z2"].shape == (3, 1)
    device.close()


def test_the_memory_is_said_to_be_of_the_gpu() -> None:
    tensor = DeviceTensor(address=64, shape=(2, 3), dtype=np.dtype(np.float16), device=3)
    assert tensor.__dlpack_device__() == (2, 3), "kDLCUDA is 2 in dlpack.h"
    with pytest.raises((BufferError, RuntimeError), match=r"[Dd]evice"):
        np.from_dlpack(tensor)


@pytest.mark.usefixtures("_readable")
def test_a_consumer_that_is_done_leaves_nothing(gpu: Gpu) -> None:
    address = gpu.allocate(24)
    before = set(dlpack._lent)
    tensor = DeviceTensor(address=address, shape=(2, 3), dtype=np.dtype(np.float32), device=0)
    array = np.from_dlpack(tensor)
    assert array.__array_interface__["data"][0] == address, "nothing was copied"
    del tensor
    gc.collect()
    assert array.tolist() == np.full(6, 0xA5A5A5A5, dtype=np.uint32).view(np.float32).reshape(2, 3).tolist()
    assert len(set(dlpack._lent) - before) == 1
    del array
    gc.collect()
    assert set(dlpack._lent) == before


def test_everything_is_given_back_whichever_call_fails(library: Path) -> None:
    """While it is made, and while it draws: a later draw is right, or fails too."""
    inputs = [sized(MASK, 9), sized(UNIFORM, "h")]
    calls = 0
    while True:
        calls += 1
        gpu = Gpu(library, fails_at=calls)
        try:
            device = DeviceInputs(gpu.as_driver(), inputs, max_rows=3, half=False)
        except DriverError:
            assert gpu.is_closed
            assert not gpu.alive
            continue
        failed = 0
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(dlpack, "CUDA", 1)
            for side in (4, 4, 64, 4):
                try:
                    found = read(device.draw(SEEDS, DRAWS, shapes_of(inputs, 3, h=side)))
                except DriverError:
                    failed += 1
                    continue
                assert bits(found) == bits(noise_tensors(inputs, SEEDS, DRAWS, {"h": side}))
        device.close()
        assert gpu.is_closed
        assert not gpu.alive
        if not failed:
            break
    assert calls > 20


def test_what_no_kernel_draws_is_left(gpu: Gpu) -> None:
    other = noise_input("hypersphere", 1)
    device = DeviceInputs(gpu.as_driver(), [sized(MASK, 4), other], max_rows=2, half=False)
    assert device.names == {MASK.name}
    assert list(device.draw([1], [0], {MASK.name: (1, 4)})) == [MASK.name]
    device.close()


class Core:
    """`triton_python_backend_utils`, as far as a front model calls a core with it: ONNX Runtime is the core."""

    TRITONSERVER_MEMORY_CPU = "cpu"

    def __init__(self, model: bytes) -> None:
        self.session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        self.handed_over: list[str] = []
        self.says: str | None = None

    def module(self) -> ModuleType:
        made = ModuleType("triton_python_backend_utils")
        core = self

        class Tensor:
            def __init__(self, name: str, array: np.ndarray) -> None:
                self.name, self.array = name, array

            def as_numpy(self) -> np.ndarray:
                return self.array

            @staticmethod
            def from_dlpack(name: str, tensor: DeviceTensor) -> Tensor:
                core.handed_over.append(name)
                return Tensor(name, np.from_dlpack(tensor))

        made.__dict__.update(
            Tensor=Tensor,
            TRITONSERVER_MEMORY_CPU="cpu",
            Logger=SimpleNamespace(log_error=lambda _: None),
            PreferredMemory=lambda kind: kind,
            InferenceRequest=lambda **request: SimpleNamespace(exec=lambda: self.run(request, Tensor)),
            get_output_tensor_by_name=lambda response, name: response.outputs[name],
        )
        return made

    def run(self, request: dict[str, Any], tensor: Any) -> Any:
        assert request["preferred_memory"] == "cpu"
        if self.says is not None:
            return SimpleNamespace(has_error=lambda: True, error=lambda: SimpleNamespace(message=lambda: self.says))
        ranks = {item.name: len(item.shape) for item in self.session.get_inputs()}
        feed = {t.name: t.array if ranks[t.name] > 1 else t.array[:, 0] for t in request["inputs"]}
        names = request["requested_output_names"]
        outputs = dict(zip(names, self.session.run(names, feed), strict=True))
        outputs = {name: tensor(name, v if v.ndim > 1 else v[:, None]) for name, v in outputs.items()}
        return SimpleNamespace(has_error=lambda: False, outputs=outputs)


@pytest.fixture
def core(blends: Bundle, monkeypatch: pytest.MonkeyPatch) -> Iterator[Core]:
    made = Core(blends.read("model.onnx"))
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", made.module())
    yield made
    sys.modules.pop("cgan_runtime.serving.core_call", None)


def opened(contract: Contract, gpu: Gpu, patch: pytest.MonkeyPatch, **settings: str) -> SeededModel:
    patch.setattr("cgan_runtime.cuda.driver.open_driver", lambda number: gpu if number == 1 else None)
    module = import_module("cgan_runtime.serving.core_call")
    model: SeededModel = reload(module).open_core(
        contract, {"core": "blends_core", "gpu": "1", "rows": "8", **settings}
    )
    return model


def conditions(rows: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(rows)
    shapes = {"content": (3, 16, 16), "style": (3, 16, 16), "style_code": (4,)}
    return {name: rng.normal(size=(rows, *shape)).astype(np.float32) for name, shape in shapes.items()}


@pytest.mark.usefixtures("_readable")
@pytest.mark.parametrize("noise", ["host", "device"])
def test_a_seed_means_the_same_wherever_its_noise_is_drawn(
    noise: str, core: Core, blends: Bundle, gpu: Gpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    contract = blends.manifest.contract
    model = opened(contract, gpu, monkeypatch, noise=noise)
    assert model.contract == contract
    for rows in (3, 1):
        given = conditions(rows)
        made = model.generate(given, SEEDS[:rows], DRAWS[:rows])
        wanted = blends.generator().generate(given, SEEDS[:rows], DRAWS[:rows])
        assert list(made) == list(wanted)
        for name, value in wanted.items():
            assert (made[name].dtype, made[name].shape) == (value.dtype, value.shape)
            np.testing.assert_allclose(made[name], value, rtol=0, atol=1e-6)  # a normal may be one unit off
    assert core.handed_over == (["z", "z"] if noise == "device" else [])
    model.close()
    if noise == "device":
        assert gpu.is_closed
        assert not gpu.alive


@pytest.mark.usefixtures("_readable")
@pytest.mark.parametrize("noise", ["host", "device"])
def test_what_is_wrong_with_a_call_is_said_wherever_its_noise_is_drawn(
    noise: str, core: Core, blends: Bundle, gpu: Gpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = opened(blends.manifest.contract, gpu, monkeypatch, noise=noise)
    with pytest.raises(UsageError, match="3 seeds but 1 rows of content"):
        model.generate(conditions(1), SEEDS, DRAWS)
    with pytest.raises(UsageError, match="1 seeds but 2 draws"):
        model.generate(conditions(1), [1], [0, 1])
    for says, told in (
        (f"{OUR_SENTENCE}the engine is gone", "the engine is gone"),
        ("Traceback of /tmp/x", "the engine failed; the server's log says why"),
    ):
        core.says = says
        with pytest.raises(CganError, match=f"^{told}"):
            model.generate(conditions(1), [1], [0])
    core.says = None
    assert len(model.generate(conditions(1), [1], [0])["score"]) == 1


def test_without_a_library_for_the_gpu_the_model_does_not_load(
    core: Core, blends: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    del core
    monkeypatch.setattr("cgan_runtime.cuda.driver.DRIVERS", {"cuda-bindings": "cgan_runtime.cuda.bindings_driver"})
    monkeypatch.setitem(sys.modules, "cuda.bindings.driver", None)
    module = import_module("cgan_runtime.serving.core_call")
    settings = {"core": "c", "gpu": "0", "rows": "8", "noise": "device"}
    with pytest.raises(CganError, match="pip install cuda-bindings"):
        module.open_core(blends.manifest.contract, settings)


@pytest.mark.usefixtures("_readable")
def test_noise_that_no_kernel_draws_comes_from_the_host(
    core: Core, gpu: Gpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A free size as well: the noise follows the image."""
    contract = Contract(
        conditions=(Condition(name="content", shape=(3, "h", "w"), encoding=ImageEncoding()),),
        noise=(
            NoiseInput(name="m", index=0, distribution="mask", shape=(1, "h", "w"), parameters={"p": 0.5}),
            NoiseInput(name="z", index=1, distribution="hypersphere", shape=(4,)),
        ),
        outputs=(Output(name="picture", shape=(3, "h", "w"), encoding=ImageEncoding()),),
        statistics="none",
    )
    sent: Sequence[Any] = []

    def answer(request: dict[str, Any], tensor: Any) -> Any:
        nonlocal sent
        sent = [(t.name, t.array.copy()) for t in request["inputs"]]
        made = tensor("picture", np.zeros((2, 3, 4, 6), dtype=np.float32))
        return SimpleNamespace(has_error=lambda: False, outputs={"picture": made})

    monkeypatch.setattr(core, "run", answer)
    model = opened(contract, gpu, monkeypatch, noise="device")
    model.generate({"content": np.zeros((2, 3, 4, 6), dtype=np.float32)}, [1, 2], [0, 0])
    found = dict(sent)
    wanted = noise_tensors(contract.noise, [1, 2], [0, 0], {"h": 4, "w": 6})
    for name, value in wanted.items():
        np.testing.assert_array_equal(found[name], value)
    assert core.handed_over == ["m"]
    model.close()


@pytest.mark.usefixtures("_readable")
@pytest.mark.parametrize("noise", ["host", "device"])
def test_a_label_travels_as_one_column(
    noise: str, shoes: Bundle, gpu: Gpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", Core(shoes.read("model.onnx")).module())
    model = opened(shoes.manifest.contract, gpu, monkeypatch, noise=noise)
    labels = {"label": np.array([2, 0, 1])}
    made = model.generate(labels, SEEDS, DRAWS)["picture"]
    np.testing.assert_allclose(made, shoes.generator().generate(labels, SEEDS, DRAWS)["picture"], rtol=0, atol=1e-6)


@pytest.mark.usefixtures("core")
@pytest.mark.parametrize("noise", ["host", "device"])
@pytest.mark.parametrize(("height", "width"), [(2, 6), (6, 2), (10, 6), (6, 10)])
def test_sizes_that_the_plan_was_not_built_for_are_refused(
    noise: str, height: int, width: int, gpu: Gpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    contract = Contract(
        conditions=(Condition(name="content", shape=(3, "h", "w"), encoding=ImageEncoding()),),
        noise=(NoiseInput(name="m", index=0, distribution="uniform01", shape=(1, "h", "w")),),
        outputs=(Output(name="picture", shape=(3, "h", "w"), encoding=ImageEncoding()),),
        statistics="none",
    )
    model = opened(contract, gpu, monkeypatch, noise=noise, sides="[[4, 3], [8, 9]]")
    given = {"content": np.zeros((1, 3, height, width), dtype=np.float32)}
    with pytest.raises(UsageError, match=f"an image of {width}x{height} was given; .* built for 3x4 to 9x8"):
        model.generate(given, [1], [0])
