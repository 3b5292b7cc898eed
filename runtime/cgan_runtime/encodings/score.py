"""Scores: one number per sample, with what it means at the threshold."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from cgan_runtime.contract import Output, ScoreEncoding
from cgan_runtime.encodings.base import Array, Decoder, JsonObject

__all__ = ["ScoreDecoder"]


class ScoreDecoder(Decoder):
    """Gives a JSON object: ``{"value": 0.93, "threshold": 0.5, "positive": "anomalous", "is_positive": true}``."""

    def decode(
        self,
        array: Array,
        output: Output,
        *,
        text: Mapping[str, str] | None = None,  # noqa: ARG002 - a number has no origin of its own
        size: tuple[int, int] | None = None,  # noqa: ARG002 - not an image
    ) -> bytes | JsonObject:
        """`value` (null if it is not finite); the other three keys where the contract names a threshold."""
        # The shortest decimal that is this float32: what is compared is what is shown.
        value = float(str(np.float32(array.item()))) if np.isfinite(array.item()) else None
        encoding = output.encoding if isinstance(output.encoding, ScoreEncoding) else ScoreEncoding()
        if encoding.threshold is None:
            return {"value": value}
        is_positive = None if value is None else value >= encoding.threshold
        return {
            "value": value,
            "threshold": encoding.threshold,
            "positive": encoding.positive,
            "is_positive": is_positive,
        }
