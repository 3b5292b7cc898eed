"""A generator that shares nothing with pix2pix: class label, latent vector, running statistics, [0, 1] out."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from cgan_runtime.contract import Condition, Contract, ImageEncoding, LabelEncoding, NoiseInput, Output
from cgan_trainer.generator import Generator
from torch import Tensor, nn

LATENT = 16
CLASSES = ("cat", "dog", "owl")


class LabelGenerator(Generator):
    """A small class-conditional DCGAN: label embedding and z to 16x16 grey, sigmoid, plus a logit per class."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.embedding = nn.Embedding(len(CLASSES), 8)
        self.start = nn.Linear(LATENT + 8, 32 * 4 * 4)
        self.up = nn.ConvTranspose2d(32, 16, 4, 2, 1, bias=False)
        self.norm = nn.BatchNorm2d(16)
        self.last = nn.ConvTranspose2d(16, 1, 4, 2, 1)
        with torch.no_grad():
            self.norm.running_mean = torch.randn(16)
            self.norm.running_var = torch.rand(16) + 0.5

    @property
    def contract(self) -> Contract:
        return Contract(
            conditions=(
                Condition(name="label", shape=(), dtype="int64", range=None, encoding=LabelEncoding(names=CLASSES)),
            ),
            noise=(
                NoiseInput(name="z", index=0, distribution="normal", shape=(LATENT,)),
                NoiseInput(name="grain", index=1, distribution="uniform11", shape=(1, 16, 16)),
            ),
            outputs=(
                Output(
                    name="picture",
                    shape=(1, 16, 16),
                    range=(0.0, 1.0),
                    encoding=ImageEncoding(color="L", mean=(0.0,), std=(1.0,), rounding="truncate"),
                ),
            ),
            statistics="running",
        )

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        label, z, grain = inputs
        x = self.start(torch.cat([z, self.embedding(label)], dim=1)).view(-1, 32, 4, 4)
        x = F.relu(self.norm(self.up(F.relu(x))))
        return (torch.sigmoid(self.last(x) * 3 + 0.2 * grain),)
