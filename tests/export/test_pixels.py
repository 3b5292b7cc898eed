"""Which outputs have pixels: images, and heatmaps with a range. Others are refused, with their name."""

from __future__ import annotations

import numpy as np
import pytest
from cgan_export.fidelity.heatmap import output_pixels
from cgan_runtime.contract import HeatmapEncoding, ImageEncoding, Output, ScoreEncoding

SHAPE = (1, 4, 6)
VALUES = np.linspace(0, 1, 24, dtype=np.float32).reshape(SHAPE)
GREY = ImageEncoding(color="L", mean=(0.0,), std=(1.0,))


@pytest.mark.parametrize(
    "output",
    [
        Output(name="it", shape=SHAPE, range=(0.0, 1.0), encoding=HeatmapEncoding()),
        Output(name="it", shape=SHAPE, range=(0.0, 1.0), encoding=GREY),
        Output(name="it", shape=SHAPE, encoding=GREY),
    ],
)
def test_images_and_heatmaps_become_pixels(output: Output) -> None:
    shown = output_pixels(VALUES, output)
    assert shown.dtype == np.uint8
    assert shown.shape[:2] == SHAPE[1:]
    assert np.ptp(shown) > 100


@pytest.mark.parametrize(
    "output",
    [
        Output(name="it", shape=SHAPE, range=(0.0, 1.0)),
        Output(name="it", shape=SHAPE),
        Output(name="it", shape=(), encoding=ScoreEncoding()),
    ],
)
def test_other_outputs_have_none(output: Output) -> None:
    with pytest.raises(ValueError, match="it is neither an image nor a heatmap"):
        output_pixels(VALUES, output)
