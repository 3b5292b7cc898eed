"""The real ONNX Runtime in place of its build for GPUs: memory and kernels of the device are those of the CPU.

Graph capture is imitated where it can go wrong: a run with a number that was recorded over other memory is an error
here, where the real one would replay the old graph.
"""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from cgan_runtime.runners.onnxruntime import import_onnxruntime

REAL = import_onnxruntime()
CPU = "CPUExecutionProvider"
GPU_PROVIDERS = ["TensorrtExecutionProvider", "CUDAExecutionProvider"]


class FakeGpu:
    """What was asked of ONNX Runtime, and what it is to refuse.

    Attributes:
        providers: those of every session that was asked for.
        graph_ids: gpu_graph_id of every run.
        places: (device, number) of every tensor that was allocated there.
        batches: the first axis of each of them.
        overrides: NVIDIA_TF32_OVERRIDE when a session was made, as TensorRT reads it when it builds.
        refuses_graphs: a session with CUDA graphs is refused, as where a node has no CUDA kernel.
        starts: whether the provider starts.
        takes_nodes: whether the provider takes a node of the graph.
        failing_runs: so many of the next runs fail.
    """

    def __init__(self) -> None:
        self.providers: list[list[Any]] = []
        self.graph_ids: list[str] = []
        self.places: list[tuple[str, int]] = []
        self.batches: list[int] = []
        self.overrides: list[str | None] = []
        self.refuses_graphs = False
        self.starts = True
        self.takes_nodes = True
        self.failing_runs = 0
        self.broken = ""

    def install(self, monkeypatch: pytest.MonkeyPatch) -> FakeGpu:
        gpu, allocate = self, REAL.OrtValue.ortvalue_from_shape_and_type

        class Session(REAL.InferenceSession):  # type: ignore[misc, name-defined] # the package ships no types
            def __init__(self, model: bytes, options: Any, providers: list[Any], enable_fallback: int) -> None:
                assert enable_fallback == 0
                if providers != [CPU]:
                    assert options.use_deterministic_compute
                    gpu.providers.append(providers)
                    gpu.overrides.append(os.environ.get("NVIDIA_TF32_OVERRIDE"))
                first = dict(providers[0][1]) if isinstance(providers[0], tuple) else {}
                graphs = "1" in (first.get("enable_cuda_graph"), first.get("trt_cuda_graph_enable"))
                if gpu.broken and providers != [CPU]:
                    raise RuntimeError(gpu.broken)
                if graphs and gpu.refuses_graphs:
                    raise RuntimeError("This session cannot use the graph capture feature as requested by the user")
                self.names = [item if isinstance(item, str) else item[0] for item in providers]
                self.recorded: dict[str, list[int]] = {}
                super().__init__(model, options, providers=[CPU], enable_fallback=0)

            def get_providers(self) -> list[str]:
                return self.names if gpu.starts else [CPU]

            def get_provider_graph_assignment_info(self) -> list[Any]:
                return [SimpleNamespace(ep_name=self.names[0] if gpu.takes_nodes else CPU)]

            def run(self, output_names: Any, input_feed: Any, run_options: Any = None) -> Any:
                assert self.names == [CPU], "on a GPU inputs and outputs are bound"
                return super().run(output_names, input_feed, run_options)

            def run_with_iobinding(self, binding: Any, options: Any = None) -> None:
                number = options.get_run_config_entry("gpu_graph_id")
                gpu.graph_ids.append(number)
                if gpu.failing_runs:
                    gpu.failing_runs -= 1
                    raise RuntimeError("CUDA failure 700: an illegal memory access was encountered\nmore lines")
                addresses = [value.data_ptr() for value in binding.get_outputs()]
                assert self.recorded.setdefault(number, addresses) == addresses or number == "-1"
                super().run_with_iobinding(binding, options)

        def allocated(shape: list[int], dtype: type[np.generic[Any]], device: str, number: int) -> Any:
            self.places.append((device, number))
            self.batches.append(shape[0])
            return allocate(shape, dtype, "cpu", 0)

        listed = [*GPU_PROVIDERS, CPU]
        monkeypatch.setattr(REAL, "get_available_providers", lambda: listed)
        monkeypatch.setattr(REAL, "InferenceSession", Session)
        monkeypatch.setattr(REAL.OrtValue, "ortvalue_from_shape_and_type", staticmethod(allocated))
        return self

    def options(self, at: int = -1) -> dict[str, str]:
        """Those of the first provider of a session."""
        return dict(self.providers[at][0][1])
