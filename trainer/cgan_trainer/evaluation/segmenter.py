"""A small net that reads classes off photographs: the judge of the FCN-score, trained here on the real ones.

The papers use an FCN-8s trained on Cityscapes, which no package carries. This one sees the training photographs of
the user's own data set: its scores stand beside its score on real test photographs (the ceiling), never beside a
published table. It is trained once per data set and kept in the user cache.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
import torch.nn.functional as F
from cgan_runtime.progress import progress
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn

from cgan_trainer.evaluation.base import as_rgb
from cgan_trainer.evaluation.cached_net import cached_net
from cgan_trainer.seeding import derive_seed, row_at

__all__ = ["MAX_SIDE", "SEGMENTER_VERSION", "Segmenter", "shrink_classes", "trained_segmenter"]

SEGMENTER_VERSION = 1  # a change of the net or its training makes other scores: cached nets must not outlive it
MAX_SIDE = 128  # pixels: what a CPU trains on in a minute
_STEPS, _BATCH, _LR = 200, 8, 4e-3
_OUTSIDE = -1  # where a turned image has no pixels
_WIDTHS = (24, 48, 96)


def _layer(c_in: int, c_out: int, *, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(c_in, c_out, 3, stride=stride, padding=1, bias=False), nn.BatchNorm2d(c_out), nn.ReLU()
    )


class Segmenter(nn.Module):
    """A U-Net of three levels, from half the resolution down; logits are enlarged at the end, as in an FCN."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        one, two, three = _WIDTHS
        self.first = nn.Sequential(_layer(3, one, stride=2), _layer(one, one))
        self.second = nn.Sequential(_layer(one, two, stride=2), _layer(two, two))
        self.third = nn.Sequential(_layer(two, three, stride=2), _layer(three, three), _layer(three, three))
        self.up_second, self.up_first = _layer(three + two, two), _layer(two + one, one)
        self.head = nn.Conv2d(one, classes, 1)

    def forward(self, photos: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b k h w"]:
        """Logits per class, from values in -1..1."""
        first = self.first(photos)
        second = self.second(first)
        x = _enlarged(self.third(second), second)
        x = _enlarged(self.up_second(torch.cat((x, second), dim=1)), first)
        return _enlarged(self.head(self.up_first(torch.cat((x, first), dim=1))), photos)

    def classify(self, images: UInt8[Tensor, "n c h w"]) -> Int64[Tensor, "n _ _"]:
        """The likeliest class of each pixel, at no more than 128 pixels a side."""
        with torch.no_grad():  # one by one: an image does not depend on its neighbours
            return torch.cat([self(_shrink_photos(image[None])).argmax(dim=1) for image in images])


def shrink_classes(classes: Int64[Tensor, "n h w"]) -> Int64[Tensor, "n _ _"]:
    """To the size at which `Segmenter.classify` answers: the nearest pixel, for classes have no mean."""
    size = _small(classes.shape[-2:])
    return F.interpolate(classes[:, None].float(), size=size, mode="nearest-exact")[:, 0].long()


def trained_segmenter(
    photos: UInt8[Tensor, "n c h w"], classes: Int64[Tensor, "n h w"], count: int, digest: str, cache: Path
) -> Segmenter:
    """From the cache, or trained on all of `photos` (about a minute on one core) and put there.

    Args:
        photos: the real photographs of the training split.
        classes: the true class of every pixel.
        count: how many classes there are.
        digest: of photos and classes, a part of the name in the cache.
        cache: folder to keep the net in.
    """
    recipe = [SEGMENTER_VERSION, digest, count, len(photos), *_small(photos.shape[-2:])]
    return cached_net(
        "segmenter",
        recipe,
        cache,
        build=lambda: _with_first_weights(count),
        train=lambda segmenter: _train(segmenter, photos, classes, count),
    )


def _with_first_weights(count: int) -> Segmenter:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(0, "segmenter"))
        return Segmenter(count)


def _train(
    segmenter: Segmenter, photos: UInt8[Tensor, "n c h w"], classes: Int64[Tensor, "n h w"], count: int
) -> None:
    small, true = _shrink_photos(photos), shrink_classes(classes)
    weights = _class_weights(true, count)
    optimizer = torch.optim.AdamW(segmenter.parameters(), lr=_LR, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _LR, total_steps=_STEPS)
    with progress("training the segmenter", unit="steps") as report:
        for step in range(_STEPS):
            rows = [row_at(0, step * _BATCH + number, len(small)) for number in range(_BATCH)]
            seen, wanted = _varied(small[rows], true[rows], derive_seed(0, "segmenter/variation", step))
            loss = F.cross_entropy(segmenter(seen), wanted, weights, ignore_index=_OUTSIDE)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch ships it unannotated
            optimizer.step()
            schedule.step()
            report(step + 1, _STEPS)


def _varied(
    photos: Float[Tensor, "b 3 h w"], true: Int64[Tensor, "b h w"], seed: int
) -> tuple[Float[Tensor, "b 3 h w"], Int64[Tensor, "b h w"]]:
    """Each pair turned by up to 10 degrees, scaled by up to 15 %, moved by up to 8 %, the contrast changed.

    Not mirrored: left and right may be classes of their own.
    """
    draws = torch.Generator().manual_seed(seed)
    angle, scale, across, down, contrast = torch.rand(5, len(photos), generator=draws) * 2 - 1
    cosine, sine = (1 + 0.15 * scale) * (angle * math.pi / 18).cos(), (angle * math.pi / 18).sin()
    rows = torch.stack((cosine, -sine, 0.16 * across, sine, cosine, 0.16 * down), dim=1)
    grid = F.affine_grid(rows.view(-1, 2, 3), list(photos.shape), align_corners=False)
    moved = F.grid_sample(photos, grid, mode="bilinear", padding_mode="border", align_corners=False)
    # 1 is added and taken off again, so that the 0 of what lies outside is told from class 0.
    classes = F.grid_sample(true[:, None].float() + 1, grid, mode="nearest", align_corners=False)[:, 0].long() - 1
    return moved * (1 + 0.15 * contrast)[:, None, None, None], classes


def _class_weights(true: Int64[Tensor, "n h w"], count: int) -> Float[Tensor, " k"]:
    """1 / sqrt(share of the pixels): between ignoring the rare classes and learning nothing else."""
    share = torch.bincount(true.flatten(), minlength=count) / true.numel()
    weights = torch.where(share > 0, share.clamp(min=1e-4).rsqrt(), 0.0)
    return weights / weights.max()


def _shrink_photos(photos: UInt8[Tensor, "n c h w"]) -> Float[Tensor, "n 3 _ _"]:
    values = as_rgb(photos).float() / 127.5 - 1
    size = _small(photos.shape[-2:])
    if size == tuple(photos.shape[-2:]):
        return values
    return F.interpolate(values, size=size, mode="bilinear", antialias=True, align_corners=False)


def _small(size: torch.Size) -> tuple[int, int]:
    scale = min(1.0, MAX_SIDE / max(size))
    return round(size[0] * scale), round(size[1] * scale)


def _enlarged(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)
