"""PyTorch as a runner: the reference every other backend is compared with."""

from __future__ import annotations

import copy
from typing import final

import numpy as np
import torch
from cgan_runtime.contract import Contract
from cgan_runtime.errors import CheckFailedError
from cgan_runtime.runners.base import Array, Runner, Tensors
from cgan_trainer.generator import Generator

from cgan_export.fidelity.strips import convolve_in_strips

__all__ = ["TorchRunner"]


@final
class TorchRunner(Runner):
    """Runs the generator eagerly with the noise it is given (no live dropout).

    Args:
        generator: as `with_statistics` returns it, so that rows are independent.
        contract: its contract.
        device: "cpu" or "cuda".
        compiled: through torch.compile.
        double: compute in float64, on a copy of the generator; inputs and outputs stay float32.

    Raises:
        CheckFailedError: on use, where `forward` has a type of its own and cannot be computed in float64.
    """

    def __init__(
        self,
        generator: Generator,
        contract: Contract,
        *,
        device: str = "cpu",
        compiled: bool = False,
        double: bool = False,
    ) -> None:
        super().__init__(contract)
        self._device = torch.device(device)
        self._double = double
        if double:
            generator = copy.deepcopy(generator).double()
            convolve_in_strips(generator)
        self._generator = generator.to(self._device).eval()
        self._compiled = compiled
        self._call = torch.compile(self._generator) if compiled else self._generator

    @property
    def description(self) -> str:
        """Backend, version and device."""
        mode = "compiled" if self._compiled else "eager"
        version = torch.__version__.partition("+")[0]
        return f"PyTorch {version} {mode} {self._device.type.upper()}{' in float64' if self._double else ''}"

    def _infer(self, inputs: Tensors) -> dict[str, Array]:
        given = self._tensors([inputs[tensor.name] for tensor in self.contract.inputs])
        with torch.inference_mode():
            try:
                return self._arrays(self._call(*given))
            except RuntimeError as error:
                if not self._double:
                    raise
                raise CheckFailedError(
                    f"this generator cannot be computed in float64 ({str(error).splitlines()[0]}), which decides "
                    "where an artifact and PyTorch differ: let forward make tensors in the dtype of its inputs."
                ) from error

    def infer_live(self, conditions: Tensors, rows: int, seed: int) -> dict[str, Array]:
        """`rows` outputs with the generator's own dropout and noise, drawn by torch from `seed`."""
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            given = self._tensors([conditions[c.name] for c in self.contract.conditions])
            with torch.inference_mode():
                return self._arrays(self._generator.live(given, rows))

    def _tensors(self, arrays: list[Array]) -> list[torch.Tensor]:
        tensors = [torch.from_numpy(np.ascontiguousarray(value)).to(self._device) for value in arrays]
        return [x.double() if self._double and x.is_floating_point() else x for x in tensors]

    def _arrays(self, outputs: tuple[torch.Tensor, ...]) -> dict[str, Array]:
        return {
            tensor.name: (value.float() if value.dtype == torch.float64 else value).cpu().numpy()
            for tensor, value in zip(self.contract.outputs, outputs, strict=True)
        }
