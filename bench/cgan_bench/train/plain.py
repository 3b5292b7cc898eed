"""A plain pix2pix training loop: what the ratios are relative to.

It is deliberately plain, and as good as plain gets: PyTorch's own classes at their defaults, one file opened,
resized, cut and mirrored per visit, two optimisers, two backward passes, four losses read out. That is the shape
of the loop in the papers' PyTorch port and in most courses; nothing of either is copied. The networks are those of
cgan_trainer, so that only the loops differ. What would slow it for no reason is left out: no logging, no saving,
no end of an epoch at which the loader starts again.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cgan_runtime.processes import end_with_parent
from cgan_trainer.families.pix2pix_networks import Pix2pixGenerator, Pix2pixOptions
from cgan_trainer.nets.init import init_weights
from cgan_trainer.nets.patchgan import patchgan
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, RandomSampler

__all__ = ["PairFiles", "PlainTraining", "endless"]

LEARNING_RATE = 2e-4
BETAS = (0.5, 0.999)
_VISITS = 1_000_000_000  # of an epoch that never ends


class PairFiles(Dataset[tuple[Tensor, Tensor]]):
    """Side-by-side images, opened anew at every visit.

    Args:
        paths: the files.
        size: side of the square that is cut out of an image enlarged by 286/256.
    """

    def __init__(self, paths: Sequence[Path], size: int) -> None:
        self.paths = paths
        self.size = size
        self.large = round(size * 286 / 256)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Condition and target, [3, size, size] in -1..1, cut and mirrored alike."""
        with Image.open(self.paths[index]) as opened:
            image = opened.convert("RGB")
        width, height = image.size
        left, top = (random.randint(0, self.large - self.size) for _ in range(2))
        mirrored = random.random() < 0.5
        box = (left, top, left + self.size, top + self.size)
        sides = []
        for half in ((0, 0, width // 2, height), (width // 2, 0, width, height)):
            side = image.crop(half).resize((self.large, self.large), Image.Resampling.BICUBIC).crop(box)
            if mirrored:
                side = side.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            pixels = torch.from_numpy(np.array(side)).permute(2, 0, 1).contiguous()
            sides.append((pixels.float() / 255 - 0.5) / 0.5)
        return sides[0], sides[1]


def endless(paths: Sequence[Path], *, size: int, batch: int, workers: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of random pairs, [batch, 3, size, size] each, read by so many processes; 0 is this one."""
    files = PairFiles(paths, size)
    sampler = RandomSampler(files, replacement=True, num_samples=_VISITS)
    return iter(
        DataLoader(files, batch_size=batch, sampler=sampler, num_workers=workers, worker_init_fn=end_with_parent)
    )


class PlainTraining:
    """Generator, 70x70 PatchGAN and an Adam for each.

    Args:
        size: side of the images.
        ngf: width of the generator.
        ndf: width of the discriminator.
        lambda_l1: weight of the L1 loss.
        device: where to train.
    """

    def __init__(self, *, size: int, ngf: int, ndf: int, lambda_l1: float = 100.0, device: str = "cpu") -> None:
        self.device = device
        self.lambda_l1 = lambda_l1
        self.generator = Pix2pixGenerator(Pix2pixOptions(size=size, ngf=ngf))
        self.discriminator = patchgan(c_in=6, ndf=ndf)
        for net in (self.generator, self.discriminator):
            init_weights(net)
            net.to(device)
            net.train()
        self.optimizer_g = torch.optim.Adam(self.generator.parameters(), lr=LEARNING_RATE, betas=BETAS)
        self.optimizer_d = torch.optim.Adam(self.discriminator.parameters(), lr=LEARNING_RATE, betas=BETAS)
        self.gan = nn.BCEWithLogitsLoss()
        self.l1 = nn.L1Loss()

    def step(self, condition: Tensor, target: Tensor, masks: Sequence[Tensor] = ()) -> dict[str, float]:
        """One step of D, one of G.

        Args:
            condition: [b, 3, h, w] in -1..1.
            target: the same shape.
            masks: one per dropout layer; none: the layers draw their own.

        Returns:
            The four losses under the names of cgan-train.
        """
        condition, target = condition.to(self.device), target.to(self.device)
        generator = self.generator
        (image,) = generator(condition, *masks) if masks else generator.live([condition], len(condition))
        self._allow_gradients(self.discriminator, allowed=True)
        self.optimizer_d.zero_grad()
        fake = self._judged(image.detach(), condition, real=False)
        real = self._judged(target, condition, real=True)
        _backward((fake + real) * 0.5)
        self.optimizer_d.step()
        self._allow_gradients(self.discriminator, allowed=False)
        self.optimizer_g.zero_grad()
        deceived = self._judged(image, condition, real=True)
        distance = self.l1(image, target) * self.lambda_l1
        _backward(deceived + distance)
        self.optimizer_g.step()
        return {
            "G_GAN": deceived.item(),
            "G_L1": distance.item(),
            "D_real": real.item(),
            "D_fake": fake.item(),
        }

    def _judged(self, image: Tensor, condition: Tensor, *, real: bool) -> Tensor:
        logits = self.discriminator(image, condition)
        loss: Tensor = self.gan(logits, torch.ones_like(logits) if real else torch.zeros_like(logits))
        return loss

    @staticmethod
    def _allow_gradients(net: nn.Module, *, allowed: bool) -> None:
        for parameter in net.parameters():
            parameter.requires_grad = allowed


def _backward(loss: Any) -> None:
    loss.backward()
