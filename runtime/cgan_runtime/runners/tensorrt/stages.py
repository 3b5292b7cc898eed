"""A TensorRT plan at one batch size, stage by stage (`OnDevice`): what a benchmark measures.

Each set of inputs and outputs has memory and an execution context of its own, and with TensorRT a CUDA graph of the
computation and one of everything; TensorRT-RTX makes its graphs itself. Noise is drawn by `DeviceNoise` into the
input buffers where all of it can be, else by the host.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Final, final

import numpy as np

from cgan_runtime.axes import shape_of
from cgan_runtime.contract import Contract, ImageEncoding
from cgan_runtime.cuda.device_noise import ON_DEVICE, DeviceNoise, Drawing, Target
from cgan_runtime.cuda.driver import Driver, DriverError
from cgan_runtime.errors import CganError, UsageError
from cgan_runtime.image_bytes import tensors_from_bytes
from cgan_runtime.noise_tensors import noise_tensors
from cgan_runtime.runners.base import Array, Tensors, images_as_needed
from cgan_runtime.runners.on_device import Stage, sets_for
from cgan_runtime.runners.tensorrt.buffers import Memory, layout_of
from cgan_runtime.runners.tensorrt.engine import Context, Engine
from cgan_runtime.runners.tensorrt.flavours import Flavour
from cgan_runtime.runners.tensorrt.profiles import Part, Shape, parts_of

__all__ = ["PlanOnDevice"]

RECORDED: Final[tuple[Stage, ...]] = ("compute", "all")


@dataclass(frozen=True, kw_only=True)
class _Lane:
    """What the sets of one stream share, since they run one after the other."""

    stream: int
    scratch: int
    events: tuple[int, int]
    noise: DeviceNoise | None


@dataclass(kw_only=True)
class _Set:
    """Inputs and outputs in memory of their own."""

    lane: _Lane
    context: Context
    inputs: Memory
    outputs: Memory
    drawing: Drawing | None
    graphs: dict[Stage, int] = field(default_factory=dict)


@final
class PlanOnDevice:
    """See `OnDevice`.

    Args:
        plan: the bytes of the plan; it may hold program code, so the caller has checked where it comes from.
        contract: with numbers for axes; its tensors may be FP16 in the plan.
        batch: rows of every run.
        driver: the GPU; closed with this object, also when it cannot be made.
        flavour: which TensorRT.
        module: its module.
        streams: batches that are on the GPU at once in `seconds_of`.

    Raises:
        UsageError: the plan takes no such batch in one run.
        BundleError: the plan cannot be loaded, or has another signature.
        DriverError: no memory on the GPU.
        CganError: TensorRT refuses something.
    """

    def __init__(
        self,
        plan: bytes,
        contract: Contract,
        *,
        batch: int,
        driver: Driver,
        flavour: Flavour,
        module: Any,
        streams: int = 1,
    ) -> None:
        self.contract = contract
        self._driver = driver
        self._batch = batch
        self._next = 0
        self._sets: list[_Set] = []
        with ExitStack() as stack:
            stack.callback(driver.close)
            driver.activate()
            self._engine: Engine | None = Engine(plan, contract, flavour=flavour, module=module)
            stack.callback(self._drop_engine)
            shapes = {
                tensor.name: (batch, *shape_of(self._engine.sample_axes(tensor), {})) for tensor in contract.inputs
            }
            part = _whole(self._engine, shapes, batch)
            self._inputs = layout_of(self._engine.inputs, shapes)
            self._byte_images = self._engine.byte_images
            self._draws = all(item.distribution in ON_DEVICE for item in contract.noise)
            lanes = [self._lane(self._engine, stack) for _ in range(streams)]
            stack.callback(self._forget_sets)
            for number in range(sets_for(streams)):
                self._sets.append(self._set(self._engine, lanes[number % streams], shapes, part, stack))
            for one in self._sets:
                self._run_once(one)
            self._owned = stack.pop_all()
        self._streams = streams
        self.description = f"{self._engine.name} {driver.device.name}"

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Those that can be timed alone."""
        copies: tuple[Stage, ...] = ("copy_in",) if self._copied_bytes else ()
        draws: tuple[Stage, ...] = ("noise",) if self.contract.noise and self._draws else ()
        return (*copies, *draws, "compute", "copy_out", "all")

    def generate(self, conditions: Tensors, seeds: Sequence[int]) -> dict[str, Array]:
        """Outputs in the memory of the host; see `OnDevice`."""
        if len(seeds) != self._batch:
            raise UsageError(f"{len(seeds)} seeds, but {self._batch} rows are measured; one seed a row is needed.")
        one = self._sets[self._next]
        self._next = (self._next + 1) % len(self._sets)
        given = dict(images_as_needed(self.contract, conditions, self._byte_images))
        if one.lane.noise is None:
            given |= noise_tensors(self.contract.noise, seeds, [0] * len(seeds))
        else:
            one.lane.noise.set_rows(seeds, [0] * len(seeds))
        for place in self._inputs.places:
            if place.tensor.name in given:
                # The contract's types to those of the plan; labels are classes.
                np.copyto(one.inputs.view(place), given[place.tensor.name], casting="unsafe")
        with self._settled(one):
            self._launch("all", one)
        answer = {
            place.tensor.name: one.outputs.view(place).astype(place.tensor.outside)  # always a copy
            for place in self._outputs.places
        }
        for output in self.contract.outputs:
            if output.name in self._byte_images and isinstance(output.encoding, ImageEncoding):
                answer[output.name] = tensors_from_bytes(answer[output.name], output.encoding)
        return answer

    def elapsed_ms(self, stage: Stage, index: int) -> float:
        """GPU time of a stage on one set; see `OnDevice`."""
        one = self._sets[index % len(self._sets)]
        before = self._sets[(index + self._streams) % len(self._sets)]  # on the same stream
        first, second = one.lane.events
        with self._settled(one):
            self._launch("all", before)
            self._driver.record(first, one.lane.stream)
            self._launch(stage, one)
            self._driver.record(second, one.lane.stream)
        return self._driver.elapsed_ms(first, second)

    def seconds_of(self, runs: int) -> float:
        """Wall-clock seconds of so many runs over all streams; see `OnDevice`."""
        started = perf_counter()
        with ExitStack() as stack:
            for one in self._sets[: self._streams]:
                stack.enter_context(self._settled(one))
            for run in range(runs):
                self._launch("all", self._sets[run % len(self._sets)])
        return perf_counter() - started

    def close(self) -> None:
        """Give everything back, whatever fails; the last failure is raised."""
        self._owned.close()

    def _lane(self, engine: Engine, stack: ExitStack) -> _Lane:
        driver = self._driver
        stream = driver.create_stream()
        stack.callback(driver.destroy_stream, stream)
        scratch = driver.allocate(engine.scratch_bytes)
        stack.callback(driver.free, scratch)
        first = driver.create_event()
        stack.callback(driver.destroy_event, first)
        second = driver.create_event()
        stack.callback(driver.destroy_event, second)
        noise = None
        if self._draws and self.contract.noise:
            noise = DeviceNoise(driver, max_rows=self._batch)  # one for a stream: it holds the seeds of one batch
            stack.callback(noise.close)
        return _Lane(stream=stream, scratch=scratch, events=(first, second), noise=noise)

    def _set(self, engine: Engine, lane: _Lane, shapes: dict[str, Shape], part: Part, stack: ExitStack) -> _Set:
        """A set whose context has its profile, shapes, addresses and scratch memory."""
        context = engine.context()
        self._require(context.set_optimization_profile_async(part.profile.number, lane.stream), "its profile")
        if engine.scratch_bytes:
            context.set_device_memory(lane.scratch, engine.scratch_bytes)
        for name, shape in shapes.items():
            self._require(context.set_input_shape(name, shape), f"{name} {list(shape)}")
        missing = context.infer_shapes()
        self._require(not missing, f"the shapes without {', '.join(missing)}")
        self._outputs = layout_of(
            engine.outputs, {tensor.name: tuple(context.get_tensor_shape(tensor.name)) for tensor in engine.outputs}
        )
        inputs = Memory(self._driver, self._inputs.bytes, stack)
        outputs = Memory(self._driver, self._outputs.bytes, stack)
        inputs.host[:] = 0  # labels that no generate() has given yet must be classes
        for memory, layout in ((inputs, self._inputs), (outputs, self._outputs)):
            for place in layout.places:
                self._require(
                    context.set_tensor_address(place.tensor.name, memory.address + place.offset), "an address"
                )
        drawing = None if lane.noise is None else lane.noise.prepare(self._targets(inputs), self._batch)
        return _Set(lane=lane, context=context, inputs=inputs, outputs=outputs, drawing=drawing)

    def _targets(self, memory: Memory) -> list[Target]:
        """Where the noise inputs of a set lie."""
        places = {place.tensor.name: place for place in self._inputs.places}
        return [
            Target(
                input=item,
                address=memory.address + places[item.name].offset,
                shape=shape_of(item.shape, {}),
                half=places[item.name].tensor.dtype == np.float16,
            )
            for item in self.contract.noise
        ]

    def _run_once(self, one: _Set) -> None:
        """TensorRT is run once before its graph is recorded; then record what is launched as a graph."""
        with self._settled(one):
            self._put("all", one)
        assert self._engine is not None  # noqa: S101 - it is open
        if self._engine.captures_graphs:
            return
        for stage in RECORDED:
            self._driver.begin_capture(one.lane.stream)
            try:
                self._put(stage, one)
            except BaseException:
                with suppress(DriverError):  # the stream does no work until the recording has ended
                    self._driver.destroy_graph(self._driver.end_capture(one.lane.stream))
                raise
            one.graphs[stage] = self._driver.end_capture(one.lane.stream)

    def _launch(self, stage: Stage, one: _Set) -> None:
        if stage in one.graphs:
            self._driver.launch_graph(one.graphs[stage], one.lane.stream)
        else:
            self._put(stage, one)

    def _put(self, stage: Stage, one: _Set) -> None:
        """Put a stage on the stream of a set, or into its recording."""
        stream = one.lane.stream
        if stage in ("copy_in", "all") and (size := self._copied_bytes):
            self._driver.copy_to_device(one.inputs.address, one.inputs.host[:size], stream)
        if stage in ("noise", "all") and one.lane.noise is not None and one.drawing is not None:
            one.lane.noise.enqueue(one.drawing, stream)
        if stage in ("compute", "all"):
            # A refused run inside a recording would be an empty graph, which gives old results again.
            self._require(one.context.execute_async_v3(stream), "to run")
        if stage in ("copy_out", "all"):
            size = self._outputs.bytes
            self._driver.copy_to_host(one.outputs.host[:size], one.outputs.address, stream)

    @property
    def _copied_bytes(self) -> int:
        """Inputs that the host gives lie before those that are drawn on the device: bytes up to their end."""
        count = len(self.contract.conditions) + (0 if self._draws else len(self.contract.noise))
        places = self._inputs.places[:count]
        return places[-1].offset + places[-1].bytes if places else 0

    @contextmanager
    def _settled(self, one: _Set) -> Iterator[None]:
        """Wait for the stream of a set afterwards, also where something failed: memory may be given back then."""
        try:
            yield
            self._driver.synchronise(one.lane.stream)
        except BaseException:
            with suppress(DriverError):
                self._driver.synchronise(one.lane.stream)
            raise

    def _require(self, accepted: bool, what: str) -> None:
        if not accepted and self._engine is not None:
            raise CganError(f"{self._engine.name} refused {what}: {self._engine.last_words}.")

    def _forget_sets(self) -> None:
        with ExitStack() as stack:  # every graph is given back, whatever fails
            for one in self._sets:
                for graph in one.graphs.values():
                    stack.callback(self._driver.destroy_graph, graph)
            self._sets.clear()

    def _drop_engine(self) -> None:
        self._engine = None  # it is freed before the driver is closed


def _whole(engine: Engine, shapes: dict[str, Shape], batch: int) -> Part:
    """The batch in one run; a benchmark of parts or of added rows would be of another batch."""
    parts = parts_of(engine.profiles, shapes)
    if len(parts) == 1 and parts[0].size == batch:
        return parts[0]
    takes = " or ".join(f"{low} to {high}" for low, high in dict.fromkeys(p.batch for p in engine.profiles))
    raise UsageError(f"the plan runs batches of {takes}, not {batch} at once; build it with {batch} among --batch.")
