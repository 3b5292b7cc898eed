"""Generators of every kind of condition and output, small enough to export in a second."""

from __future__ import annotations

import torch
from cgan_runtime.contract import (
    Condition,
    Contract,
    HeatmapEncoding,
    ImageEncoding,
    LabelEncoding,
    NoiseInput,
    Output,
    ScoreEncoding,
    VectorEncoding,
)
from cgan_trainer.generator import Generator
from torch import Tensor, nn

SIDE = 16
CLASSES = tuple(f"class {number}" for number in range(10))
SCORE_BASE = 6000.0


class EveryKind(Generator):
    """Two images, a label and a code in; an image, a heatmap, a score and a vector out."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.mix = nn.Conv2d(6, 4, 3, padding=1)
        self.picture = nn.Conv2d(4, 3, 3, padding=1)
        self.label = nn.Embedding(len(CLASSES), 4)
        self.code = nn.Linear(5, 4)
        self.features = nn.Linear(4, 7)

    @property
    def contract(self) -> Contract:
        image = ImageEncoding()
        return Contract(
            conditions=(
                Condition(name="content", shape=(3, SIDE, SIDE), range=(-1.0, 1.0), encoding=image),
                Condition(name="style", shape=(3, SIDE, SIDE), range=(-1.0, 1.0), encoding=image),
                Condition(name="label", shape=(), dtype="int64", encoding=LabelEncoding(names=CLASSES)),
                Condition(name="code", shape=(5,), encoding=VectorEncoding()),
            ),
            noise=(NoiseInput(name="z", index=0, distribution="normal", shape=(4,)),),
            outputs=(
                Output(name="picture", shape=(3, SIDE, SIDE), range=(-1.0, 1.0), encoding=image),
                Output(name="heat", shape=(1, SIDE, SIDE), range=(0.0, 50.0), encoding=HeatmapEncoding()),
                Output(name="score", shape=(), encoding=ScoreEncoding()),
                Output(name="features", shape=(7,)),
            ),
            statistics="none",
        )

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        content, style, label, code, z = inputs
        bias = self.label(label) + self.code(code) + z
        x = torch.tanh(self.mix(torch.cat([content, style], dim=1)) + bias[:, :, None, None])
        heat = 50 * torch.sigmoid(x.mean(dim=1, keepdim=True))
        score = SCORE_BASE + 40 * x.mean(dim=(1, 2, 3))
        return torch.tanh(self.picture(x)), heat, score, self.features(x.mean(dim=(2, 3)))


class Unconditional(Generator):
    """z in, a grey image out, as of a network that nobody tells what to draw."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.dense = nn.Linear(6, SIDE * SIDE)

    @property
    def contract(self) -> Contract:
        grey = ImageEncoding(color="L", mean=(0.5,), std=(0.5,))
        return Contract(
            conditions=(),
            noise=(NoiseInput(name="z", index=0, distribution="normal", shape=(6,)),),
            outputs=(Output(name="picture", shape=(1, SIDE, SIDE), range=(-1.0, 1.0), encoding=grey),),
            statistics="none",
        )

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        (z,) = inputs
        return (torch.tanh(self.dense(z)).reshape(-1, 1, SIDE, SIDE),)


class BatchedScore(Unconditional):
    """A second output that depends on its batch: each score less the mean of all."""

    @property
    def contract(self) -> Contract:
        plain = super().contract
        score = Output(name="score", shape=(), encoding=ScoreEncoding())
        return plain.model_copy(update={"outputs": (*plain.outputs, score)})

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        (picture,) = super().forward(*inputs)
        score = picture.mean(dim=(1, 2, 3))
        return picture, score - score.mean()
