"""PyTorch as a runner: the reference every other backend is compared with, and the baselines of a GPU."""

from __future__ import annotations

from typing import Final, final

import numpy as np
import torch
from cgan_runtime.contract import Contract
from cgan_runtime.errors import CheckFailedError
from cgan_runtime.runners.base import Array, Runner, Tensors
from cgan_trainer.generator import Generator

from cgan_export.pytorch.graphs import GraphPerShape
from cgan_export.pytorch.mode import EAGER, TorchMode
from cgan_export.pytorch.network import DTYPES, network_in

__all__ = ["TorchRunner"]

_WAY_OUT: Final = "let forward make tensors in the dtype of its inputs."


@final
class TorchRunner(Runner):
    """Runs the generator with the noise it is given, no live dropout; takes and gives the contract's float32.

    Args:
        generator: as `with_statistics` returns it, so that rows are independent. It is moved to the device; a mode
            that changes weights or layout takes a copy.
        contract: its contract.
        device: "cpu", "cuda" or "cuda:1".
        mode: how it runs.

    Raises:
        UsageError: a CUDA graph on a CPU.
        CheckFailedError: on use, where `forward` has a type of its own and cannot be computed in another precision.
    """

    def __init__(
        self, generator: Generator, contract: Contract, *, device: str = "cpu", mode: TorchMode = EAGER
    ) -> None:
        super().__init__(contract)
        self._device = torch.device(device)
        self._mode = mode
        self._generator, call = network_in(generator, mode, self._device)
        self._call = GraphPerShape(call) if mode.graph else call

    @property
    def description(self) -> str:
        """Version, device and mode."""
        version = torch.__version__.partition("+")[0]
        return f"PyTorch {version} {self._device.type.upper()} {self._mode.words}"

    def _infer(self, inputs: Tensors) -> dict[str, Array]:
        given = self._tensors([inputs[tensor.name] for tensor in self.contract.inputs])
        with torch.inference_mode():
            try:
                return self._arrays(self._call(*given))
            except RuntimeError as error:
                if self._mode.precision == "fp32" or self._mode.compiled or self._mode.graph:
                    raise
                raise CheckFailedError(_another_type(self._mode, error)) from error

    def infer_live(self, conditions: Tensors, rows: int, seed: int) -> dict[str, Array]:
        """`rows` outputs with the generator's own dropout and noise, drawn by torch from `seed`."""
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            given = self._tensors([conditions[c.name] for c in self.contract.conditions])
            with torch.inference_mode():
                return self._arrays(self._generator.live(given, rows))

    def _tensors(self, arrays: list[Array]) -> list[torch.Tensor]:
        tensors = [torch.from_numpy(np.ascontiguousarray(value)).to(self._device) for value in arrays]
        return [x.to(DTYPES[self._mode.precision]) if x.is_floating_point() else x for x in tensors]

    def _arrays(self, outputs: tuple[torch.Tensor, ...]) -> dict[str, Array]:
        return {
            tensor.name: (value.float() if value.is_floating_point() else value).cpu().numpy()
            for tensor, value in zip(self.contract.outputs, outputs, strict=True)
        }


def _another_type(mode: TorchMode, error: RuntimeError) -> str:
    why = str(error).splitlines()[0]
    if mode.precision == "fp16":
        return f"this generator cannot be computed in FP16 ({why}): {_WAY_OUT}"
    decides = "which decides where an artifact and PyTorch differ"
    return f"this generator cannot be computed in float64 ({why}), {decides}: {_WAY_OUT}"
