"""eriklindernoren/PyTorch-GAN, cgan: a label and z through dense layers. Its script never saves G; forks do."""

from __future__ import annotations

import math
import re

from cgan_runtime.contract import ImageEncoding
from cgan_runtime.errors import BadInputError, UsageError

from cgan_trainer.families.label_mlp import LabelMlpGenerator
from cgan_trainer.readers.base import Entry, Notes, Plan, State
from cgan_trainer.readers.pytorch_gan_eps import choose_norm_eps

__all__ = ["PytorchGanCgan"]

DENSE = (0, 2, 5, 8, 11)
NORMS = (3, 6, 9)


class PytorchGanCgan:
    """The class-conditional MLP: running statistics, z ~ N(0, 1)."""

    name = "pytorch-gan-cgan"
    title = "the cGAN generator of PyTorch-GAN"
    keys = re.compile(
        r"(label_emb\.weight|model\.(0|2|5|8|11)\.(weight|bias)|"
        r"model\.(3|6|9)\.(weight|bias|running_mean|running_var|num_batches_tracked))"
    )

    def recognises(self, state: State) -> bool:
        """The embedding beside the sequence."""
        return "label_emb.weight" in state and "model.0.weight" in state

    def plan(self, state: State, notes: Notes) -> Plan:
        """Classes, length of z and widths from the shapes; the image's shape is a guess from its size."""
        classes, embedding = state["label_emb.weight"].shape
        widths = [state[f"model.{at}.weight"].shape[0] for at in DENSE[:-1]]
        latent = state["model.0.weight"].shape[1] - embedding
        if latent < 1 or classes < 1 or classes > 100_000:
            raise ValueError(f"{classes} classes and {latent} values of z")
        image = _image(state["model.11.weight"].shape[0], notes)
        notes.found(f"{classes} classes", f"z of {latent}", f"widths {'-'.join(map(str, widths))}", "batch norm")
        eps = choose_norm_eps(notes)
        notes.choose("statistics", "running", "running statistics, as in eval()", "")
        encoding = ImageEncoding(
            color="L" if image[0] == 1 else "RGB",
            mean=(0.5,) * image[0],
            std=(0.5,) * image[0],
            rounding=notes.choose("rounding", "nearest", "pixel values rounded by nearest", "--rounding"),
        )
        parts = ("weight", "bias", "running_mean", "running_var")
        entries = {"embedding.weight": Entry("label_emb.weight")}
        for ours, at in zip(("hidden.0", "hidden.1", "hidden.2", "hidden.3", "last"), DENSE, strict=True):
            entries |= {f"{ours}.{part}": Entry(f"model.{at}.{part}") for part in parts[:2]}
        for index, at in enumerate(NORMS):
            entries |= {f"norms.{index}.{part}": Entry(f"model.{at}.{part}") for part in parts}
        return Plan(
            make=lambda: LabelMlpGenerator(
                names=tuple(map(str, range(classes))),
                embedding=embedding,
                latent=latent,
                widths=widths,
                image=image,
                eps=eps,
                encoding=encoding,
            ),
            entries=entries,
            prefix="",
            options={"net": "label_mlp", "latent": latent, "widths": widths, "image": list(image), "eps": eps},
        )


def _image(numbers: int, notes: Notes) -> tuple[int, int, int]:
    """[c, h, w]: square and grey where that is possible, else square and RGB; --size decides otherwise."""
    if notes.choices.size is not None:
        notes.used.add("size")
        height, width = notes.choices.size
        if numbers not in (height * width, 3 * height * width):
            raise UsageError(f"--size {width}x{height} does not fit: the last layer has {numbers} numbers.")
        return numbers // (height * width), height, width
    for channels in (1, 3):
        side = math.isqrt(numbers // channels)
        if side >= 1 and channels * side * side == numbers:
            notes.choose("size", None, f"image {channels}x{side}x{side}, of {numbers} numbers", "--size")
            return channels, side, side
    raise BadInputError(f"{notes.label} makes {numbers} numbers, no square image: give its --size WIDTHxHEIGHT.")
