"""Layers of an artifact by ONNX Runtime's own profile, a JSON file with the time of every kernel.

The session has the options of our runner. Its fusions rename nodes: `Conv_3_nchwc` is `Conv_3` with another layout,
and what ReorderInput and ReorderOutput take is the price of that.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from cgan_runtime.contract import Contract
from cgan_runtime.runners.onnxruntime import import_onnxruntime
from cgan_runtime.runners.onnxruntime.runner import session_options

from cgan_bench.layers.profiled import Layer, ProfiledTensor, Profiler, operations_of, precision_of
from cgan_bench.workload import inputs_for, round_seeds

__all__ = ["layers_of_profile", "profile_onnxruntime"]

KERNEL: Final = "_kernel_time"


def profile_onnxruntime(
    model: bytes, contract: Contract, precision: str, *, batch: int, runs: int, warm_up: int, threads: int
) -> Profiler:
    """Run the file so many times, and read what its session wrote.

    Args:
        model: the bytes of the artifact.
        contract: with numbers for axes.
        precision: not used: the file says it.
        batch: rows of one run.
        runs: that count.
        warm_up: runs before them.
        threads: intra-op threads; 0 lets ONNX Runtime choose.
    """
    del precision
    ort = import_onnxruntime()
    options = session_options(ort, model, threads=threads)
    options.enable_profiling = True
    with tempfile.TemporaryDirectory(prefix="cgan-bench-") as folder:
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"], enable_fallback=0)
        for index in range(warm_up + runs):
            session.run(None, inputs_for(contract, round_seeds(index, batch)))
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    layers, whole_ms = layers_of_profile(events, batch=batch, runs=runs)
    return Profiler(description=f"ONNX Runtime {ort.__version__} CPU", layers=layers, whole_ms=whole_ms)


def layers_of_profile(
    events: Sequence[dict[str, Any]], *, batch: int, runs: int
) -> tuple[tuple[Layer, ...], tuple[float, ...]]:
    """The layers, and the time of each whole run, of the last `runs` of a profile."""
    whole_ms = [event["dur"] / 1e3 for event in events if event["name"] == "model_run"]
    kernels: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(KERNEL):
            kernels.setdefault((event["args"]["node_index"], event["name"]), []).append(event)
    layers = []
    for (_, name), times in kernels.items():
        told = times[-1]["args"]
        inputs, outputs = (_tensors(told.get(f"{side}_type_shape", ())) for side in ("input", "output"))
        layers.append(
            Layer(
                title=name.removesuffix(KERNEL),
                operator=told["op_name"],
                batch=batch,
                latencies_ms=tuple(event["dur"] / 1e3 for event in times[-runs:]),
                operations=operations_of(told["op_name"], inputs, outputs),
                bytes=sum(tensor.bytes for tensor in (*inputs, *outputs)),
                precision=precision_of(told["op_name"], inputs),
            )
        )
    return tuple(layers), tuple(whole_ms[-runs:])


def _tensors(told: Sequence[dict[str, list[int]]]) -> list[ProfiledTensor]:
    return [ProfiledTensor(shape=tuple(shape), dtype=dtype) for one in told for dtype, shape in one.items()]
