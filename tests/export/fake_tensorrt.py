"""A stand-in for `tensorrt`, which needs a GPU: it reads the graph with onnx and records what it is asked."""

from __future__ import annotations

import enum
from importlib.machinery import ModuleSpec
from typing import Any

import onnx

CACHE = b"timing cache of "


class Logger:
    def log(self, severity: object, message: str) -> None:
        raise NotImplementedError


class Monitor:
    pass


class Tensor:
    def __init__(self, value: onnx.ValueInfoProto) -> None:
        self.name = value.name
        kind = value.type.tensor_type
        self.dtype = DataType({1: 0, 10: 1, 7: 2}[kind.elem_type])
        self.shape = tuple(d.dim_value if d.HasField("dim_value") else -1 for d in kind.shape.dim)


class DataType(enum.IntEnum):
    FLOAT = 0
    HALF = 1
    INT64 = 2


class Profile:
    def __init__(self) -> None:
        self.shapes: dict[str, tuple[Any, Any, Any]] = {}

    def set_shape(self, name: str, low: Any, best: Any, high: Any) -> None:
        self.shapes[name] = (low, best, high)

    def get_shape(self, name: str) -> list[Any]:
        return list(self.shapes[name])


class Cache:
    def __init__(self, content: bytes) -> None:
        self.content = content

    def serialize(self) -> bytes:
        return self.content


class Network:
    def __init__(self) -> None:
        self.inputs: list[Tensor] = []
        self.outputs: list[Tensor] = []

    num_inputs = property(lambda self: len(self.inputs))
    num_outputs = property(lambda self: len(self.outputs))

    def get_input(self, index: int) -> Tensor:
        return self.inputs[index]

    def get_output(self, index: int) -> Tensor:
        return self.outputs[index]


class Config:
    def __init__(self, version: str) -> None:
        self.version = version
        self.flags: list[str] = []
        self.pools: dict[str, int] = {}
        self.profiles: list[Profile] = []
        self.cache: Cache | None = None
        self.hardware_compatibility_level: Any = None
        self.profiling_verbosity: Any = None
        self.progress_monitor: Any = None

    def set_flag(self, flag: enum.IntEnum) -> None:
        self.flags.append(flag.name)

    def set_memory_pool_limit(self, pool: enum.IntEnum, size: int) -> None:
        self.pools[pool.name] = size

    def add_optimization_profile(self, profile: Profile) -> int:
        self.profiles.append(profile)
        return len(self.profiles) - 1

    def create_timing_cache(self, content: bytes) -> Cache | None:
        own = CACHE + self.version.encode()
        return Cache(content or own) if content in (b"", own) else None

    def set_timing_cache(self, cache: Cache, ignore_mismatch: bool) -> bool:
        assert not ignore_mismatch
        self.cache = cache
        return True

    def get_timing_cache(self) -> Cache | None:
        return self.cache


class FakeTensorRT:
    """`tensorrt` of a version; `fails` makes each build fail with this message in the log."""

    def __init__(self, version: str, *, fails: str | None = None, without: tuple[str, ...] = ()) -> None:
        self.__version__ = version
        self.__spec__ = ModuleSpec("tensorrt", None, origin="here")  # without an origin it is taken for stubs
        self.fails = fails
        self.network_flags: list[int] = []
        self.configs: list[Config] = []
        old = ["FP16", "INT8"] if version.startswith("10.") else []
        self.BuilderFlag = members("BuilderFlag", [*old, "REFIT", "VERSION_COMPATIBLE"], without)
        self.MemoryPoolType = members("MemoryPoolType", ["WORKSPACE"], without)
        levels = ["NONE", "AMPERE_PLUS", "SAME_COMPUTE_CAPABILITY"]
        self.HardwareCompatibilityLevel = members("HardwareCompatibilityLevel", levels, without)
        self.ProfilingVerbosity = members("ProfilingVerbosity", ["LAYER_NAMES_ONLY", "DETAILED"], without)
        self.NetworkDefinitionCreationFlag = members(
            "NetworkDefinitionCreationFlag", ["X", "STRONGLY_TYPED"], without
        )
        self.ILogger = Logger
        self.IProgressMonitor = Monitor

    def Builder(self, logger: Any) -> FakeBuilder:  # noqa: N802 - the bindings' name
        return FakeBuilder(self, logger)

    def OnnxParser(self, network: Network, logger: Any) -> FakeParser:  # noqa: N802 - the bindings' name
        return FakeParser(network, logger)


class FakeBuilder:
    def __init__(self, module: FakeTensorRT, logger: Any) -> None:
        self.module, self.logger = module, logger

    def create_network(self, flags: int) -> Network:
        self.module.network_flags.append(flags)
        return Network()

    def create_builder_config(self) -> Config:
        self.module.configs.append(Config(self.module.__version__))
        return self.module.configs[-1]

    def create_optimization_profile(self) -> Profile:
        return Profile()

    def build_serialized_network(self, network: Network, config: Config) -> bytes | None:
        assert network.inputs, "nothing was parsed"
        assert config.profiles, "TensorRT refuses a free batch without a profile"
        config.progress_monitor.phase_start("Building engine", None, 2)
        if not config.progress_monitor.step_complete("Building engine", 1):
            return None
        if self.module.fails is not None:
            self.logger.log(DataType.FLOAT, "all is well")
            self.logger.log(Severity.ERROR, self.module.fails)
            return None
        return b"plan of " + self.module.__version__.encode()


class Severity(enum.IntEnum):
    ERROR = 1


class FakeParser:
    num_errors = 0

    def __init__(self, network: Network, logger: Any) -> None:
        self.network, self.logger = network, logger

    def parse(self, model: bytes) -> bool:
        graph = onnx.load_from_string(model).graph
        self.network.inputs = [Tensor(value) for value in graph.input]
        self.network.outputs = [Tensor(value) for value in graph.output]
        return True

    def supports_operator(self, name: str) -> bool:
        return name != "Det"


def members(name: str, names: list[str], without: tuple[str, ...]) -> Any:
    return enum.IntEnum(name, {key: at for at, key in enumerate(names) if key not in without})
