"""The two TensorRTs in the table of runners: what is missing, what does not fit, what is opened."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import pytest
from cgan_runtime.bundle import Bundle, read_bundle, write_manifest
from cgan_runtime.cuda import driver as cuda
from cgan_runtime.cuda.driver import DRIVERS, DriverError
from cgan_runtime.errors import BundleError, CganError, UsageError
from cgan_runtime.manifest import Artifact, Batch, Plan, Profile
from cgan_runtime.runners import RUNNERS, runner_kind
from cgan_runtime.runners.tensorrt import backend, engine
from cgan_runtime.runners.tensorrt.backend import TENSORRT_BACKEND, TENSORRT_RTX_BACKEND
from cgan_runtime.runners.tensorrt.flavours import TENSORRT_RTX, Flavour, version_of

from tests.runtime.tensorrt.conftest import assert_same, inputs_of
from tests.runtime.tensorrt.fake_cuda import FakeDriver
from tests.runtime.tensorrt.fake_tensorrt import FakeTensorRt, batches, fake_plan


@dataclasses.dataclass(frozen=True, kw_only=True)
class FakeFlavour(Flavour):
    """TensorRT as it is once installed."""

    fake: FakeTensorRt

    def load(self) -> ModuleType:
        return cast("ModuleType", self.fake)


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> list[FakeDriver]:
    """Two GPUs, and TensorRT on the first; in the table in the place of the real one."""
    drivers = [FakeDriver(), FakeDriver(target="sm90")]

    class Library:
        @staticmethod
        def check() -> None:
            return

        @staticmethod
        def find_device(number: int) -> cuda.Device:
            if number >= len(drivers):
                raise DriverError("there is no such GPU.")
            return drivers[number].device

        @staticmethod
        def open_driver(device: int) -> FakeDriver:
            return drivers[device]

    monkeypatch.setattr(cuda, "_module", lambda _: Library)
    fake = FakeFlavour(
        name="TensorRT", module="tensorrt", package="tensorrt", oldest=(10, 12), fake=FakeTensorRt(drivers[0])
    )
    monkeypatch.setattr(backend, "TENSORRT_BACKEND", backend.TensorRtBackend(fake))
    return drivers


def with_plans(shoes: Bundle, root: Path, **targets: str) -> Bundle:
    """The bundle with a plan for each name: `engines/NAME.plan` is for the target."""
    artifact = shoes.manifest.artifacts[0]
    root.mkdir()
    (root / "engines").mkdir()
    (root / artifact.path).write_bytes(shoes.read(artifact))
    data = fake_plan(shoes.read(artifact), batches({"label": (), "z": (4,)}, (1, 4)))
    artifacts = [artifact]
    for name, target in targets.items():
        path = root / "engines" / f"{name}.plan"
        path.write_bytes(data)
        artifacts.append(
            Artifact(
                path=f"engines/{name}.plan",
                sha256=hashlib.sha256(data).hexdigest(),
                bytes=len(data),
                backend="tensorrt",
                precision="fp32",
                batch=Batch(max=4),
                size=artifact.size,
                plan=Plan(version="11.4.0.106", targets=(target,), profiles=(Profile(batch=Batch(max=4)),)),
            )
        )
    fields = {"schema_version": 3, "artifacts": tuple(artifacts)}
    write_manifest(root, shoes.manifest.model_copy(update=fields))
    return dataclasses.replace(read_bundle(root), is_signed=True)


def test_a_bundle_runs_the_plan_of_this_gpu(shoes: Bundle, tmp_path: Path, gpus: list[FakeDriver]) -> None:
    bundle = with_plans(shoes, tmp_path / "shoes", other="sm90", here="sm86")
    assert bundle.artifact("tensorrt", "fp32").path == "engines/here.plan"
    with bundle.runner(backend="tensorrt", device="cuda:0") as runner:
        assert runner.description == "TensorRT 11.4.0.106 a GPU of the tests"
        inputs = inputs_of(runner.contract, 3)
        assert_same(runner.infer(inputs), shoes.runner().infer(inputs))
    assert not gpus[0].alive()


def test_several_batches_are_in_flight_where_it_is_asked_for(
    shoes: Bundle, tmp_path: Path, gpus: list[FakeDriver]
) -> None:
    bundle = with_plans(shoes, tmp_path / "shoes", here="sm86")
    with bundle.generator(backend="tensorrt", in_flight=3).runner as runner:
        assert gpus[0].alive()["streams"] == 3
        inputs = inputs_of(runner.contract, 3)
        assert_same(runner.infer(inputs), shoes.runner().infer(inputs))


def test_a_plan_for_another_gpu_is_explained_before_it_is_read(
    shoes: Bundle, tmp_path: Path, gpus: list[FakeDriver]
) -> None:
    bundle = with_plans(shoes, tmp_path / "shoes", here="sm86")
    (bundle.path / "engines" / "here.plan").unlink()
    words = (
        r"engines/here\.plan: this plan was built for sm86 with TensorRT 11\.4\.0\.106; here are sm90 and "
        rf"11\.4\.0\.106: run cgan-export --rebuild {bundle.path}"
    )
    with pytest.raises(BundleError, match=words):
        bundle.runner(backend="tensorrt", device="cuda:1")
    assert len(gpus) == 2


def test_a_gpu_that_is_not_here_is_said(shoes: Bundle, tmp_path: Path, gpus: list[FakeDriver]) -> None:
    bundle = with_plans(shoes, tmp_path / "shoes", here="sm86")
    with pytest.raises(DriverError, match="no such GPU"):
        bundle.runner(backend="tensorrt", device=f"cuda:{len(gpus)}")


@pytest.mark.parametrize("device", ["cpu", "cuda:x", "cuda:-1", "gpu", "cuda:\N{SUPERSCRIPT TWO}"])
def test_a_device_that_is_none_is_refused(device: str) -> None:
    for one in (TENSORRT_BACKEND, TENSORRT_RTX_BACKEND):
        with pytest.raises(UsageError, match="give cuda or cuda:N"):
            one.misfit(Plan(version="1.0", targets=("sm86",), profiles=(Profile(batch=Batch()),)), device)


def test_plans_may_hold_program_code() -> None:
    assert runner_kind("tensorrt").runs_code
    assert runner_kind("tensorrt_rtx").runs_code


def test_a_library_that_is_not_installed_or_broken_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = Flavour(name="TensorRT", module="tensorrt_that_nobody_has", package="tensorrt", oldest=(10, 12))
    assert absent.absence() == "TensorRT is not installed; run: pip install tensorrt"
    (tmp_path / "stubs_of_tensorrt").mkdir()
    (tmp_path / "stubs_of_tensorrt" / "__init__.pyi").touch()
    (tmp_path / "broken_tensorrt.py").write_text("raise ImportError('libnvinfer.so.11: no such file')")
    monkeypatch.syspath_prepend(str(tmp_path))
    stubs = Flavour(name="TensorRT", module="stubs_of_tensorrt", package="tensorrt", oldest=(10, 12))
    assert stubs.absence() == absent.absence()
    broken = Flavour(name="TensorRT", module="broken_tensorrt", package="tensorrt", oldest=(10, 12))
    words = (
        "TensorRT cannot be loaded (libnvinfer.so.11: no such file); run: pip install --force-reinstall tensorrt"
    )
    assert broken.absence() == words


def test_what_is_installed_tells_more_than_what_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    errors: dict[str, CganError] = {
        "pycuda": DriverError("no driver."),
        "cuda-bindings": CganError("not installed."),
    }

    def module(name: str) -> Any:
        def check() -> None:
            raise errors[name]

        return SimpleNamespace(check=check)

    monkeypatch.setattr(cuda, "_module", module)
    assert list(DRIVERS) == list(errors)
    assert cuda.absence() == "no driver."
    assert cuda.absence("cuda-bindings") == "not installed."
    with pytest.raises(CganError, match="no driver"):
        cuda.open_driver()


def test_the_version_is_the_numbers_alone() -> None:
    given = ["10.13.3.9.post1", "11.4.0.106", "1.7.1.116"]
    assert [version_of(SimpleNamespace(__version__=text)) for text in given] == ["10.13.3.9", *given[1:]]  # type: ignore[arg-type] # a stand-in


def test_names_that_are_used_are_names_of_tensorrt() -> None:
    """Of TensorRT-RTX, whose bindings load without a GPU."""
    if (reason := TENSORRT_RTX.absence()) is not None:
        pytest.skip(reason)
    trt = TENSORRT_RTX.load()
    rtx_only = {"create_runtime_config"}
    for protocol, real in ((engine.Context, trt.IExecutionContext), (engine.CudaEngine, trt.ICudaEngine)):
        wanted = {name for name in (*vars(protocol), *protocol.__annotations__) if not name.startswith("_")}
        assert wanted
        assert not wanted - set(dir(real)), "TensorRT has no such names"
        assert rtx_only & wanted <= set(dir(real))
    assert {name for _, name in engine.TYPES} <= set(dir(trt.DataType))
    assert {"INPUT", "OUTPUT"} <= set(dir(trt.TensorIOMode))
    assert "USER_MANAGED" in dir(trt.ExecutionContextAllocationStrategy)
    assert "EAGER" in dir(trt.DynamicShapesKernelSpecializationStrategy)
    assert "WHOLE_GRAPH_CAPTURE" in dir(trt.CudaGraphStrategy)
    assert "INVALID" in dir(trt.EngineValidity)
    assert set(engine.WHY_INVALID) <= set(dir(trt.EngineInvalidityDiagnostics))
    assert {"ERROR", "INTERNAL_ERROR", "log"} <= set(dir(trt.ILogger))
    assert {"deserialize_cuda_engine", "get_engine_validity", "engine_host_code_allowed"} <= set(dir(trt.Runtime))


def test_tensorrt_rtx_itself_refuses_what_is_no_plan(shoes: Bundle) -> None:
    """The real one, which says why even without a GPU."""
    if (reason := TENSORRT_RTX.absence()) is not None:
        pytest.skip(reason)
    contract = shoes.manifest.contract
    for data in (b"", b"no plan" * 100):
        with pytest.raises(
            BundleError, match=r"TensorRT-RTX 1\.\d.* cannot run this plan here: it is damaged, or no plan"
        ):
            engine.Engine(data, contract, flavour=TENSORRT_RTX, module=TENSORRT_RTX.load())


def test_both_are_in_the_table() -> None:
    assert {"tensorrt", "tensorrt_rtx"} <= set(RUNNERS)
