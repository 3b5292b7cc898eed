"""Images of another size than the checkpoint's, or of any size: what the net can take, found by asking it.

Whether a net is fully convolutional is not written anywhere. So it is run on tensors without data (torch's meta
device) at several sizes, its noise inputs scaled along with the image, and the rule is read off: the smallest
power of two that both sides may grow by, and the smallest multiple of it that works. A size that brings a
normalisation down to a map of 1x1, where a sample has no statistics, is refused by the net itself.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Final

import torch
from cgan_runtime.axes import shape_of
from cgan_runtime.contract import Contract, Shape, SizeRule, Tensor, image_size
from cgan_runtime.errors import UsageError
from cgan_trainer.generator import Generator
from cgan_trainer.readers.translator_plan import sizes_that_fit

from cgan_export.size_wish import SizeWish, parse_size

__all__ = ["MAX_SIDE", "SizeWish", "parse_size", "sized"]

MAX_SIDE: Final = 4096
DTYPES: Final = {"float32": torch.float32, "int64": torch.int64}


def sized(generator: Generator, contract: Contract, wish: SizeWish | None) -> Contract:
    """The contract at the size asked for; itself where nothing is asked for.

    Args:
        generator: in evaluation mode.
        contract: at the checkpoint's own size.
        wish: from `parse_size`.

    Raises:
        UsageError: the generator's size cannot be changed, or not to this one; says what it takes.
    """
    if wish is None:
        return contract
    native = _native_size(contract)
    if wish.fixed == native:
        return contract
    free = _freed(contract, native)
    sides = _rule(generator, free, native)
    if wish.fixed is None:
        return free.model_copy(update={"sides": sides})
    height, width = wish.fixed
    if not (sides.takes(height) and sides.takes(width)):
        raise UsageError(
            f"--size {width}x{height} cannot be taken by this generator: each side must be a multiple of "
            f"{sides.multiple}, from {sides.min} to {sides.max}; "
            f"{sizes_that_fit(height, width, sides.multiple, sides.min, sides.max)}."
        )
    return _with_shapes(free, lambda shape: shape_of(shape, {"h": height, "w": width}))


def _native_size(contract: Contract) -> tuple[int, int]:
    """(height, width) of the first image, or of the first map [C, H, W] of any number of channels."""
    maps = [condition for condition in contract.conditions if len(condition.shape) == 3]
    size = image_size(contract.image_condition or maps[0]) if maps else None
    if size is None:
        shapes = ", ".join(f"{c.name} {list(c.shape)}" for c in contract.conditions) or "nothing"
        raise UsageError(
            f"the size can be chosen only for a generator that is given an image or a map [C, H, W]; this one is "
            f"given {shapes}: leave it out."
        )
    return size


def _freed(contract: Contract, native: tuple[int, int]) -> Contract:
    """The contract with every map [C, a, b] following the image."""

    def follow(shape: Shape) -> Shape:
        if len(shape) != 3:
            return shape
        rows = _axis("h", native[0], shape[1])
        columns = _axis("w", native[1], shape[2])
        return shape if rows is None or columns is None else (shape[0], rows, columns)

    return _with_shapes(contract, follow)


def _axis(name: str, native: int, size: int | str) -> str | None:
    """`size` as a multiple or a whole part of the image's side; None where it is neither."""
    if not isinstance(size, int):
        return None
    if size == native:
        return name
    if native % size == 0:
        return f"{name}/{native // size}"
    return f"{size // native}*{name}" if size % native == 0 else None


def _rule(generator: Generator, free: Contract, native: tuple[int, int]) -> SizeRule:
    probe = copy.deepcopy(generator).to("meta").eval()
    height, width = native
    step = 1
    while step <= min(native):
        grows = _runs(probe, free, height + step, width) and _runs(probe, free, height, width + step)
        if height % step == 0 and width % step == 0 and grows:
            break
        step *= 2
    else:
        raise UsageError(
            f"this generator takes {width}x{height} only: its layers or its noise do not follow the image's size."
        )
    smallest = step
    while smallest < min(native) and not _runs(probe, free, smallest, smallest):
        smallest *= 2
    return SizeRule(multiple=step, min=smallest, max=MAX_SIDE // step * step)


def _runs(probe: Generator, free: Contract, height: int, width: int) -> bool:
    sizes = {"h": height, "w": width}
    try:
        inputs = [
            torch.empty(2, *shape_of(t.shape, sizes), dtype=DTYPES[t.dtype], device="meta") for t in free.inputs
        ]
        with torch.inference_mode():
            outputs = probe(*inputs)
    # torch's words for maps that do not meet and kernels larger than the map, and (UsageError included) statistics
    # over one pixel or a mask that does not divide; TypeError where a shape checker is installed.
    except (RuntimeError, ValueError, TypeError):
        return False
    wanted = [(2, *shape_of(output.shape, sizes)) for output in free.outputs]
    return [tuple(output.shape) for output in outputs] == wanted


def _with_shapes(contract: Contract, change: Callable[[Shape], Shape]) -> Contract:
    def changed(tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
        return tuple(tensor.model_copy(update={"shape": change(tensor.shape)}) for tensor in tensors)

    return contract.model_copy(
        update={
            "conditions": changed(contract.conditions),
            "noise": changed(contract.noise),
            "outputs": changed(contract.outputs),
        }
    )
