"""Encodings: what a caller gives becomes a condition's tensor; an output's tensor becomes a file or a value.

A new kind is a class in `contract.py`, one file here, and one line in a table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from cgan_runtime.contract import Condition, Output
from cgan_runtime.encodings.base import Array, Decoder, Encoder, Given, JsonObject
from cgan_runtime.encodings.heatmap import HeatmapDecoder
from cgan_runtime.encodings.image import ImageDecoder, ImageEncoder
from cgan_runtime.encodings.label import LabelEncoder
from cgan_runtime.encodings.score import ScoreDecoder
from cgan_runtime.encodings.vector import VectorDecoder, VectorEncoder
from cgan_runtime.errors import CganError

__all__ = [
    "DECODERS",
    "ENCODERS",
    "Decoder",
    "Encoder",
    "Given",
    "JsonObject",
    "decoder_of",
    "encoder_of",
    "require_finite",
]

# By the `kind` of an encoding.
ENCODERS: Final[dict[str, Encoder]] = {
    "image": ImageEncoder(),
    "label": LabelEncoder(),
    "vector": VectorEncoder(),
}
DECODERS: Final[dict[str, Decoder]] = {
    "image": ImageDecoder(),
    "heatmap": HeatmapDecoder(),
    "score": ScoreDecoder(),
    "vector": VectorDecoder(),
}


def encoder_of(condition: Condition) -> Encoder:
    """The encoder of a condition; one without an encoding is taken as a vector is (bundles of version 1)."""
    return ENCODERS["vector" if condition.encoding is None else condition.encoding.kind]


def decoder_of(output: Output) -> Decoder:
    """The decoder of an output; one without an encoding is written as a .npy file."""
    return DECODERS["vector" if output.encoding is None else output.encoding.kind]


def require_finite(outputs: Sequence[Output], sample: Mapping[str, Array], called: str) -> None:
    """Hold the images of one sample to finite values: NaN has no colour, and infinity would pass for white.

    Args:
        outputs: of the contract; those that are no images are left alone.
        sample: the tensor of each output, no batch axis.
        called: what the sample was made from, for the message.

    Raises:
        CganError: a value of an image is NaN or infinite.
    """
    for output in outputs:
        if decoder_of(output).is_image and not (finite := np.isfinite(sample[output.name])).all():
            count = finite.size - np.count_nonzero(finite)
            raise CganError(
                f"{called}: {count} of {finite.size} values that the generator gave for {output.name} are not "
                "finite numbers, so nothing is written: try --precision fp32 if this was another one, and check "
                "the bundle with cgan-export verify."
            )
