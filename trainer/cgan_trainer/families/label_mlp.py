"""A class-conditional MLP: label and latent vector in, picture out (PyTorch-GAN's cgan)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from cgan_runtime.contract import Condition, Contract, ImageEncoding, LabelEncoding, NoiseInput, Output
from jaxtyping import Float, Int64
from torch import Tensor, nn

from cgan_trainer.generator import Generator

__all__ = ["LabelMlpGenerator"]


class LabelMlpGenerator(Generator):
    """Embedding of the label beside z ~ N(0, 1), dense layers with leaky ReLU, tanh; running statistics.

    Args:
        names: of the classes.
        embedding: length of a label's vector.
        latent: length of z.
        widths: of the hidden layers; every one but the first is batch-normalised.
        picture: [c, h, w] of the output, c 1 or 3.
        eps: of the batch norms.
        encoding: how the output stands for pixels.
    """

    def __init__(
        self,
        *,
        names: Sequence[str],
        embedding: int,
        latent: int,
        widths: Sequence[int],
        picture: tuple[int, int, int],
        eps: float,
        encoding: ImageEncoding,
    ) -> None:
        super().__init__()
        self.names, self.latent, self.picture, self.encoding = tuple(names), latent, picture, encoding
        self.embedding = nn.Embedding(len(self.names), embedding)
        ins = [embedding + latent, *widths]
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in zip(ins, widths, strict=False))
        self.norms = nn.ModuleList(nn.BatchNorm1d(width, eps=eps) for width in widths[1:])
        self.last = nn.Linear(ins[-1], picture[0] * picture[1] * picture[2])

    @property
    def contract(self) -> Contract:
        """A label, z, and a picture in -1..1."""
        return Contract(
            conditions=(
                Condition(
                    name="label", shape=(), dtype="int64", range=None, encoding=LabelEncoding(names=self.names)
                ),
            ),
            noise=(NoiseInput(name="z", index=0, distribution="normal", shape=(self.latent,)),),
            outputs=(Output(name="picture", shape=self.picture, range=(-1.0, 1.0), encoding=self.encoding),),
            statistics="running",
        )

    def forward(  # type: ignore[override]  # narrower on purpose: a label and z
        self, label: Int64[Tensor, " b"], z: Float[Tensor, "b z"]
    ) -> tuple[Float[Tensor, "b c h w"]]:
        """One picture per row."""
        x = F.leaky_relu(self.hidden[0](torch.cat((self.embedding(label), z), dim=1)), 0.2)
        for dense, norm in zip(list(self.hidden)[1:], self.norms, strict=True):
            x = F.leaky_relu(norm(dense(x)), 0.2)
        return (torch.tanh(self.last(x)).reshape(-1, *self.picture),)
