"""The seam to TensorRT: of its engine and context only what is named here is used.

An execution context here has no memory of its own: `Lane` gives all its contexts one piece, since they run one
after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import Any, Final, Protocol, final

import numpy as np

from cgan_runtime.contract import Axis, Contract, Tensor
from cgan_runtime.errors import BundleError, CganError
from cgan_runtime.limits import printable
from cgan_runtime.runners.base import is_image
from cgan_runtime.runners.tensorrt.buffers import PlanTensor
from cgan_runtime.runners.tensorrt.flavours import Flavour, version_of
from cgan_runtime.runners.tensorrt.profiles import ProfileRange, Shape

__all__ = ["Context", "CudaEngine", "Engine", "logger_of"]

HEADER_BYTES: Final = 64  # of a TensorRT-RTX plan; its validity follows from them
# By (type of the contract, name of TensorRT's DataType): others are no form of the same values.
TYPES: Final[dict[tuple[str, str], type[np.generic[Any]]]] = {
    ("float32", "FLOAT"): np.float32,
    ("float32", "HALF"): np.float16,
    ("int64", "INT64"): np.int64,
    ("int64", "INT32"): np.int32,
}
BYTES: Final = "UINT8"  # of an image, with its channels last

# TensorRT-RTX's EngineInvalidityDiagnostics, by name.
WHY_INVALID: Final = {
    "VERSION_MISMATCH": "another version of TensorRT-RTX built it",
    "UNSUPPORTED_CC": "it was not built for this GPU",
    "OLD_CUDA_DRIVER": "the NVIDIA driver is too old for it",
    "OLD_CUDA_RUNTIME": "the CUDA libraries are too old for it",
    "INSUFFICIENT_GPU_MEMORY": "the GPU has too little memory",
    "MALFORMED_ENGINE": "it is damaged, or no plan of TensorRT-RTX",
    "CUDA_ERROR": "CUDA reports an error",
}


class Context(Protocol):
    """What is used of TensorRT's IExecutionContext; a result of False means refused."""

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        """Choose the profile."""

    def set_device_memory(self, memory: int, size: int) -> None:
        """The memory for what is computed in between."""

    def set_input_shape(self, name: str, shape: Shape) -> bool:
        """The shape of an input."""

    def infer_shapes(self) -> list[str]:
        """Compute all other shapes; the names of the tensors for which something is missing."""

    def get_tensor_shape(self, name: str) -> Any:
        """The shape of a tensor, after `infer_shapes`."""

    def set_tensor_address(self, name: str, memory: int) -> bool:
        """Where a tensor lies on the device."""

    def execute_async_v3(self, stream_handle: int) -> bool:
        """Put the work on a stream."""


class CudaEngine(Protocol):
    """What is used of TensorRT's ICudaEngine."""

    @property
    def num_io_tensors(self) -> int:
        """Inputs and outputs."""

    @property
    def num_optimization_profiles(self) -> int:
        """Profiles."""

    @property
    def device_memory_size_v2(self) -> int:
        """What a context needs, in bytes."""

    def get_tensor_name(self, index: int) -> str:
        """The name of an input or output."""

    def get_tensor_mode(self, name: str) -> Any:
        """TensorIOMode.INPUT or OUTPUT."""

    def get_tensor_dtype(self, name: str) -> Any:
        """DataType.HALF, ..."""

    def get_tensor_shape(self, name: str) -> Any:
        """Its shape; -1 for axes that are free."""

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> Sequence[Any]:
        """Its smallest, optimal and largest shape in a profile."""

    def create_runtime_config(self) -> Any:
        """How contexts are made; TensorRT-RTX only."""

    def create_execution_context(self, how: Any, /) -> Context | None:
        """A context, by an allocation strategy or a runtime configuration."""


@final
class Engine:
    """A plan that was loaded and whose signature is the contract's.

    Args:
        plan: the bytes of the plan.
        contract: the signature it must have.
        flavour: which TensorRT.
        module: its module.

    Attributes:
        name: "TensorRT 11.4.0.106".
        inputs: in the order of the contract: conditions, then noise.
        outputs: in the order of the contract.
        profiles: by number.
        byte_images: images that it takes and gives as bytes [N, H, W, C].
        captures_graphs: it makes CUDA graphs itself, one for each shape; ours would be a graph of a graph.

    Raises:
        BundleError: TensorRT does not load it, or it has another signature.
    """

    def __init__(self, plan: bytes, contract: Contract, *, flavour: Flavour, module: Any) -> None:
        self.name = f"{flavour.name} {version_of(module)}"
        self.captures_graphs = flavour.is_rtx
        self._module = module
        self._one_at_a_time = Lock()  # an engine is not made for several threads, its contexts are
        self._logger = logger_of(module)
        runtime = module.Runtime(self._logger)
        if flavour.is_rtx:
            validity, diagnostics = runtime.get_engine_validity(plan[:HEADER_BYTES])
            if validity == module.EngineValidity.INVALID:
                why = _why_invalid(module, diagnostics)
                raise BundleError(f"{self.name} cannot run this plan here: {why}; build it for this machine.")
        # A version compatible plan holds program code; the caller has checked where the plan comes from.
        runtime.engine_host_code_allowed = True
        loaded: CudaEngine | None = runtime.deserialize_cuda_engine(plan)
        if loaded is None:
            raise BundleError(f"{self.name} cannot load the plan: {self.last_words}; build it again.")
        self._engine = loaded
        self._names: dict[bool, set[str]] = {True: set(), False: set()}
        for index in range(loaded.num_io_tensors):
            name = loaded.get_tensor_name(index)
            self._names[loaded.get_tensor_mode(name) == module.TensorIOMode.INPUT].add(name)
        self.inputs = self._checked("takes", contract.inputs, is_input=True)
        self.outputs = self._checked("gives", contract.outputs, is_input=False)
        self.byte_images = frozenset(
            tensor.name for tensor in (*self.inputs, *self.outputs) if tensor.outside == np.uint8
        )
        self.profiles = tuple(self._profile(number) for number in range(max(1, loaded.num_optimization_profiles)))

    @property
    def last_words(self) -> str:
        """The last error that TensorRT logged, on one line."""
        return str(self._logger.last)

    @property
    def scratch_bytes(self) -> int:
        """Device memory that a context needs while it runs, for the largest profile."""
        return self._engine.device_memory_size_v2

    def sample_axes(self, tensor: Tensor) -> tuple[Axis, ...]:
        """The axes of one sample as the engine has them: channels last where it has the bytes of an image."""
        if tensor.name not in self.byte_images:
            return tensor.shape
        channels, height, width = tensor.shape
        return (height, width, channels)

    def context(self) -> Context:
        """A context without memory.

        Raises:
            CganError: TensorRT gives none.
        """
        trt = self._module
        strategy = trt.ExecutionContextAllocationStrategy.USER_MANAGED
        if self.captures_graphs:
            how = self._engine.create_runtime_config()
            how.set_execution_context_allocation_strategy(strategy)
            # LAZY would answer the first calls with slower kernels, and compile the better ones meanwhile.
            how.dynamic_shapes_kernel_specialization_strategy = trt.DynamicShapesKernelSpecializationStrategy.EAGER
            how.cuda_graph_strategy = trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
        else:
            how = strategy
        with self._one_at_a_time:
            context = self._engine.create_execution_context(how)
        if context is None:
            raise CganError(f"{self.name} cannot prepare the plan: {self.last_words}.")
        return context

    def _checked(self, verb: str, tensors: Sequence[Tensor], *, is_input: bool) -> tuple[PlanTensor, ...]:
        """The engine's tensors of one side, once they are known to be those of the contract."""
        wanted = [tensor.name for tensor in tensors]
        if self._names[is_input] != set(wanted):
            raise BundleError(f"the plan {verb} {sorted(self._names[is_input])}, its contract says {wanted}.")
        return tuple(self._tensor(verb, tensor) for tensor in tensors)

    def _tensor(self, verb: str, tensor: Tensor) -> PlanTensor:
        dtype = str(self._engine.get_tensor_dtype(tensor.name)).rpartition(".")[2]
        shape = tuple(self._engine.get_tensor_shape(tensor.name))
        if dtype == BYTES and is_image(tensor):
            channels, *sides = tensor.shape
            axes: tuple[int | str, ...] = (*sides, channels)
            inside: np.dtype[Any] = np.dtype(np.uint8)
            outside = inside
        else:
            axes, outside = tensor.shape, np.dtype(tensor.dtype)
            inside = np.dtype(TYPES.get((tensor.dtype, dtype), np.void))
        same_axes = len(shape) == len(axes) + 1 and all(
            isinstance(wanted, str) or axis in (-1, wanted) for axis, wanted in zip(shape[1:], axes, strict=True)
        )
        if inside == np.void or not same_axes:
            raise BundleError(
                f"the plan {verb} {tensor.name} as {dtype} {list(shape)}, its contract says {tensor.dtype} "
                f"{['N', *tensor.shape]}."
            )
        return PlanTensor(name=tensor.name, dtype=inside, outside=outside)

    def _profile(self, number: int) -> ProfileRange:
        ranges = {tensor.name: self._range(tensor.name, number) for tensor in self.inputs}
        return ProfileRange(
            number=number,
            smallest={name: low for name, (low, _) in ranges.items()},
            largest={name: high for name, (_, high) in ranges.items()},
        )

    def _range(self, name: str, profile: int) -> tuple[Shape, Shape]:
        fixed = tuple(self._engine.get_tensor_shape(name))
        if -1 not in fixed:
            return fixed, fixed
        low, _, high = self._engine.get_tensor_profile_shape(name, profile)
        return tuple(low), tuple(high)


def _why_invalid(module: Any, diagnostics: int) -> str:
    """The reasons of a bit mask, in words."""
    bits = module.EngineInvalidityDiagnostics
    reasons = [words for name, words in WHY_INVALID.items() if diagnostics & int(getattr(bits, name))]
    return " and ".join(reasons) or "it gives no reason (is a GPU here?)"


def logger_of(module: Any) -> Any:
    """A logger that keeps the last error instead of writing to stderr; ours carry it."""

    class LastError(module.ILogger):  # type: ignore[misc] # the base is known at run time only
        last = "it gave no reason"

        def __init__(self) -> None:
            super().__init__()

        def log(self, severity: Any, msg: str) -> None:
            if severity in (module.ILogger.ERROR, module.ILogger.INTERNAL_ERROR):
                self.last = printable(msg.strip().replace("\n", " "), 300)

    return LastError()
