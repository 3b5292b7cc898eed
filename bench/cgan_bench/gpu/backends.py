"""The rows of a GPU: what each needs, and how it is opened. Frozen values, so that they travel to their workers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from cgan_export.pytorch.mode import EAGER, GPU_MODES, TorchMode
from cgan_runtime.contract import Contract
from cgan_runtime.cuda import driver as cuda
from cgan_runtime.errors import CganError
from cgan_runtime.runners import RUNNERS
from cgan_runtime.runners.on_device import OnDevice

from cgan_bench.backends.base import missing_package
from cgan_bench.backends.torch_eager import torch_absence
from cgan_bench.gpu.meter import Meter, WallClock
from cgan_bench.sizes import at_size
from cgan_bench.target import Precision, Target

__all__ = ["GpuBackend", "OrtGpu", "PlainPlan", "PlanGpu", "TorchGpu", "gpu_backends", "open_meter"]

DEVICE: Final = "cuda"


@dataclass(frozen=True)
class GpuBackend(ABC):
    """One row of the table."""

    @property
    @abstractmethod
    def key(self) -> str:
        """Name in JSON: "torch_fp16_graph"."""

    @property
    @abstractmethod
    def title(self) -> str:
        """Name of the row."""

    @property
    def precision(self) -> Precision:
        """It decides how far the outputs may be off."""
        return "fp32"

    @property
    def has_streams(self) -> bool:
        """Whether several batches can be on the GPU at once; without graphs Python is too slow to fill one."""
        return False

    @abstractmethod
    def open(self, target: Target, *, batch: int, streams: int) -> OnDevice:
        """Load it, in the worker.

        Raises:
            CganError: it cannot be had here, or not at this batch; the message says why.
        """


@dataclass(frozen=True)
class TorchGpu(GpuBackend):
    """The generator of the checkpoint in one mode of PyTorch."""

    mode: TorchMode = EAGER

    @property
    def key(self) -> str:
        """torch_fp32_eager, torch_fp16_max_autotune_graph, ..."""
        return f"torch_{self.mode.words.replace(' ', '_').replace('-', '_').lower()}"

    @property
    def title(self) -> str:
        """Name of the row."""
        return f"PyTorch {self.mode.words}"

    @property
    def precision(self) -> Precision:
        """That of the mode."""
        return "fp16" if self.mode.precision == "fp16" else "fp32"

    @property
    def has_streams(self) -> bool:
        """With a graph."""
        return self.mode.graph

    def open(self, target: Target, *, batch: int, streams: int) -> OnDevice:
        """Read the checkpoint, build the network, compile and record it."""
        if reason := torch_absence(target):
            raise CganError(reason)
        from cgan_export.pytorch.stages import TorchOnDevice

        from cgan_bench.checkpoint import generator_of

        generator, contract = generator_of(target, threads=0)
        return TorchOnDevice(
            generator,
            at_size(contract, target.size),
            batch=batch,
            mode=self.mode,
            device=DEVICE,
            driver=None if cuda.absence() else cuda.open_driver(),
            streams=streams,
        )


@dataclass(frozen=True)
class PlanGpu(GpuBackend):
    """A TensorRT plan of the bundle."""

    backend: str = "tensorrt"
    of: Precision = "fp16"

    @property
    def key(self) -> str:
        """tensorrt_fp16, tensorrt_rtx_int8, ..."""
        return f"{self.backend}_{self.of}"

    @property
    def title(self) -> str:
        """Name of the row."""
        return f"{RUNNERS[self.backend].name} {self.of.upper()}, our plan"

    @property
    def precision(self) -> Precision:
        """That of the plan."""
        return self.of

    @property
    def has_streams(self) -> bool:
        """Several contexts of one engine."""
        return True

    def open(self, target: Target, *, batch: int, streams: int) -> OnDevice:
        """Load the plan that fits this GPU."""
        assert target.bundle is not None  # noqa: S101 - the row is one of a bundle
        artifact = target.bundle.artifact(self.backend, self.of, DEVICE)
        target.bundle.require_trusted(artifact)
        contract = at_size(target.bundle.manifest.contract, target.size)
        return _plan(self.backend, target.bundle.read(artifact), contract, batch=batch, streams=streams)


@dataclass(frozen=True)
class PlainPlan(GpuBackend):
    """What is had without us: the plain export in FP16, built by TensorRT for this batch, in its defaults.

    TensorRT 11 has no ``--fp16``: the graph is cast before, which is what its own tools do.
    """

    @property
    def key(self) -> str:
        """Name in JSON."""
        return "tensorrt_plain"

    @property
    def title(self) -> str:
        """Name of the row."""
        return "TensorRT FP16, plain export"

    @property
    def precision(self) -> Precision:
        """FP16."""
        return "fp16"

    @property
    def has_streams(self) -> bool:
        """Several contexts of one engine."""
        return True

    def open(self, target: Target, *, batch: int, streams: int) -> OnDevice:
        """Build the engine and load it."""
        if target.plain is None:
            raise CganError(torch_absence(target) or "there is no plain export")
        if reason := RUNNERS["tensorrt"].absence() or missing_package("onnx", extra="export"):
            raise CganError(reason)
        import onnx
        from cgan_export.artifacts.precision.fp16 import half_precision
        from cgan_export.engines.builder import build_plan
        from cgan_export.engines.engines import gpu_for
        from cgan_export.engines.flavours import FLAVOURS
        from cgan_export.engines.profiles import profiles_for
        from cgan_runtime.manifest import Batch

        assert target.contract is not None  # noqa: S101 - with a plain export there is a bundle
        contract = at_size(target.contract, target.size)
        flavour = FLAVOURS["tensorrt"]
        built = build_plan(
            flavour,
            half_precision(onnx.load(target.plain)).SerializeToString(),
            contract,
            profiles_for(contract, [Batch(min=batch, opt=batch, max=batch)]),
            device=gpu_for(flavour),
        )
        return _plan("tensorrt", built.data, contract, batch=batch, streams=streams)


@dataclass(frozen=True)
class OrtGpu(GpuBackend):
    """The bundle's ONNX file on one of ONNX Runtime's providers for GPUs, by the wall clock."""

    of: Precision = "fp32"
    provider: Literal["cuda", "tensorrt"] = "cuda"

    @property
    def key(self) -> str:
        """ort_cuda_fp32, ort_tensorrt_fp16, ..."""
        return f"ort_{self.provider}_{self.of}"

    @property
    def title(self) -> str:
        """Name of the row."""
        return f"ONNX Runtime {'CUDA' if self.provider == 'cuda' else 'TensorRT'} {self.of.upper()}"

    @property
    def precision(self) -> Precision:
        """That of the file."""
        return self.of

    def open(self, target: Target, *, batch: int, streams: int) -> OnDevice:
        """Load the file."""
        del batch, streams
        assert target.bundle is not None  # noqa: S101 - the row is one of a bundle
        runner = target.bundle.runner(precision=self.of, device=self.provider)
        return WallClock(runner, at_size(runner.contract, target.size))


def _plan(backend: str, plan: bytes, contract: Contract, *, batch: int, streams: int) -> OnDevice:
    from cgan_runtime.runners.tensorrt.flavours import TENSORRT, TENSORRT_RTX
    from cgan_runtime.runners.tensorrt.stages import PlanOnDevice

    flavour = {"tensorrt": TENSORRT, "tensorrt_rtx": TENSORRT_RTX}[backend]
    module = flavour.load()
    driver = cuda.open_driver()
    return PlanOnDevice(plan, contract, batch=batch, driver=driver, flavour=flavour, module=module, streams=streams)


def gpu_backends(target: Target) -> list[GpuBackend]:
    """The rows of a target, the reference first: PyTorch, then what the bundle has.

    INT8 has no row on ONNX Runtime: its CUDA provider has no 8-bit convolution, and its TensorRT provider takes no
    unsigned activations. Engines have one.
    """
    rows: list[GpuBackend] = [TorchGpu(mode) for mode in GPU_MODES]
    artifacts = target.bundle.manifest.artifacts if target.bundle is not None else ()
    chosen = [a for a in artifacts if a.precision in target.measured and a.backend in RUNNERS]
    files = [a.precision for a in chosen if a.backend == "onnxruntime"]
    rows += [OrtGpu(of) for of in files if of != "int8"] + [OrtGpu(of, "tensorrt") for of in files if of == "fp16"]
    plans: Sequence[tuple[str, Precision]] = [(a.backend, a.precision) for a in chosen if a.plan is not None]
    return [*rows, PlainPlan(), *(PlanGpu(*plan) for plan in dict.fromkeys(plans))]


def open_meter(backend: GpuBackend, target: Target, batch: int, streams: int = 1) -> Meter:
    """A backend on the clock, in its worker."""
    measured = backend.open(target, batch=batch, streams=streams)
    try:
        return Meter(measured, batch, streams)
    except BaseException:
        measured.close()
        raise
