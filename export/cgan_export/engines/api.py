"""What the builder uses of TensorRT's Python module, as types: one small part of a large interface.

TensorRT 10.12 and newer and TensorRT-RTX offer these names (docs/tensorrt.md says how that was checked). What only
TensorRT-RTX has is in `RtxConfig`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

__all__ = [
    "Builder",
    "Config",
    "Members",
    "Network",
    "NetworkTensor",
    "OptimizationProfile",
    "Parser",
    "RtxConfig",
    "TensorRT",
    "TimingCache",
]


class Members(Protocol):
    """An enumeration of the bindings; which names it has depends on the version."""

    @property
    def __members__(self) -> Mapping[str, Any]: ...


class NetworkTensor(Protocol):
    """An input or output of the parsed network; a free axis of its shape is -1."""

    @property
    def name(self) -> str: ...
    @property
    def dtype(self) -> Any: ...
    @property
    def shape(self) -> Any: ...


class Network(Protocol):
    """A parsed graph."""

    @property
    def num_inputs(self) -> int: ...
    @property
    def num_outputs(self) -> int: ...
    def get_input(self, index: int, /) -> NetworkTensor: ...
    def get_output(self, index: int, /) -> NetworkTensor: ...


class ParserError(Protocol):
    """Why a graph was not parsed."""

    def desc(self) -> str: ...
    def node_name(self) -> str: ...
    def node_operator(self) -> str: ...


class Parser(Protocol):
    """The ONNX parser."""

    @property
    def num_errors(self) -> int: ...
    def parse(self, model: bytes, /) -> bool: ...
    def get_error(self, index: int, /) -> ParserError: ...
    def supports_operator(self, op_name: str, /) -> bool: ...


class OptimizationProfile(Protocol):
    """Smallest, best and largest shapes of the inputs."""

    def set_shape(self, name: str, low: Any, best: Any, high: Any, /) -> None: ...
    def get_shape(self, name: str, /) -> Any: ...


class TimingCache(Protocol):
    """What was measured while building, for the next build."""

    def serialize(self) -> Any: ...


class Config(Protocol):
    """How to build."""

    progress_monitor: Any
    hardware_compatibility_level: Any
    profiling_verbosity: Any

    def set_flag(self, flag: Any, /) -> None: ...
    def set_memory_pool_limit(self, pool: Any, pool_size: int, /) -> None: ...
    def add_optimization_profile(self, profile: Any, /) -> int: ...
    def create_timing_cache(self, serialized_timing_cache: bytes, /) -> Any: ...
    def set_timing_cache(self, cache: Any, ignore_mismatch: bool, /) -> bool: ...
    def get_timing_cache(self) -> Any: ...


class RtxConfig(Protocol):
    """What TensorRT-RTX has besides: compute capabilities to build for, whatever GPU is here."""

    num_compute_capabilities: int

    def set_compute_capability(self, compute_capability: Any, index: int, /) -> bool: ...


class Builder(Protocol):
    """Makes networks and plans."""

    def create_network(self, flags: int, /) -> Any: ...
    def create_builder_config(self) -> Any: ...
    def create_optimization_profile(self) -> Any: ...
    def build_serialized_network(self, network: Any, config: Any, /) -> Any: ...


class TensorRT(Protocol):
    """The module `tensorrt` or `tensorrt_rtx`."""

    @property
    def __version__(self) -> str: ...
    @property
    def BuilderFlag(self) -> Members: ...  # noqa: N802 - the bindings' name
    @property
    def MemoryPoolType(self) -> Members: ...  # noqa: N802 - the bindings' name
    @property
    def HardwareCompatibilityLevel(self) -> Members: ...  # noqa: N802 - the bindings' name
    @property
    def ProfilingVerbosity(self) -> Members: ...  # noqa: N802 - the bindings' name
    @property
    def NetworkDefinitionCreationFlag(self) -> Members: ...  # noqa: N802 - the bindings' name
    @property
    def ILogger(self) -> type[Any]: ...  # noqa: N802 - the bindings' name
    @property
    def IProgressMonitor(self) -> type[Any]: ...  # noqa: N802 - the bindings' name
    def Builder(self, logger: Any, /) -> Builder: ...  # noqa: N802 - the bindings' name
    def OnnxParser(self, network: Any, logger: Any, /) -> Parser: ...  # noqa: N802 - the bindings' name
