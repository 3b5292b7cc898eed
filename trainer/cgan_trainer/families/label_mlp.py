"""Class-conditional generators of dense layers: label and latent vector in, image out.

LabelMlpGenerator     PyTorch-GAN's cgan
TwoBranchGenerator    Mirza & Osindero's
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from cgan_runtime.contract import Contract, ImageEncoding
from jaxtyping import Float, Int64
from torch import Tensor, nn

from cgan_trainer.families.class_conditional import class_contract, image_encoding
from cgan_trainer.generator import Generator
from cgan_trainer.nets.mlp import TwoBranchMlp
from cgan_trainer.nets.norm import BatchNorm1d

__all__ = ["LabelMlpGenerator", "TwoBranchGenerator"]


class LabelMlpGenerator(Generator):
    """Embedding of the label beside z ~ N(0, 1), dense layers with leaky ReLU, tanh; running statistics.

    Args:
        names: of the classes.
        embedding: length of a label's vector.
        latent: length of z.
        widths: of the hidden layers; every one but the first is batch-normalised.
        image: [c, h, w] of the image, c 1 or 3.
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
        image: tuple[int, int, int],
        eps: float,
        encoding: ImageEncoding,
    ) -> None:
        super().__init__()
        self.names, self.latent, self.image, self.encoding = tuple(names), latent, image, encoding
        self.embedding = nn.Embedding(len(self.names), embedding)
        ins = [embedding + latent, *widths]
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in zip(ins, widths, strict=False))
        self.norms = nn.ModuleList(BatchNorm1d(width, eps=eps) for width in widths[1:])
        self.last = nn.Linear(ins[-1], image[0] * image[1] * image[2])

    @property
    def contract(self) -> Contract:
        """A label, z, and an image in -1..1."""
        return class_contract(
            names=self.names,
            latent=self.latent,
            distribution="normal",
            shape=self.image,
            values=(-1.0, 1.0),
            encoding=self.encoding,
            statistics="running",
        )

    def forward(  # type: ignore[override]  # narrower on purpose: a label and z
        self, label: Int64[Tensor, " b"], z: Float[Tensor, "b z"]
    ) -> tuple[Float[Tensor, "b c h w"]]:
        """One image per row."""
        x = F.leaky_relu(self.hidden[0](torch.cat((self.embedding(label), z), dim=1)), 0.2)
        for dense, norm in zip(list(self.hidden)[1:], self.norms, strict=True):
            x = F.leaky_relu(norm(dense(x)), 0.2)
        return (torch.tanh(self.last(x)).reshape(-1, *self.image),)


class TwoBranchGenerator(Generator):
    """A label and z ~ U(0, 1) to [b, c, size, size] in 0..1; no normalisation.

    Args:
        names: of the classes.
        latent: length of z.
        shape: [c, h, w] of the image.
    """

    def __init__(self, *, names: tuple[str, ...], latent: int, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.shape = shape
        self._contract = class_contract(
            names=names,
            latent=latent,
            distribution="uniform01",
            shape=shape,
            values=(0.0, 1.0),
            encoding=image_encoding(shape[0], (0.0, 1.0)),
            statistics="none",
        )
        self.net = TwoBranchMlp(latent=latent, classes=len(names), values=shape[0] * shape[1] * shape[2])

    @property
    def contract(self) -> Contract:
        """A label, z, and an image."""
        return self._contract

    def forward(  # type: ignore[override]  # narrower on purpose: a label and z
        self, label: Int64[Tensor, " b"], z: Float[Tensor, "b z"], mask: Float[Tensor, "b 2400"] | None = None
    ) -> tuple[Float[Tensor, "b c h w"]]:
        """One image per row; `mask` is the dropout of a training step."""
        return (self.net(label, z, mask).unflatten(1, self.shape),)
