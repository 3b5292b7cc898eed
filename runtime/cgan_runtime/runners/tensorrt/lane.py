"""One batch at a time: a stream, its memory, and a context for each set of shapes.

TensorRT binds a CUDA graph to the context that it was recorded from, in the shapes that this had: a context is
therefore never given other shapes once a graph was recorded from it. TensorRT-RTX records graphs itself, for each
shape that a context sees, and compiles kernels for a context; there it is one context for each profile.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Final, final

import numpy as np

from cgan_runtime.contract import NoiseInput
from cgan_runtime.cuda.device_noise import DeviceNoise, Drawing, Target
from cgan_runtime.cuda.driver import Driver, DriverError
from cgan_runtime.errors import CganError
from cgan_runtime.runners.base import Array
from cgan_runtime.runners.tensorrt.buffers import Layout, Memory, layout_of
from cgan_runtime.runners.tensorrt.engine import Context, Engine
from cgan_runtime.runners.tensorrt.job import Job
from cgan_runtime.runners.tensorrt.profiles import ProfileRange, Shape, Shapes

__all__ = ["Lane"]

# Contexts and graphs take memory of the host: those of the shapes that were used longest ago are dropped.
MOST_CONTEXTS: Final = 32

Key = tuple[int, tuple[Shape, ...], bool]
EMPTY: Final = Layout(places=(), bytes=0)


@dataclass
class _Execution:
    """A context and what was set in it; `graph` is there once it was recorded.

    The inputs lie in the order of the lane: those that can be drawn come last, so the others are one copy.
    """

    context: Context
    shapes: Shapes = field(default_factory=dict)
    inputs: Layout = EMPTY
    outputs: Layout = EMPTY
    drawing: Drawing | None = None
    has_run: bool = False
    graph: int | None = None


@final
class Lane:
    """Everything that one batch in flight needs. One thread at a time, with the driver's context current.

    Args:
        engine: the plan.
        driver: the device.
        graphs: record a CUDA graph when shapes come for the second time, and launch it from then on.
        drawn: noise inputs that jobs with seeds draw on the device.

    Raises:
        DriverError: no memory.
        CganError: TensorRT refuses something.
    """

    def __init__(self, engine: Engine, driver: Driver, *, graphs: bool, drawn: Sequence[NoiseInput] = ()) -> None:
        self._engine = engine
        self._driver = driver
        self._drawn = {item.name: item for item in drawn}
        self._order = sorted(engine.inputs, key=lambda tensor: tensor.name in self._drawn)
        self._graphs = graphs and not engine.captures_graphs
        self._executions: OrderedDict[Key, _Execution] = OrderedDict()
        with ExitStack() as stack:
            self._stream = driver.create_stream()
            stack.callback(driver.destroy_stream, self._stream)
            self._scratch = driver.allocate(engine.scratch_bytes)
            stack.callback(driver.free, self._scratch)
            sizes = [self._largest(profile) for profile in engine.profiles]
            self._inputs = Memory(driver, max(inputs for inputs, _ in sizes), stack)
            self._outputs = Memory(driver, max(outputs for _, outputs in sizes), stack)
            self._noise: DeviceNoise | None = None
            if drawn:
                most = max(profile.batch[1] for profile in engine.profiles)
                self._noise = DeviceNoise(driver, max_rows=most)
                stack.callback(self._noise.close)
            stack.callback(self._forget_all)
            self._owned = stack.pop_all()

    def run(self, job: Job, profile: ProfileRange) -> dict[str, Array]:
        """Every output [N, ...] of a job whose shapes are in the profile's range; arrays of the caller's own.

        Raises:
            UsageError: a seed or a draw out of range.
            DriverError: a call of CUDA failed.
            CganError: TensorRT refuses something.
        """
        key = self._key(profile, job)
        try:
            execution = self._execution(key, profile, job.shapes)
            for place in execution.inputs.places:
                if place.tensor.name in job.inputs:
                    # The contract's types to those of the engine; labels were checked to be classes.
                    np.copyto(self._inputs.view(place), job.inputs[place.tensor.name], casting="unsafe")
            if job.is_seeded and self._noise is not None:
                self._noise.set_rows(job.seeds, job.draws)
            self._enqueue(execution, job)
            self._driver.synchronise(self._stream)
        except BaseException:
            # What is half done must not be used again, and must be over before the memory is.
            with suppress(DriverError):
                self._driver.synchronise(self._stream)
            with suppress(DriverError):
                self._forget(key)
            raise
        execution.has_run = True
        return {
            place.tensor.name: self._outputs.view(place).astype(place.tensor.outside)  # always a copy
            for place in execution.outputs.places
        }

    def close(self) -> None:
        """Give everything back, whatever fails; the last failure is raised."""
        self._owned.close()

    def _key(self, profile: ProfileRange, job: Job) -> Key:
        if self._engine.captures_graphs:
            return profile.number, (), False
        return profile.number, tuple(job.shapes[tensor.name] for tensor in self._order), job.is_seeded

    def _execution(self, key: Key, profile: ProfileRange, shapes: Shapes) -> _Execution:
        """A context in which the profile, the shapes and the addresses are set."""
        execution = self._executions.get(key) or self._new(key, profile)
        self._executions.move_to_end(key)
        if execution.shapes != shapes:
            inputs = layout_of(self._order, shapes)
            outputs = layout_of(self._engine.outputs, self._output_shapes(execution.context, shapes))
            for memory, layout in ((self._inputs, inputs), (self._outputs, outputs)):
                for place in layout.places:
                    address = memory.address + place.offset
                    self._require(execution.context.set_tensor_address(place.tensor.name, address), "an address")
            execution.drawing = self._drawing(inputs)
            execution.shapes, execution.inputs, execution.outputs = shapes, inputs, outputs
        return execution

    def _drawing(self, inputs: Layout) -> Drawing | None:
        if self._noise is None:
            return None
        targets = [
            Target(
                input=self._drawn[place.tensor.name],
                address=self._inputs.address + place.offset,
                shape=place.shape[1:],
                half=place.tensor.dtype == np.float16,
            )
            for place in inputs.places
            if place.tensor.name in self._drawn
        ]
        return self._noise.prepare(targets, rows=inputs.places[0].shape[0])

    def _new(self, key: Key, profile: ProfileRange) -> _Execution:
        while len(self._executions) >= MOST_CONTEXTS:
            self._forget(next(iter(self._executions)))
        context = self._engine.context()
        self._require(context.set_optimization_profile_async(profile.number, self._stream), "its profile")
        if self._engine.scratch_bytes:
            context.set_device_memory(self._scratch, self._engine.scratch_bytes)
        execution = self._executions[key] = _Execution(context=context)
        return execution

    def _output_shapes(self, context: Context, shapes: Shapes) -> dict[str, Shape]:
        for name, shape in shapes.items():
            self._require(context.set_input_shape(name, shape), f"{name} {list(shape)}")
        try:
            missing = context.infer_shapes()
        except RuntimeError as error:
            raise CganError(f"{self._engine.name} refused the shapes: {error}.") from error
        self._require(not missing, f"the shapes without {', '.join(missing)}")
        return {tensor.name: tuple(context.get_tensor_shape(tensor.name)) for tensor in self._engine.outputs}

    def _largest(self, profile: ProfileRange) -> tuple[int, int]:
        """Bytes of all inputs and of all outputs of a profile at its largest shapes."""
        largest = Job(shapes=profile.largest, inputs={})
        execution = self._new(self._key(profile, largest), profile)
        outputs = self._output_shapes(execution.context, profile.largest)
        return (
            layout_of(self._order, profile.largest).bytes,
            layout_of(self._engine.outputs, outputs).bytes,
        )

    def _enqueue(self, execution: _Execution, job: Job) -> None:
        """Put a run on the stream; from the second of a context on as a graph."""
        if execution.graph is None and self._graphs and execution.has_run:
            execution.graph = self._recorded(execution, job)
        if execution.graph is None:
            self._put(execution, job)
        else:
            self._driver.launch_graph(execution.graph, self._stream)

    def _recorded(self, execution: _Execution, job: Job) -> int:
        self._driver.begin_capture(self._stream)
        try:
            self._put(execution, job)
        except BaseException:
            with suppress(DriverError):  # the stream does no work until the recording has ended
                self._driver.destroy_graph(self._driver.end_capture(self._stream))
            raise
        return self._driver.end_capture(self._stream)

    def _put(self, execution: _Execution, job: Job) -> None:
        copied = [place for place in execution.inputs.places if place.tensor.name in job.inputs]
        if copied:
            end = copied[-1].offset + copied[-1].bytes
            self._driver.copy_to_device(self._inputs.address, self._inputs.host[:end], self._stream)
        if job.is_seeded and self._noise is not None and execution.drawing is not None:
            self._noise.enqueue(execution.drawing, self._stream)
        # A refused run inside a recording would be an empty graph, which gives old results again.
        self._require(execution.context.execute_async_v3(self._stream), "to run")
        outputs = execution.outputs.bytes
        self._driver.copy_to_host(self._outputs.host[:outputs], self._outputs.address, self._stream)

    def _require(self, accepted: bool, what: str) -> None:
        if not accepted:
            raise CganError(f"{self._engine.name} refused {what}: {self._engine.last_words}.")

    def _forget(self, key: Key) -> None:
        execution = self._executions.pop(key, None)
        if execution is not None and execution.graph is not None:
            self._driver.destroy_graph(execution.graph)

    def _forget_all(self) -> None:
        with ExitStack() as stack:  # every graph is given back, whatever fails
            for key in list(self._executions):
                stack.callback(self._forget, key)
