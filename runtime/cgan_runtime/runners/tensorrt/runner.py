"""A TensorRT plan as a runner."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from queue import LifoQueue
from threading import Lock
from typing import TYPE_CHECKING, Any, final

import numpy as np

from cgan_runtime.contract import Contract
from cgan_runtime.cuda.device_noise import ON_DEVICE
from cgan_runtime.errors import CganError, UsageError
from cgan_runtime.runners.base import Array, Runner, Tensors
from cgan_runtime.runners.tensorrt.engine import Engine
from cgan_runtime.runners.tensorrt.job import Job
from cgan_runtime.runners.tensorrt.lane import Lane
from cgan_runtime.runners.tensorrt.profiles import parts_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence, Set

    from cgan_runtime.cuda.driver import Driver
    from cgan_runtime.runners.tensorrt.flavours import Flavour

__all__ = ["TensorRtRunner"]


@final
class TensorRtRunner(Runner):
    """Runs one plan. Several threads may use it at once: `contexts` of them compute, the others wait.

    Args:
        plan: the bytes of the plan; it may hold program code, so the caller has checked where it comes from.
        contract: the signature that the plan must have; its tensors may be FP16 where the contract has float32.
        driver: the GPU; the runner closes it, also when it cannot be made.
        flavour: which TensorRT.
        module: its module.
        contexts: batches that are on the GPU at once, each with a stream and memory of its own.
        graphs: launch shapes that come again as CUDA graphs.
        noise_on_device: draw noise from seeds on the GPU, as far as the kernel can; else it comes from the host.

    Raises:
        UsageError: no context.
        BundleError: the plan cannot be loaded, or has another signature.
        DriverError: no memory on the GPU.
        CganError: TensorRT refuses something.
    """

    def __init__(
        self,
        plan: bytes,
        contract: Contract,
        *,
        driver: Driver,
        flavour: Flavour,
        module: Any,
        contexts: int = 1,
        graphs: bool = True,
        noise_on_device: bool = True,
    ) -> None:
        super().__init__(contract)
        if contexts < 1:
            driver.close()
            raise UsageError(f"contexts {contexts}; give 1 or more.")
        self._driver = driver
        self._closing = Lock()
        self._idle: LifoQueue[Lane | None] = LifoQueue()  # the lane used last has the graphs of recent shapes
        with ExitStack() as stack:
            stack.callback(driver.close)
            driver.activate()
            engine = Engine(plan, contract, flavour=flavour, module=module)
            drawn = [item for item in contract.noise if noise_on_device and item.distribution in ON_DEVICE]
            for _ in range(contexts):
                lane = Lane(engine, driver, graphs=graphs, drawn=drawn)
                stack.callback(lane.close)
                self._idle.put(lane)
            self._owned = stack.pop_all()
        self._engine: Engine | None = engine
        self._byte_images = engine.byte_images
        self._drawn = frozenset(item.name for item in drawn)
        self._contexts = contexts
        self._description = f"{engine.name} {driver.device.name}"

    @property
    def description(self) -> str:
        """Flavour, version and GPU."""
        return self._description

    @property
    def drawn_inputs(self) -> Set[str]:
        """The noise inputs that the GPU draws."""
        return self._drawn

    @property
    def byte_images(self) -> Set[str]:
        """The images that the plan has as bytes."""
        return self._byte_images

    def _infer(self, inputs: Tensors) -> dict[str, Array]:
        return self._run(Job(shapes={name: value.shape for name, value in inputs.items()}, inputs=inputs))

    def _infer_seeded(
        self, inputs: Tensors, seeds: Sequence[int], draws: Sequence[int], shapes: Mapping[str, tuple[int, ...]]
    ) -> dict[str, Array]:
        given = {name: value.shape for name, value in inputs.items()}
        return self._run(Job(shapes={**given, **shapes}, inputs=inputs, seeds=tuple(seeds), draws=tuple(draws)))

    def _run(self, job: Job) -> dict[str, Array]:
        with self._lane() as (engine, lane):
            answers = []
            for part in parts_of(engine.profiles, job.shapes):
                answer = lane.run(job.part(part), part.profile)
                answers.append({name: value[: part.rows] for name, value in answer.items()})
        if len(answers) == 1:
            return answers[0]
        return {name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]}

    @contextmanager
    def _lane(self) -> Iterator[tuple[Engine, Lane]]:
        """A lane for this thread; waits for one."""
        lane = self._idle.get()
        try:
            if lane is None or self._engine is None:
                raise CganError(f"the runner {self._description} was closed; open another one.")
            self._driver.activate()
            yield self._engine, lane
        finally:
            self._idle.put(lane)

    def close(self) -> None:
        """Wait for what is running, then give back all memory and the context."""
        with self._closing:
            if self._engine is None:
                return
            for _ in range(self._contexts):
                self._idle.get()
            self._engine = None  # with its lanes it is freed, before the driver is closed
            self._idle.put(None)  # for whoever asks from now on
            with self._owned:  # what it owns is given back even where the context cannot be made current
                self._driver.activate()
