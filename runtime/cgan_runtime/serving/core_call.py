"""How the front models call `<name>_core`, inside the server and without the network.

They speak the contract's types; a core with FP16 inputs and outputs is spoken to in FP16.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence, Set
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, final

import numpy as np
import triton_python_backend_utils as pb

from cgan_runtime.axes import shape_of
from cgan_runtime.contract import Contract
from cgan_runtime.errors import CganError, UsageError
from cgan_runtime.generator import SeededGenerator, sizes_of
from cgan_runtime.runners import Array, Runner, Tensors
from cgan_runtime.serving.wire import OUR_SENTENCE, PING

if TYPE_CHECKING:
    from cgan_runtime.serving.device_inputs import DeviceInputs

__all__ = ["open_core", "ping_core"]


def open_core(
    contract: Contract,
    settings: Mapping[str, str],
    around: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> SeededGenerator:
    """The core with its noise drawn from the seeds.

    Args:
        contract: of the generator.
        settings: parameters of the model's configuration.
        around: gives what is entered for each call.

    Raises:
        CganError: noise is to be drawn on a GPU, and there is none that can be used.
    """
    half, drawn = settings.get("io") == "fp16", None
    if settings.get("noise") == "device":
        from cgan_runtime.cuda.driver import open_driver
        from cgan_runtime.serving.device_inputs import DeviceInputs

        driver = open_driver(int(settings["gpu"]))
        drawn = DeviceInputs(driver, contract.noise, max_rows=int(settings["rows"]), half=half)
    sides = json.loads(settings.get("sides", "null"))
    runner = _CoreRunner(contract, settings["core"], half=half, sides=sides, drawn=drawn, around=around)
    return SeededGenerator(runner)


def ping_core(contract: Contract, model: str) -> None:
    """Ask the core whether it lives; one of ours answers without computing anything.

    Raises:
        CganError: it does not.
    """
    side = 1 if contract.sides is None else contract.sides.min
    shapes = [shape_of(tensor.shape, {"h": side, "w": side}) or (1,) for tensor in contract.inputs]
    inputs = [
        pb.Tensor(tensor.name, np.zeros((1, *shape), dtype=tensor.dtype))
        for tensor, shape in zip(contract.inputs, shapes, strict=True)
    ]
    names = [output.name for output in contract.outputs]
    request = pb.InferenceRequest(
        model_name=model, requested_output_names=names, inputs=inputs, parameters={PING: True}
    )
    if (response := request.exec()).has_error():
        raise _failure(response.error().message())


def _failure(message: str) -> CganError:
    """What the caller may know of a core's error; the rest goes to Triton's log."""
    if message.startswith(OUR_SENTENCE):
        return CganError(message.removeprefix(OUR_SENTENCE))
    pb.Logger.log_error(message)
    return CganError("the engine failed; the server's log says why.")


@final
class _CoreRunner(Runner):
    """The model `<name>_core`; noise that is drawn on the GPU is handed over there."""

    def __init__(
        self,
        contract: Contract,
        model: str,
        *,
        half: bool,
        sides: list[list[int]] | None,
        drawn: DeviceInputs | None,
        around: Callable[[], AbstractContextManager[None]],
    ) -> None:
        super().__init__(contract)
        self._half = half
        self._model = model
        self._sides = sides
        self._drawn = drawn
        self._around = around

    @property
    def description(self) -> str:
        return f"Triton model {self._model}"

    @property
    def drawn_inputs(self) -> Set[str]:
        return frozenset() if self._drawn is None else self._drawn.names

    def close(self) -> None:
        if self._drawn is not None:
            self._drawn.close()

    def _require_taken(self, conditions: Tensors) -> None:
        """Stop at a size that the contract allows and the plan was not built for.

        Raises:
            UsageError: says what was given and what is taken.
        """
        if self._sides is None:
            return
        (low_h, low_w), (high_h, high_w) = self._sides
        sizes = sizes_of(self.contract, conditions)
        height, width = sizes.get("h", low_h), sizes.get("w", low_w)
        if not (low_h <= height <= high_h and low_w <= width <= high_w):
            raise UsageError(
                f"an image of {width}x{height} was given; the plan was built for {low_w}x{low_h} to "
                f"{high_w}x{high_h}."
            )

    def _infer(self, inputs: Tensors) -> dict[str, Array]:
        self._require_taken(inputs)
        return self._call(self._tensors(inputs))

    def _infer_seeded(
        self, inputs: Tensors, seeds: Sequence[int], draws: Sequence[int], shapes: Mapping[str, tuple[int, ...]]
    ) -> dict[str, Array]:
        self._require_taken(inputs)
        assert self._drawn is not None  # noqa: S101 - else nothing is in `drawn_inputs`
        there = self._drawn.draw(seeds, draws, shapes)
        drawn = [pb.Tensor.from_dlpack(name, value) for name, value in there.items()]
        return self._call([*self._tensors(inputs), *drawn])

    def _tensors(self, arrays: Tensors) -> list[Any]:
        """Arrays of the contract's types as the core takes them."""
        return [pb.Tensor(name, self._on_the_wire(value)) for name, value in arrays.items()]

    def _call(self, tensors: list[Any]) -> dict[str, Array]:
        """Every output, in the contract's types and shapes.

        Raises:
            CganError: the core failed.
        """
        names = [output.name for output in self.contract.outputs]
        request = pb.InferenceRequest(
            model_name=self._model,
            requested_output_names=names,
            inputs=tensors,
            # An engine on a GPU would leave them there, where NumPy does not read.
            preferred_memory=pb.PreferredMemory(pb.TRITONSERVER_MEMORY_CPU),
        )
        with self._around():
            response = request.exec()
        if response.has_error():
            raise _failure(response.error().message())
        answers = {o: pb.get_output_tensor_by_name(response, o.name).as_numpy() for o in self.contract.outputs}
        return {
            output.name: (value.reshape(len(value)) if output.shape == () else value).astype(
                output.dtype, copy=False
            )
            for output, value in answers.items()
        }

    def _on_the_wire(self, value: Array) -> Array:
        """A scalar per row travels as [N, 1]."""
        if self._half and value.dtype == np.float32:
            value = value.astype(np.float16)
        return np.ascontiguousarray(value.reshape(-1, 1) if value.ndim == 1 else value)
