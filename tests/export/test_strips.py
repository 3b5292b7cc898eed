"""A convolution of strips is the convolution of the whole image."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from cgan_export.pytorch.strips import convolve_in_strips
from torch import nn


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 7},
        {"kernel_size": 3, "padding": 1},
        {"kernel_size": 4, "stride": 2, "padding": 1},
        {"kernel_size": (3, 5), "stride": (3, 2), "padding": (0, 2), "dilation": (2, 1)},
        {"kernel_size": 3, "padding": 1, "padding_mode": "reflect"},
        {"kernel_size": 3, "padding": 1, "groups": 2, "bias": False},
    ],
)
@pytest.mark.parametrize("most_bytes", [1, 40_000, 1 << 30])
def test_strips_of_any_height_are_the_whole_image(options: dict[str, object], most_bytes: int) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(4, 6, **options).double()  # type: ignore[arg-type]  # of any form
    x = torch.rand(2, 4, 29, 23, dtype=torch.float64)
    whole = conv(x)
    convolve_in_strips(conv, most_bytes)
    torch.testing.assert_close(conv(x), whole, rtol=1e-12, atol=1e-12)


def test_the_float64_reference_takes_no_more_memory_than_that(monkeypatch: pytest.MonkeyPatch) -> None:
    unfolded: list[int] = []
    whole: Any = torch.nn.functional.conv2d

    def noted(x: torch.Tensor, weight: torch.Tensor, *rest: object) -> Any:
        result = whole(x, weight, *rest)
        unfolded.append(x.shape[1] * weight.shape[2:].numel() * result.shape[2:].numel() * 8)
        return result

    conv = nn.Conv2d(8, 2, 7, padding=3).double()
    convolve_in_strips(conv, 1_000_000)
    monkeypatch.setattr(torch.nn.functional, "conv2d", noted)
    assert conv(torch.rand(1, 8, 64, 64, dtype=torch.float64)).shape == (1, 2, 64, 64)
    assert len(unfolded) > 1
    assert max(unfolded) <= 1_000_000
