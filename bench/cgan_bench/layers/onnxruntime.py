"""Layers of an artifact by ONNX Runtime's own profile, a JSON file with the time of every kernel.

The session has the options of our runner. Its fusions rename nodes: `Conv_3_nchwc` is `Conv_3` with another layout,
and what ReorderInput and ReorderOutput take is the price of that. A kernel that packs its weights at loading does
not have them when it runs: their shapes are taken from the file.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from cgan_runtime.contract import Contract
from cgan_runtime.runners.onnxruntime import import_onnxruntime
from cgan_runtime.runners.onnxruntime.runner import session_options

from cgan_bench.layers.profiled import Layer, ProfiledTensor, Profiler, operations_of, precision_of, weights_at
from cgan_bench.workload import inputs_for, round_seeds

__all__ = ["layers_of_profile", "profile_onnxruntime", "weights_of"]

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
    layers, whole_ms = layers_of_profile(events, weights_of(model), batch=batch, runs=runs)
    return Profiler(description=f"ONNX Runtime {ort.__version__} CPU", layers=layers, whole_ms=whole_ms)


def layers_of_profile(
    events: Sequence[dict[str, Any]], weights: Mapping[str, ProfiledTensor], *, batch: int, runs: int
) -> tuple[tuple[Layer, ...], tuple[float, ...]]:
    """The layers, and the time of each whole run, of the last `runs` of a profile; `weights` as in `weights_of`."""
    whole_ms = [event["dur"] / 1e3 for event in events if event["name"] == "model_run"]
    kernels: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(KERNEL):
            kernels.setdefault((event["args"]["node_index"], event["name"]), []).append(event)
    layers = []
    for (_, name), times in kernels.items():
        told = times[-1]["args"]
        inputs, outputs = (_tensors(told.get(f"{side}_type_shape", ())) for side in ("input", "output"))
        packed, at = weights.get(name.removesuffix(KERNEL)), weights_at(told["op_name"])
        if packed is not None and (len(inputs) <= at or inputs[at].shape != packed.shape):
            inputs.insert(at, packed)
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


def weights_of(model: bytes) -> dict[str, ProfiledTensor]:
    """By the name of a convolution or product, the weights that the file holds for it."""
    import onnx

    graph = onnx.load_from_string(model).graph
    held = {
        item.name: ProfiledTensor(
            shape=tuple(item.dims), dtype=onnx.TensorProto.DataType.Name(item.data_type).lower()
        )
        for item in graph.initializer
    }
    return {
        node.name: held[node.input[at]]
        for node in graph.node
        if (at := weights_at(node.op_type)) and len(node.input) > at and node.input[at] in held
    }


def _tensors(told: Sequence[dict[str, list[int]]]) -> list[ProfiledTensor]:
    return [ProfiledTensor(shape=tuple(shape), dtype=dtype) for one in told for dtype, shape in one.items()]
