"""The size at which a generator of free size is measured.

The user chooses it with --size. Otherwise it is that of the bundle's first golden sample, which is the size the
generator was trained at, and where there is none (a model that only a server knows) the legal size nearest to 256.
"""

from __future__ import annotations

import re
from typing import Final

import numpy as np
from cgan_runtime.axes import nearest_size, require_legal, shape_of
from cgan_runtime.bundle import Bundle
from cgan_runtime.contract import Contract, ImageEncoding, Shape, SizeRule, Tensor, image_size
from cgan_runtime.errors import UsageError

__all__ = ["Size", "at_size", "golden_size", "image_size_of", "parse_size", "size_words"]

Size = tuple[int, int]  # height, width
USUAL_SIDE: Final = 256


def parse_size(text: str) -> Size:
    """(height, width) from ``256`` or ``512x256`` (width x height).

    Raises:
        UsageError: neither form.
    """
    match = re.fullmatch(r"([1-9][0-9]{0,4})(?:[xX]([1-9][0-9]{0,4}))?", text.strip())
    if match is None:
        raise UsageError(f"--size {text} is not a size; give one number such as 256, or WIDTHxHEIGHT.")
    return int(match[2] or match[1]), int(match[1])


def at_size(contract: Contract, size: Size | None) -> Contract:
    """The contract with every axis a number; itself where its size is fixed.

    Args:
        contract: of the generator.
        size: (height, width); None: the legal one nearest to 256, or the fixed one.

    Raises:
        UsageError: the generator does not take this size.
    """
    if not any(isinstance(axis, str) for tensor in (*contract.inputs, *contract.outputs) for axis in tensor.shape):
        fixed = image_size_of(contract)
        if size is not None and size != fixed:
            takes = f"this model takes {size_words(fixed)} only" if fixed else "this model takes no image"
            raise UsageError(f"--size {size_words(size)} cannot be measured: {takes}; leave --size out.")
        return contract
    height, width = size or _usual(contract.sides)
    sizes = {"h": height, "w": width}
    require_legal(sizes, contract.sides)

    def bound(tensor: Tensor) -> Tensor:
        return tensor.model_copy(update={"shape": shape_of(tensor.shape, sizes)})

    parts = {"conditions": contract.conditions, "noise": contract.noise, "outputs": contract.outputs}
    update = {name: tuple(bound(tensor) for tensor in tensors) for name, tensors in parts.items()}
    return contract.model_copy(update={**update, "sides": None})


def golden_size(bundle: Bundle) -> Size | None:
    """(height, width) of the first golden sample; None where the bundle's size is fixed or it has no sample."""
    from cgan_runtime.images import read_image

    sizes: dict[str, int] = {}
    for golden in bundle.manifest.golden[:1]:
        for condition in bundle.manifest.contract.conditions:
            path = bundle.path / golden.conditions[condition.name]
            if isinstance(condition.encoding, ImageEncoding):
                width, height = read_image(path).size
                sizes |= _bound(condition.shape, (condition.shape[0], height, width))
            else:
                sizes |= _bound(condition.shape, np.load(path, allow_pickle=False).shape)
    return (sizes["h"], sizes["w"]) if {"h", "w"} <= sizes.keys() else None


def image_size_of(contract: Contract) -> Size | None:
    """(height, width) of the first image that goes in, else of the first that comes out; None without one."""
    image = contract.image_condition or contract.image_output
    return image_size(image) if image is not None else None


def size_words(size: Size) -> str:
    """``512x256``: width x height."""
    return f"{size[1]}x{size[0]}"


def _usual(rule: SizeRule | None) -> Size:
    side = nearest_size(USUAL_SIDE, rule) if rule is not None else USUAL_SIDE
    return side, side


def _bound(shape: Shape, given: tuple[int | str, ...]) -> dict[str, int]:
    pairs = zip(shape, given, strict=True)
    return {axis: size for axis, size in pairs if isinstance(axis, str) and isinstance(size, int)}
