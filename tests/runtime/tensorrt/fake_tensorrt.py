"""The module tensorrt on the CPU: a plan is an ONNX file with profiles, and ONNX Runtime computes it.

Only what the runner uses is there, with TensorRT's names and results: False for what is refused, None for what
cannot be made. What TensorRT leaves undefined is refused or checked.
"""

from __future__ import annotations

import enum
import json
import weakref
from collections.abc import Mapping, Sequence
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
from cgan_runtime.runners.onnxruntime import import_onnxruntime

from tests.runtime.tensorrt.fake_cuda import GARBAGE, FakeDriver

Shape = tuple[int, ...]
ProfileShapes = Mapping[str, tuple[Shape, Shape, Shape]]  # smallest, optimal, largest, by input
HEADER = b"fake plan".ljust(64, b"\0")
SCRATCH = 1000
TYPES = {
    "tensor(float)": ("FLOAT", np.float32),
    "tensor(float16)": ("HALF", np.float16),
    "tensor(int64)": ("INT64", np.int64),
    "tensor(int32)": ("INT32", np.int32),
    "tensor(uint8)": ("UINT8", np.uint8),
}


def fake_plan(model: bytes, profiles: Sequence[ProfileShapes]) -> bytes:
    """A plan of an ONNX model."""
    return HEADER + json.dumps(profiles).encode() + b"\0" + model


def batches(shapes: Mapping[str, Shape], *ranges: tuple[int, int]) -> list[ProfileShapes]:
    """Profiles that differ in the batch alone; `shapes` are those of one sample."""
    return [{k: ((a, *v), (b, *v), (b, *v)) for k, v in shapes.items()} for a, b in ranges]


@cache
def session_of(model: bytes) -> onnxruntime.InferenceSession:
    """One session for all engines of a model."""
    options = import_onnxruntime().SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


class TensorIOMode(enum.Enum):
    INPUT = 1
    OUTPUT = 2


class EngineValidity(enum.Enum):
    VALID = 0
    INVALID = 2


class EngineInvalidityDiagnostics(enum.IntFlag):
    VERSION_MISMATCH = 1
    UNSUPPORTED_CC = 2
    OLD_CUDA_DRIVER = 4
    OLD_CUDA_RUNTIME = 8
    INSUFFICIENT_GPU_MEMORY = 16
    MALFORMED_ENGINE = 32
    CUDA_ERROR = 64


class Severity(enum.Enum):
    ERROR = 1
    INFO = 3


class FakeTensorRt:
    """The module, for one driver; `rtx` for TensorRT-RTX."""

    __version__ = "11.4.0.106"
    TensorIOMode = TensorIOMode
    EngineValidity = EngineValidity
    EngineInvalidityDiagnostics = EngineInvalidityDiagnostics

    def __init__(self, driver: FakeDriver, *, rtx: bool = False) -> None:
        self.driver = driver
        self.is_rtx = rtx
        self.invalid: int | None = None  # what is wrong with every plan, as EngineInvalidityDiagnostics
        self.alive: weakref.WeakSet[Any] = weakref.WeakSet()
        self.freed_late: list[str] = []  # after the driver was closed
        self.contexts_made = 0
        self.ExecutionContextAllocationStrategy = SimpleNamespace(USER_MANAGED="user managed")
        self.DynamicShapesKernelSpecializationStrategy = SimpleNamespace(EAGER="eager")
        self.CudaGraphStrategy = SimpleNamespace(WHOLE_GRAPH_CAPTURE="whole graph")

        class ILogger:
            ERROR = Severity.ERROR
            INTERNAL_ERROR = Severity.ERROR

        self.ILogger = ILogger

    def note(self, made: Any) -> None:
        """Watch when something is freed: TensorRT needs the CUDA context for it."""

        def freed(name: str) -> None:
            if self.driver.is_closed:
                self.freed_late.append(name)

        self.alive.add(made)
        weakref.finalize(made, freed, type(made).__name__)

    def Runtime(self, logger: Any) -> FakeRuntime:  # noqa: N802 # TensorRT's name
        return FakeRuntime(self, logger)


class FakeRuntime:
    def __init__(self, trt: FakeTensorRt, logger: Any) -> None:
        self.trt = trt
        self.logger = logger
        self.engine_host_code_allowed = False
        trt.alive.add(self)

    def get_engine_validity(self, header: bytes) -> tuple[EngineValidity, int]:
        assert self.trt.is_rtx
        assert len(header) == 64
        return (EngineValidity.VALID, 0) if self.trt.invalid is None else (EngineValidity.INVALID, self.trt.invalid)

    def deserialize_cuda_engine(self, plan: bytes) -> FakeEngine | None:
        if not plan.startswith(HEADER) or self.fails("deserialize_cuda_engine"):
            self.logger.log(Severity.ERROR, "the plan has\nanother magic tag")
            return None
        profiles, _, model = plan.removeprefix(HEADER).partition(b"\0")
        return FakeEngine(self, model, json.loads(profiles))

    def fails(self, name: str) -> bool:
        if self.trt.driver.faults.hits(name):
            self.logger.log(Severity.ERROR, f"{name} did not work")
            return True
        return False


class FakeEngine:
    device_memory_size_v2 = SCRATCH

    def __init__(self, runtime: FakeRuntime, model: bytes, profiles: list[ProfileShapes]) -> None:
        self.runtime = runtime
        self.trt = runtime.trt
        self.profiles = profiles
        self.session = session_of(model)
        self.inputs = {item.name: item for item in self.session.get_inputs()}
        self.outputs = {item.name: item for item in self.session.get_outputs()}
        self.tensors = {**self.outputs, **self.inputs}  # the order is the engine's own affair
        self.num_io_tensors = len(self.tensors)
        self.num_optimization_profiles = len(profiles)
        self._shapes: dict[tuple[Shape, ...], dict[str, Shape]] = {}
        self.trt.note(self)

    def get_tensor_name(self, index: int) -> str:
        return str(list(self.tensors)[index])

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return TensorIOMode.INPUT if name in self.inputs else TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name: str) -> str:
        return f"DataType.{TYPES[self.tensors[name].type][0]}"

    def get_tensor_shape(self, name: str) -> list[int]:
        return [axis if isinstance(axis, int) else -1 for axis in self.tensors[name].shape]

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[list[int]]:
        return [list(shape) for shape in self.profiles[profile_index][name]]

    def create_runtime_config(self) -> Any:
        assert self.trt.is_rtx
        config = SimpleNamespace(strategy=None)
        config.set_execution_context_allocation_strategy = lambda value: setattr(config, "strategy", value)
        return config

    def create_execution_context(self, how: Any) -> FakeContext | None:
        if self.trt.is_rtx:
            assert how.dynamic_shapes_kernel_specialization_strategy == "eager"
            assert how.cuda_graph_strategy == "whole graph"
            how = how.strategy
        assert how == "user managed"
        if self.runtime.fails("create_execution_context"):
            return None
        self.trt.contexts_made += 1
        return FakeContext(self)

    def output_shapes(self, shapes: dict[str, Shape]) -> dict[str, Shape]:
        """What ONNX Runtime gives for inputs of these shapes."""
        key = tuple(shapes.values())
        if key not in self._shapes:
            zeros = {k: np.zeros(v, dtype=TYPES[self.inputs[k].type][1]) for k, v in shapes.items()}
            results = self.session.run(list(self.outputs), zeros)
            self._shapes[key] = {k: r.shape for k, r in zip(self.outputs, results, strict=True)}
        return self._shapes[key]


class FakeContext:
    def __init__(self, engine: FakeEngine) -> None:
        self.engine = engine
        self.driver = engine.trt.driver
        self.fails = engine.runtime.fails
        self.profile: ProfileShapes | None = None
        self.shapes: dict[str, Shape] = {}
        self.found: dict[str, Shape] = {}
        self.addresses: dict[str, int] = {}
        self.scratch: tuple[int, int] | None = None
        self.changes = 0  # of shapes
        self.moves = 0  # of addresses
        self.inferred = -1
        self.flushed = -1, -1
        engine.trt.note(self)

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        del stream_handle
        if self.fails("set_optimization_profile_async"):
            return False
        self.profile = self.engine.profiles[profile_index]
        return True

    def set_device_memory(self, memory: int, size: int) -> None:
        self.scratch = memory, size

    def set_input_shape(self, name: str, shape: Shape) -> bool:
        assert self.profile is not None, "the profile was not chosen"
        if self.fails("set_input_shape"):
            return False
        low, _, high = self.profile[name]
        if not all(a <= axis <= b for a, axis, b in zip(low, shape, high, strict=True)):
            return False
        self.shapes[name] = shape
        self.changes += 1
        return True

    def infer_shapes(self) -> list[str]:
        missing = [name for name in self.engine.inputs if name not in self.shapes]
        if self.fails("infer_shapes"):
            return [*missing, "something"]
        if not missing:
            self.inferred = self.changes
            ordered = {name: self.shapes[name] for name in self.engine.inputs}
            self.found = self.shapes | self.engine.output_shapes(ordered)
        return missing

    def get_tensor_shape(self, name: str) -> list[int]:
        return list(self.found[name])

    def set_tensor_address(self, name: str, memory: int) -> bool:
        assert memory % 256 == 0, "TensorRT takes aligned addresses"
        if self.fails("set_tensor_address"):
            return False
        self.addresses[name] = memory
        self.moves += 1
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        assert set(self.addresses) == set(self.engine.tensors)
        if self.fails("execute_async_v3") or self.inferred != self.changes:
            return False  # TensorRT would compute the shapes of what was set in part
        if self.driver.is_recorded(stream_handle):
            assert not self.engine.trt.is_rtx, "TensorRT-RTX records by itself"
            assert self.flushed == (self.changes, self.moves), "a context is run once before it is recorded"
        state = self.changes, self.moves

        def compute() -> None:
            # A graph keeps nothing alive, so what it was recorded from must still be there, and as it was.
            assert state == (self.changes, self.moves), "the context was changed after its graph was recorded"
            self._compute()

        self.driver.put(stream_handle, compute)
        self.flushed = self.changes, self.moves
        return True

    def _compute(self) -> None:
        assert self.scratch is not None, "the context has no memory to compute in"
        assert self.scratch[1] >= SCRATCH
        self.driver.at(*self.scratch).fill(GARBAGE)
        inputs = {name: self._memory(name).copy() for name in self.engine.inputs}
        results = self.engine.session.run(list(self.engine.outputs), inputs)
        for name, result in zip(self.engine.outputs, results, strict=True):
            self._memory(name)[...] = result

    def _memory(self, name: str) -> npt.NDArray[Any]:
        dtype = np.dtype(TYPES[self.engine.tensors[name].type][1])
        size = int(np.prod(self.found[name], dtype=np.int64)) * dtype.itemsize
        return self.driver.at(self.addresses[name], size).view(dtype).reshape(self.found[name])
