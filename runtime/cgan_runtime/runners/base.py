"""The one interface behind which every way of executing an artifact stands.

ONNX Runtime, TensorRT, PyTorch (in cgan_export), a remote Triton, and later OpenVINO are runners: they take
every input of the contract, noise included, and give every output. Noise is `SeededGenerator`'s work, the same for
all of them. A runner whose device has the kernel of noise.cu draws the inputs in `drawn_inputs` there, by the same
rules, instead of taking them from the host.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence, Set
from types import TracebackType
from typing import Any, Self, final

import numpy as np
import numpy.typing as npt

from cgan_runtime.axes import bound_sizes, require_legal, shape_of
from cgan_runtime.contract import Contract, Tensor
from cgan_runtime.errors import CganError, UsageError

__all__ = ["Array", "Runner", "Tensors", "require_classes"]

Array = npt.NDArray[Any]
Tensors = Mapping[str, Array]


class Runner(ABC):
    """Executes one artifact. Not for concurrent use by several threads unless the subclass says so."""

    def __init__(self, contract: Contract) -> None:
        self.contract = contract

    @property
    @abstractmethod
    def description(self) -> str:
        """Backend and version, for tables and logs: "ONNX Runtime 1.31.1 CPU"."""

    @property
    def drawn_inputs(self) -> Set[str]:
        """Noise inputs that `infer_seeded` draws on the device; none where a runner only takes noise."""
        return frozenset()

    @final
    def infer(self, inputs: Tensors) -> dict[str, Array]:
        """Every output [N, ...] for every input [N, ...] of the contract, batch first.

        Raises:
            UsageError: an input is missing, unknown, of another dtype or shape, or the batches differ.
            CganError: the backend failed, or its answer does not have the contract's form.
        """
        batch, sizes = _check_inputs(self.contract, inputs)
        return self._checked(self._infer(inputs), batch, sizes)

    @final
    def infer_seeded(self, inputs: Tensors, seeds: Sequence[int], draws: Sequence[int]) -> dict[str, Array]:
        """`infer` with the noise inputs in `drawn_inputs` drawn on the device, row i from seeds[i] and draws[i].

        Args:
            inputs: every other input [N, ...]; N is the number of seeds.
            seeds: one per row.
            draws: one per row.

        Raises:
            UsageError: as `infer`; a seed or a draw out of range.
            CganError: as `infer`.
        """
        batch, sizes = _check_inputs(self.contract, inputs, drawn=self.drawn_inputs, rows=len(seeds))
        return self._checked(self._infer_seeded(inputs, seeds, draws), batch, sizes)

    @final
    def _checked(self, outputs: dict[str, Array], batch: int, sizes: dict[str, int]) -> dict[str, Array]:
        for output in self.contract.outputs:
            answer = outputs.get(output.name)
            if answer is None or not _fits(answer, output, batch, sizes):
                seen = None if answer is None else (str(answer.dtype), answer.shape)
                raise CganError(f"{self.description} answered {output.name} as {seen}, not as the contract says.")
        return outputs

    @abstractmethod
    def _infer(self, inputs: Tensors) -> dict[str, Array]:
        """The execution itself; inputs are already checked."""

    def _infer_seeded(self, inputs: Tensors, seeds: Sequence[int], draws: Sequence[int]) -> dict[str, Array]:
        """The same, of a runner with `drawn_inputs`."""
        raise NotImplementedError  # never asked of a runner that draws nothing

    def close(self) -> None:
        """Release what the runner holds; calling it twice is allowed."""
        return

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _check_inputs(
    contract: Contract, inputs: Tensors, *, drawn: Set[str] = frozenset(), rows: int | None = None
) -> tuple[int, dict[str, int]]:
    """The batch and the free sizes; `drawn` inputs are not given, and `rows` is the batch where it is known."""
    given_inputs = [tensor for tensor in contract.inputs if tensor.name not in drawn]
    wanted = [tensor.name for tensor in given_inputs]
    if set(inputs) != set(wanted):
        raise UsageError(f"inputs {sorted(inputs)} given, {sorted(wanted)} needed.")
    batches = {int(inputs[name].shape[0]) if inputs[name].ndim else 0 for name in wanted}
    batches |= set() if rows is None else {rows}
    if len(batches) != 1 or 0 in batches:
        raise UsageError(f"all inputs need the same batch of at least 1, got {sorted(batches)}.")
    batch = batches.pop()
    sizes = bound_sizes((c.shape, inputs[c.name].shape[1:]) for c in contract.conditions)
    require_legal(sizes, contract.sides)
    for tensor in given_inputs:
        given = inputs[tensor.name]
        if not _fits(given, tensor, batch, sizes):
            shape = ", ".join(map(str, ("N", *tensor.shape)))
            raise UsageError(
                f"input {tensor.name} is {given.dtype} {list(given.shape)}, {tensor.dtype} [{shape}] is needed."
            )
    require_classes(contract, inputs)
    return batch, sizes


def require_classes(contract: Contract, inputs: Tensors) -> None:
    """Refuse a label that is no class: a graph takes -1 for the last one, and fails for all rows at a large one.

    Raises:
        UsageError: names the condition and its classes.
    """
    for condition in contract.conditions:
        top = condition.last_class
        if top is None:
            continue
        wrong = [int(value) for value in inputs[condition.name].ravel() if not 0 <= value <= top]
        if wrong:
            raise UsageError(f"{condition.name} {wrong[0]} is out of range; give 0 to {top}.")


def _fits(array: Array, tensor: Tensor, batch: int, sizes: dict[str, int]) -> bool:
    return array.dtype == np.dtype(tensor.dtype) and array.shape == (batch, *shape_of(tensor.shape, sizes))
