"""The golden samples of a bundle: what goes in, and what came out where it was exported."""

from __future__ import annotations

import numpy as np

from cgan_runtime.bundle import Bundle
from cgan_runtime.contract import Condition, ImageEncoding, Output, Tensor
from cgan_runtime.errors import BundleError
from cgan_runtime.images import read_image, tensor_from_image
from cgan_runtime.manifest import Golden
from cgan_runtime.npy import load_npy
from cgan_runtime.runners.base import Array

__all__ = ["golden_conditions", "golden_output"]


def golden_conditions(bundle: Bundle) -> list[dict[str, Array]]:
    """The conditions of every golden sample, without the batch axis.

    Raises:
        BundleError: a file changed since the bundle was read, or is not what the contract says.
    """
    conditions = bundle.manifest.contract.conditions
    return [
        {c.name: _condition(bundle, golden.conditions[c.name], c) for c in conditions}
        for golden in bundle.manifest.golden
    ]


def golden_output(bundle: Bundle, golden: Golden, output: Output) -> Array:
    """What is stored of an output: pixels uint8 of an image, the array of any other kind.

    Raises:
        BundleError: as `golden_conditions`.
    """
    path = golden.outputs[output.name]
    if isinstance(output.encoding, ImageEncoding):
        return np.asarray(read_image(bundle.read(path), path, output.encoding))
    return _array(bundle, path, output)


def _condition(bundle: Bundle, path: str, condition: Condition) -> Array:
    if isinstance(condition.encoding, ImageEncoding):
        return tensor_from_image(read_image(bundle.read(path), path, condition.encoding), condition)
    return _array(bundle, path, condition)


def _array(bundle: Bundle, path: str, tensor: Tensor) -> Array:
    try:
        array = load_npy(bundle.read(path))
    except ValueError as error:
        raise BundleError(f"{bundle.path / path} is not a .npy file ({error}): export again.") from error
    fits = len(array.shape) == len(tensor.shape) and all(
        isinstance(axis, str) or axis == size for axis, size in zip(tensor.shape, array.shape, strict=True)
    )
    if array.dtype != np.dtype(tensor.dtype) or not fits:
        raise BundleError(
            f"{bundle.path / path} is {array.dtype} {list(array.shape)}, not a {tensor.name}: export again."
        )
    return array
