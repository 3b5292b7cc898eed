"""A small net that reads the class off an image: the judge of class-conditional generators, trained on real images.

It is trained once per dataset and size and kept in the user's cache. Its figures stand beside those of real
held-out images (the ceiling), never beside a published table.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from cgan_runtime.progress import progress
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn

from cgan_trainer.evaluation.by_class import Reading
from cgan_trainer.evaluation.cached_net import cached_net
from cgan_trainer.seeding import derive_seed, row_at

__all__ = ["CLASSIFIER_VERSION", "MAX_SIDE", "Classifier", "trained_classifier"]

CLASSIFIER_VERSION = 1  # a change of the net or its training makes other figures: cached nets must not outlive it
MAX_SIDE = 32  # pixels: larger images are shrunk
_STEPS, _BATCH, _LR = 500, 64, 4e-3
_WIDTHS, _FEATURES = (16, 32, 64), 64
_ROWS = 100  # images of one forward pass


class Classifier(nn.Module):
    """Three convolutions, each with pooling, a layer of 64 features, and one logit per class."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for c_in, c_out in zip((channels, *_WIDTHS), _WIDTHS, strict=False):
            layers += [nn.Conv2d(c_in, c_out, 3, padding=1, bias=False), nn.BatchNorm2d(c_out), nn.ReLU()]
            layers += [nn.MaxPool2d(2, ceil_mode=True)]
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.features = nn.Sequential(nn.Linear(_WIDTHS[-1] * 4, _FEATURES), nn.ReLU())
        self.head = nn.Linear(_FEATURES, classes)

    def forward(self, values: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b k"], Float[Tensor, "b d"]]:
        """Logits and features, from values in -1..1."""
        features = self.features(self.body(values))
        return self.head(features), features

    def read(self, images: UInt8[Tensor, "n c h w"]) -> Reading:
        """The likeliest class and the features of each image."""
        with torch.no_grad():
            parts = [self(_shrunk(images[start : start + _ROWS])) for start in range(0, len(images), _ROWS)]
        return Reading(
            found=torch.cat([logits.argmax(dim=1) for logits, _ in parts]),
            features=torch.cat([features for _, features in parts]),
        )


def trained_classifier(
    images: UInt8[Tensor, "n c h w"], labels: Int64[Tensor, " n"], count: int, digest: str, cache: Path
) -> Classifier:
    """From the cache, or trained on the images (a quarter of a minute on one core) and put there.

    Args:
        images: real ones, of the training split.
        labels: their classes.
        count: how many classes there are.
        digest: of images and labels, a part of the name in the cache.
        cache: folder to keep the net in.
    """
    recipe = [CLASSIFIER_VERSION, digest, count, len(images), *images.shape[1:]]
    return cached_net(
        "classifier",
        recipe,
        cache,
        build=lambda: _with_first_weights(images.shape[1], count),
        train=lambda net: _train(net, images, labels),
    )


def _with_first_weights(channels: int, count: int) -> Classifier:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(0, "classifier"))
        return Classifier(channels, count)


def _train(net: Classifier, images: UInt8[Tensor, "n c h w"], labels: Int64[Tensor, " n"]) -> None:
    optimizer = torch.optim.AdamW(net.parameters(), lr=_LR, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _LR, total_steps=_STEPS)
    with progress("training the classifier", unit="steps") as report:
        for step in range(_STEPS):
            rows = [row_at(0, step * _BATCH + number, len(images)) for number in range(_BATCH)]
            seen = _moved(_shrunk(images[rows]), derive_seed(0, "classifier/variation", step))
            logits, _ = net(seen)
            loss = F.cross_entropy(logits, labels[rows])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch ships it unannotated
            optimizer.step()
            schedule.step()
            report(step + 1, _STEPS)


def _moved(values: Float[Tensor, "b c h w"], seed: int) -> Float[Tensor, "b c h w"]:
    """Each image moved by up to 6 %, so that the place of a digit is not its class. Not mirrored."""
    draws = torch.Generator().manual_seed(seed)
    shift = (torch.rand(len(values), 2, generator=draws) * 2 - 1) * 0.12
    rows = torch.eye(2).expand(len(values), 2, 2)
    grid = F.affine_grid(torch.cat((rows, shift[:, :, None]), dim=2), list(values.shape), align_corners=False)
    return F.grid_sample(values, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _shrunk(images: UInt8[Tensor, "n c h w"]) -> Float[Tensor, "n c _ _"]:
    values = images.float() / 127.5 - 1
    scale = min(1.0, MAX_SIDE / max(images.shape[-2:]))
    if scale == 1:
        return values
    size = [max(1, round(side * scale)) for side in images.shape[-2:]]
    return F.interpolate(values, size=size, mode="bilinear", antialias=True, align_corners=False)
