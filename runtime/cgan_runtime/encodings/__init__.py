"""Encodings: what a caller gives becomes a condition's tensor; an output's tensor becomes a file or a value.

A new kind is a class in `contract.py`, one file here, and one line in a table.
"""

from __future__ import annotations

from typing import Final

from cgan_runtime.contract import Condition, Output
from cgan_runtime.encodings.base import Decoder, Encoder, Given, JsonObject
from cgan_runtime.encodings.heatmap import HeatmapDecoder
from cgan_runtime.encodings.image import ImageDecoder, ImageEncoder
from cgan_runtime.encodings.label import LabelEncoder
from cgan_runtime.encodings.score import ScoreDecoder
from cgan_runtime.encodings.vector import VectorDecoder, VectorEncoder

__all__ = ["DECODERS", "ENCODERS", "Decoder", "Encoder", "Given", "JsonObject", "decoder_of", "encoder_of"]

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
