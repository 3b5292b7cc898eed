"""PyTorch at one batch size, stage by stage (`OnDevice`): what a benchmark measures on a GPU.

Noise is drawn by the kernel of the runtime (`DeviceNoise`) into the input tensors where a CUDA library is here and
all of it can be drawn there; PyTorch's own random numbers would mean other images for the same seeds.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, final

import numpy as np
import torch
from cgan_runtime.axes import shape_of
from cgan_runtime.contract import Contract, NoiseInput
from cgan_runtime.cuda.device_noise import ON_DEVICE, DeviceNoise, Drawing, Target
from cgan_runtime.cuda.driver import Driver
from cgan_runtime.errors import CganError, UsageError
from cgan_runtime.noise_tensors import noise_tensors
from cgan_runtime.runners.base import Array, Tensors
from cgan_runtime.runners.on_device import Stage, sets_for
from cgan_trainer.generator import Generator
from torch import Tensor

from cgan_export.pytorch.graphs import CudaGraph
from cgan_export.pytorch.mode import TorchMode
from cgan_export.pytorch.network import DTYPES, network_in

__all__ = ["TorchOnDevice"]


@dataclass(kw_only=True)
class _Lane:
    """What the sets of one stream share."""

    stream: Any
    noise: DeviceNoise | None
    pool: Any = None  # memory of its graphs, which never run at once


@dataclass(kw_only=True)
class _Set:
    """Inputs and outputs in memory of their own; `host_` tensors are pinned."""

    lane: _Lane
    inputs: dict[str, Tensor]
    host_inputs: dict[str, Tensor]
    drawing: Drawing | None
    host_outputs: tuple[Tensor, ...] = ()
    outputs: tuple[Tensor, ...] = ()
    graphs: dict[Stage, CudaGraph] = field(default_factory=dict)


@final
class TorchOnDevice:
    """See `OnDevice`.

    The float inputs and outputs have the precision of the mode on the device and in the copies. In a mode with a
    graph the computation is one, and so is everything; without, the network is put on the stream kernel by kernel,
    and what the GPU waits for Python counts as GPU time.

    Args:
        generator: as `with_statistics` returns it.
        contract: with numbers for axes.
        batch: rows of every run.
        mode: how it runs.
        device: "cuda" or "cuda:1".
        driver: draws the noise; on the same device, and closed with this object. None: the host draws it.
        streams: batches that are on the GPU at once in `seconds_of`.

    Raises:
        CganError: PyTorch cannot run it so, or has no memory left.
    """

    def __init__(
        self,
        generator: Generator,
        contract: Contract,
        *,
        batch: int,
        mode: TorchMode,
        device: str = "cuda",
        driver: Driver | None = None,
        streams: int = 1,
    ) -> None:
        self.contract = contract
        self._mode = mode
        self._batch = batch
        self._device = torch.device(device)
        self._streams = streams
        self._next = 0
        drawn = driver is not None and all(item.distribution in ON_DEVICE for item in contract.noise)
        self._drawn: tuple[NoiseInput, ...] = contract.noise if drawn else ()
        with ExitStack() as stack:
            if driver is not None:
                stack.callback(driver.close)
                driver.activate()
            _, self._network = network_in(generator, mode, self._device)
            lanes = [self._lane(driver, stack) for _ in range(streams)]
            self._sets = [self._set(lanes[number % streams]) for number in range(sets_for(streams))]
            stack.callback(self._drop_sets)
            for one in self._sets:
                self._prepare(one)
            self._owned = stack.pop_all()
        version = torch.__version__.partition("+")[0]
        self.description = f"PyTorch {version} {torch.cuda.get_device_name(self._device)} {mode.words}"

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Those that can be timed alone."""
        copies: tuple[Stage, ...] = ("copy_in",) if self._sets[0].host_inputs else ()
        draws: tuple[Stage, ...] = ("noise",) if self._drawn else ()
        return (*copies, *draws, "compute", "copy_out", "all")

    def generate(self, conditions: Tensors, seeds: Sequence[int]) -> dict[str, Array]:
        """Outputs in the memory of the host; see `OnDevice`."""
        if len(seeds) != self._batch:
            raise UsageError(f"{len(seeds)} seeds, but {self._batch} rows are measured; one seed a row is needed.")
        one = self._sets[self._next]
        self._next = (self._next + 1) % len(self._sets)
        given = dict(conditions)
        if one.lane.noise is None:
            given |= noise_tensors(self.contract.noise, seeds, [0] * len(seeds))
        else:
            one.lane.noise.set_rows(seeds, [0] * len(seeds))
        for name, tensor in one.host_inputs.items():
            tensor.copy_(torch.from_numpy(np.ascontiguousarray(given[name])))
        with self._settled(one):
            self._launch("all", one)
        return {
            output.name: (value.float() if value.is_floating_point() else value).numpy().copy()
            for output, value in zip(self.contract.outputs, one.host_outputs, strict=True)
        }

    def elapsed_ms(self, stage: Stage, index: int) -> float:
        """GPU time of a stage on one set; see `OnDevice`."""
        one = self._sets[index % len(self._sets)]
        before = self._sets[(index + self._streams) % len(self._sets)]  # on the same stream
        first, second = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]  # torch's
        with self._settled(one):
            self._launch("all", before)
            first.record()
            self._launch(stage, one)
            second.record()
        return float(first.elapsed_time(second))

    def seconds_of(self, runs: int) -> float:
        """Wall-clock seconds of so many runs over all streams; see `OnDevice`."""
        started = perf_counter()
        with ExitStack() as stack:
            for one in self._sets[: self._streams]:
                stack.enter_context(self._settled(one))
            for run in range(runs):
                one = self._sets[run % len(self._sets)]
                with torch.cuda.stream(one.lane.stream):
                    self._launch("all", one)
        return perf_counter() - started

    def close(self) -> None:
        """Give everything back."""
        self._owned.close()

    def _lane(self, driver: Driver | None, stack: ExitStack) -> _Lane:
        noise = None
        if driver is not None and self._drawn:
            noise = DeviceNoise(driver, max_rows=self._batch)  # one for a stream: it holds the seeds of one batch
            stack.callback(noise.close)
        return _Lane(stream=torch.cuda.Stream(device=self._device), noise=noise)  # type: ignore[no-untyped-call]  # torch's

    def _set(self, lane: _Lane) -> _Set:
        drawn = {item.name for item in self._drawn}
        inputs, host_inputs = {}, {}
        for tensor in self.contract.inputs:
            shape = (self._batch, *shape_of(tensor.shape, {}))
            dtype = DTYPES[self._mode.precision] if tensor.dtype == "float32" else torch.int64
            inputs[tensor.name] = torch.zeros(shape, dtype=dtype, device=self._device)
            if tensor.name not in drawn:
                host_inputs[tensor.name] = torch.zeros(shape, dtype=dtype).pin_memory()
        drawing = None if lane.noise is None else lane.noise.prepare(self._targets(inputs), self._batch)
        return _Set(lane=lane, inputs=inputs, host_inputs=host_inputs, drawing=drawing)

    def _targets(self, inputs: dict[str, Tensor]) -> list[Target]:
        return [
            Target(
                input=item,
                address=inputs[item.name].data_ptr(),
                shape=shape_of(item.shape, {}),
                half=inputs[item.name].dtype == torch.float16,
            )
            for item in self._drawn
        ]

    def _prepare(self, one: _Set) -> None:
        """Compile, make the places of the outputs, and record the graphs."""
        with self._settled(one):
            outputs = self._network(*one.inputs.values())
            one.host_outputs = tuple(torch.zeros(o.shape, dtype=o.dtype).pin_memory() for o in outputs)
        if not self._mode.graph:
            return
        if one.lane.pool is None:
            one.lane.pool = torch.cuda.graph_pool_handle()
        for stage in ("all", "compute"):  # the stage "copy_out" copies from where "compute" writes
            with self._settled(one):
                recorded = functools.partial(self._put, stage, one)
                one.graphs[stage] = CudaGraph(recorded, pool=one.lane.pool, stream=one.lane.stream)

    def _launch(self, stage: Stage, one: _Set) -> None:
        if stage in one.graphs:
            one.graphs[stage].replay()
        else:
            self._put(stage, one)

    def _put(self, stage: Stage, one: _Set) -> tuple[Tensor, ...]:
        """Put a stage on the current stream, that of the set, or into its recording; the outputs so far."""
        if stage in ("copy_in", "all"):
            for name, tensor in one.host_inputs.items():
                one.inputs[name].copy_(tensor, non_blocking=True)
        if stage in ("noise", "all") and one.lane.noise is not None and one.drawing is not None:
            one.lane.noise.enqueue(one.drawing, one.lane.stream.cuda_stream)
        if stage in ("compute", "all"):
            one.outputs = self._network(*one.inputs.values())
        if stage in ("copy_out", "all"):
            for host, output in zip(one.host_outputs, one.outputs, strict=True):
                host.copy_(output, non_blocking=True)
        return one.outputs

    @contextmanager
    def _settled(self, one: _Set) -> Iterator[None]:
        """On the stream of a set; wait for it afterwards.

        Raises:
            CganError: what PyTorch says in several lines, in one.
        """
        try:
            with torch.inference_mode(), torch.cuda.stream(one.lane.stream):
                yield
            one.lane.stream.synchronize()
        except RuntimeError as error:  # of CUDA, of the memory, and of a network that cannot have the precision
            text = " ".join(str(error).split())[:300]
            raise CganError(f"PyTorch cannot run {self._mode.words}: {text}") from error

    def _drop_sets(self) -> None:
        self._sets.clear()
