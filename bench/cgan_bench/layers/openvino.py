"""Layers of an artifact by OpenVINO's performance counters; shapes and types stand in its runtime model.

A counter is the mean of all runs since the model was compiled. The mean of the runs that count is had from the
counters before and after them.
"""

from __future__ import annotations

import importlib.metadata
from time import perf_counter_ns
from typing import Any

from cgan_runtime.contract import Contract
from cgan_runtime.runners.openvino import compile_settings, shared_core

from cgan_bench.layers.profiled import Layer, ProfiledTensor, Profiler, operations_of, precision_of
from cgan_bench.workload import inputs_for, round_seeds

__all__ = ["profile_openvino"]


def profile_openvino(
    model: bytes, contract: Contract, precision: str, *, batch: int, runs: int, warm_up: int, threads: int
) -> Profiler:
    """Run the file so many times, and read the counters before and after those that count.

    Args:
        model: the bytes of the artifact.
        contract: with numbers for axes.
        precision: of the artifact: "bf16" computes in bfloat16.
        batch: rows of one run.
        runs: that count.
        warm_up: runs before them; at least one is made.
        threads: 0 lets OpenVINO choose.
    """
    core = shared_core()
    settings = compile_settings(precision, threads=threads) | {"PERF_COUNT": True}
    compiled = core.compile_model(core.read_model(model), "CPU", settings)
    request = compiled.create_infer_request()
    first = max(1, warm_up)
    whole_ms = []
    before: dict[str, float] = {}
    for index in range(first + runs):
        feed = inputs_for(contract, round_seeds(index, batch))
        started = perf_counter_ns()
        request.infer(feed, share_inputs=True)
        whole_ms.append((perf_counter_ns() - started) / 1e6)
        if index == first - 1:
            before = {told.node_name: _mean_ms(told) * first for told in request.profiling_info}
    counters = [told for told in request.profiling_info if told.status.name == "EXECUTED"]
    nodes = {node.get_friendly_name(): node for node in compiled.get_runtime_model().get_ordered_ops()}
    return Profiler(
        description=f"OpenVINO {importlib.metadata.version('openvino')} CPU",
        layers=tuple(
            _layer(
                nodes.get(told.node_name),
                told,
                batch,
                max(0.0, (_mean_ms(told) * (first + runs) - before.get(told.node_name, 0.0)) / runs),
            )
            for told in counters
        ),
        whole_ms=tuple(whole_ms[first:]),
    )


def _mean_ms(told: Any) -> float:
    return float(told.real_time.total_seconds() * 1e3)


def _layer(node: Any, told: Any, batch: int, mean_ms: float) -> Layer:
    operator = told.node_type
    inputs, outputs = (_tensors(node.inputs()), _tensors(node.outputs())) if node is not None else ([], [])
    return Layer(
        title=told.node_name,
        operator=operator,
        batch=batch,
        latencies_ms=(mean_ms,),
        operations=operations_of(operator, inputs, outputs),
        bytes=sum(tensor.bytes for tensor in (*inputs, *outputs)),
        precision=precision_of(operator, inputs),
    )


def _tensors(ports: Any) -> list[ProfiledTensor]:
    known = [port for port in ports if port.get_partial_shape().is_static]
    return [
        ProfiledTensor(shape=tuple(port.get_shape()), dtype=port.get_element_type().to_string()) for port in known
    ]
