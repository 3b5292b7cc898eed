"""How the front models call `<name>_core`, inside the server and without the network.

They speak the contract's types; a core with FP16 inputs and outputs is spoken to in FP16.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, final

import numpy as np
import triton_python_backend_utils as pb

from cgan_runtime.contract import Contract
from cgan_runtime.errors import CganError, UsageError
from cgan_runtime.generator import SeededGenerator, SeededModel, noise_tensors, require_rows, sizes_of
from cgan_runtime.runners import Array, Runner, Tensors

__all__ = ["open_core"]


def open_core(contract: Contract, settings: Mapping[str, str]) -> SeededModel:
    """The core with its noise drawn from the seeds.

    Args:
        contract: of the generator.
        settings: parameters of the model's configuration.

    Raises:
        CganError: noise is to be drawn on a GPU, and there is none that can be used.
    """
    sides = json.loads(settings.get("sides", "null"))
    runner = _CoreRunner(contract, settings["core"], half=settings.get("io") == "fp16", sides=sides)
    if settings.get("noise") != "device":
        return SeededGenerator(runner)
    return _DeviceSeeded(runner, int(settings["gpu"]), int(settings["rows"]))


@final
class _CoreRunner(Runner):
    """The model `<name>_core`."""

    def __init__(self, contract: Contract, model: str, *, half: bool, sides: list[list[int]] | None) -> None:
        super().__init__(contract)
        self.half = half
        self._model = model
        self._sides = sides

    @property
    def description(self) -> str:
        return f"Triton model {self._model}"

    def require_taken(self, conditions: Tensors) -> None:
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

    def tensors(self, arrays: Tensors) -> list[Any]:
        """Arrays of the contract's types as the core takes them."""
        return [pb.Tensor(name, self._on_the_wire(value)) for name, value in arrays.items()]

    def call(self, tensors: list[Any]) -> dict[str, Array]:
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
        response = request.exec()
        if response.has_error():
            raise CganError(response.error().message())
        answers = {o: pb.get_output_tensor_by_name(response, o.name).as_numpy() for o in self.contract.outputs}
        return {
            output.name: (value.reshape(len(value)) if output.shape == () else value).astype(
                output.dtype, copy=False
            )
            for output, value in answers.items()
        }

    def _infer(self, inputs: Tensors) -> dict[str, Array]:
        self.require_taken(inputs)
        return self.call(self.tensors(inputs))

    def _on_the_wire(self, value: Array) -> Array:
        """A scalar per row travels as [N, 1]."""
        if self.half and value.dtype == np.float32:
            value = value.astype(np.float16)
        return np.ascontiguousarray(value.reshape(-1, 1) if value.ndim == 1 else value)


@final
class _DeviceSeeded:
    """The core with noise that was drawn on the GPU, and handed over there."""

    def __init__(self, runner: _CoreRunner, gpu: int, rows: int) -> None:
        from cgan_runtime.cuda.driver import open_driver
        from cgan_runtime.serving.device_inputs import DeviceInputs

        self._runner = runner
        self._drawn = DeviceInputs(open_driver(gpu), runner.contract.noise, max_rows=rows, half=runner.half)

    @property
    def contract(self) -> Contract:
        return self._runner.contract

    def generate(self, conditions: Tensors, seeds: Sequence[int], draws: Sequence[int]) -> dict[str, Array]:
        sizes = require_rows(self.contract, conditions, seeds)
        self._runner.require_taken(conditions)
        # Of the distributions that no kernel draws.
        rest = noise_tensors(self._drawn.left, seeds, draws, sizes)
        there = self._drawn.draw(seeds, draws, sizes)
        tensors = [pb.Tensor.from_dlpack(name, value) for name, value in there.items()]
        return self._runner.call([*self._runner.tensors({**conditions, **rest}), *tensors])

    def close(self) -> None:
        self._drawn.close()
