"""The one interface behind which every way of executing an artifact stands.

ONNX Runtime, OpenVINO, TensorRT, PyTorch (in cgan_export) and a remote Triton are runners: they take every
input of the contract, noise included, and give every output. Noise is `SeededGenerator`'s work, the same for
all of them. A runner whose device has the kernel of noise.cu draws the inputs in `drawn_inputs` there, by the same
rules, instead of taking them from the host.

Images may be given and wanted as bytes, uint8 [N, H, W, C], of every runner. One whose artifact has the scaling and
rounding inside (`byte_images`) gets and gives the bytes themselves; of the others they are converted here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, final

import numpy as np
import numpy.typing as npt

from cgan_runtime.axes import bound_sizes, require_legal, shape_of
from cgan_runtime.contract import Condition, Contract, ImageEncoding, Output, Tensor
from cgan_runtime.errors import CganError, UsageError
from cgan_runtime.image_bytes import bytes_from_tensors, tensors_from_bytes

__all__ = [
    "Array",
    "Runner",
    "Tensors",
    "images_as_needed",
    "is_bytes",
    "is_image",
    "require_classes",
    "sample_shape",
]

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

    @property
    def byte_images(self) -> Set[str]:
        """Image conditions and outputs that the artifact has as bytes; `_infer` takes and gives them so."""
        return frozenset()

    @property
    def shares_conditions(self) -> bool:
        """Whether `_infer` takes conditions of one row for any number of rows of noise."""
        return False

    @final
    def infer(self, inputs: Tensors, *, as_bytes: bool = False) -> dict[str, Array]:
        """Every output [N, ...] for every input [N, ...] of the contract, batch first.

        Args:
            inputs: in the contract's types and shapes; an image condition may be uint8 [N, H, W, C] instead.
            as_bytes: give the images as uint8 [N, H, W, C].

        Raises:
            UsageError: an input is missing, unknown, of another dtype or shape, or the batches differ.
            CganError: the backend failed, or its answer does not have the contract's form; with `as_bytes`, an
                image has values that are NaN or infinite.
        """
        form = _form_of(self.contract, inputs)
        if self.shares_conditions:
            inputs = _with_shared_conditions(self.contract, inputs)
        return self._finished(
            self._infer(images_as_needed(self.contract, inputs, self.byte_images)), form, as_bytes=as_bytes
        )

    @final
    def infer_seeded(
        self, inputs: Tensors, seeds: Sequence[int], draws: Sequence[int], *, as_bytes: bool = False
    ) -> dict[str, Array]:
        """`infer` with the noise inputs in `drawn_inputs` drawn on the device, row i from seeds[i] and draws[i].

        Args:
            inputs: every other input [N, ...]; N is the number of seeds.
            seeds: one per row.
            draws: one per row.
            as_bytes: as for `infer`.

        Raises:
            UsageError: as `infer`; a seed or a draw out of range.
            CganError: as `infer`.
        """
        if len(draws) != len(seeds):
            raise UsageError(f"{len(seeds)} seeds but {len(draws)} draws.")
        drawn = self.drawn_inputs
        form = _form_of(self.contract, inputs, drawn=drawn, rows=len(seeds))
        shapes = {item.name: form.shape_of(item) for item in self.contract.noise if item.name in drawn}
        answer = self._infer_seeded(images_as_needed(self.contract, inputs, self.byte_images), seeds, draws, shapes)
        return self._finished(answer, form, as_bytes=as_bytes)

    @abstractmethod
    def _infer(self, inputs: Tensors) -> dict[str, Array]:
        """The execution itself; inputs are already checked.

        With `shares_conditions`, conditions of one row stand for all rows of the noise.
        """

    def _infer_seeded(
        self, inputs: Tensors, seeds: Sequence[int], draws: Sequence[int], shapes: Mapping[str, tuple[int, ...]]
    ) -> dict[str, Array]:
        """The same, of a runner with `drawn_inputs`, whose shapes [N, ...] are given."""
        raise NotImplementedError  # never asked of a runner that draws nothing

    @final
    def _finished(self, outputs: dict[str, Array], form: _Form, *, as_bytes: bool) -> dict[str, Array]:
        """The outputs once they are known to have the contract's form, each image as it is wanted."""
        for output in self.contract.outputs:
            answer = outputs.get(output.name)
            if answer is None or not form.fits(answer, output):
                seen = None if answer is None else (str(answer.dtype), answer.shape)
                raise CganError(f"{self.description} answered {output.name} as {seen}, not as the contract says.")
            if isinstance(output.encoding, ImageEncoding) and is_bytes(answer) != as_bytes:
                if as_bytes and not np.isfinite(answer).all():
                    raise CganError(
                        f"{self.description} gave values for {output.name} that are no finite numbers, so there "
                        "is no image of them: check the bundle with cgan-export verify."
                    )
                convert = bytes_from_tensors if as_bytes else tensors_from_bytes
                outputs = {**outputs, output.name: convert(answer, output.encoding)}
        return outputs

    def close(self) -> None:
        """Release what the runner holds; calling it twice is allowed."""
        return

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _with_shared_conditions(contract: Contract, inputs: Tensors) -> Tensors:
    """The inputs with one row of each condition, where all rows of all conditions are equal."""
    given = [inputs[condition.name] for condition in contract.conditions]
    if not all(np.array_equal(row, value[0]) for value in given for row in value[1:]):
        return inputs
    return {**inputs, **{condition.name: inputs[condition.name][:1] for condition in contract.conditions}}


def is_image(tensor: Tensor) -> bool:
    """Whether a tensor of a contract stands for 8-bit images."""
    return isinstance(tensor, Condition | Output) and isinstance(tensor.encoding, ImageEncoding)


def is_bytes(image: Array) -> bool:
    """Whether an image is given as bytes [N, H, W, C] rather than as the contract's tensor [N, C, H, W]."""
    return image.dtype == np.uint8


def images_as_needed(contract: Contract, inputs: Tensors, byte_images: Set[str]) -> Tensors:
    """The inputs with each image in the form that an artifact has: as bytes those in `byte_images`, else floats."""
    prepared = dict(inputs)
    for condition in contract.conditions:
        if isinstance(condition.encoding, ImageEncoding):
            value = inputs[condition.name]
            if is_bytes(value) and condition.name not in byte_images:
                prepared[condition.name] = tensors_from_bytes(value, condition.encoding)
            elif not is_bytes(value) and condition.name in byte_images:
                prepared[condition.name] = bytes_from_tensors(value, condition.encoding)
    return prepared


@dataclass(frozen=True, kw_only=True)
class _Form:
    """What all tensors of one call have in common: the number of rows, and the free sizes."""

    rows: int
    sizes: dict[str, int]

    def shape_of(self, tensor: Tensor) -> tuple[int, ...]:
        return (self.rows, *shape_of(tensor.shape, self.sizes))

    def fits(self, array: Array, tensor: Tensor) -> bool:
        shape = self.shape_of(tensor)
        if is_bytes(array) and is_image(tensor):
            return array.shape == (shape[0], *shape[2:], shape[1])
        return array.dtype == np.dtype(tensor.dtype) and array.shape == shape


def sample_shape(array: Array, condition: Condition) -> tuple[int, ...]:
    """The shape of one sample in the contract's order of axes, whether it is a tensor or the bytes of an image."""
    shape = array.shape[1:]
    if is_bytes(array) and is_image(condition) and len(shape) == 3:
        return (shape[2], *shape[:2])
    return shape


def _form_of(
    contract: Contract, inputs: Tensors, *, drawn: Set[str] = frozenset(), rows: int | None = None
) -> _Form:
    """Check the inputs; those in `drawn` are not given, and `rows` is their number where it is known."""
    needed = [tensor for tensor in contract.inputs if tensor.name not in drawn]
    wanted = [tensor.name for tensor in needed]
    if set(inputs) != set(wanted):
        raise UsageError(f"inputs {sorted(inputs)} given, {sorted(wanted)} needed.")
    batches = {int(inputs[name].shape[0]) if inputs[name].ndim else 0 for name in wanted}
    batches |= set() if rows is None else {rows}
    if len(batches) != 1 or 0 in batches:
        raise UsageError(f"all inputs need the same batch of at least 1, got {sorted(batches)}.")
    sizes = bound_sizes((c.shape, sample_shape(inputs[c.name], c)) for c in contract.conditions)
    require_legal(sizes, contract.sides)
    form = _Form(rows=batches.pop(), sizes=sizes)
    for tensor in needed:
        given = inputs[tensor.name]
        if not form.fits(given, tensor):
            shape = ", ".join(map(str, ("N", *tensor.shape)))
            raise UsageError(
                f"input {tensor.name} is {given.dtype} {list(given.shape)}, {tensor.dtype} [{shape}] is needed."
            )
    require_classes(contract, inputs)
    return form


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
