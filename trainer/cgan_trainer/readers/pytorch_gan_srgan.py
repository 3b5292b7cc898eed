"""eriklindernoren/PyTorch-GAN, srgan: four times the size, images normalised like ImageNet's on both sides."""

from __future__ import annotations

import re

from cgan_trainer.nets.super_resolution import SuperResolution
from cgan_trainer.readers.base import Entry, Notes, Plan, State
from cgan_trainer.readers.pytorch_gan_eps import choose_norm_eps
from cgan_trainer.readers.translator_plan import choose_size, sides, translator_plan

__all__ = ["PytorchGanSrgan"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# The source trains on 256x256 images scaled down by four.
SOURCE_SIDE = 64
UP_EPS = 1e-5
MAX_BLOCKS = 128
_NORM = ("weight", "bias", "running_mean", "running_var")
_BLOCK = re.compile(r"res_blocks\.(\d+)\.conv_block\.[0-4]\.\w+")


class PytorchGanSrgan:
    """The super-resolution generator: running statistics, no noise."""

    name = "pytorch-gan-srgan"
    title = "the SRGAN generator of PyTorch-GAN"
    keys = re.compile(
        r"(conv1\.[01]|conv2\.[01]|conv3\.0|upsampling\.[0134578]|res_blocks\.\d+\.conv_block\.[0-4])"
        r"\.(weight|bias|running_mean|running_var|num_batches_tracked)"
    )

    def recognises(self, state: State) -> bool:
        """Whether the file has keys of residual blocks."""
        return any(_BLOCK.fullmatch(key) for key in state)

    def plan(self, state: State, notes: Notes) -> Plan:
        """Channels, width and blocks from keys and shapes."""
        blocks = 1 + max(int(match[1]) for key in state if (match := _BLOCK.fullmatch(key)))
        width, c_in = state["conv1.0.weight"].shape[:2]
        c_out = state["conv3.0.weight"].shape[0]
        if blocks > MAX_BLOCKS or (c_in, c_out) != (3, 3):
            raise ValueError(f"{blocks} blocks, {c_in} to {c_out} channels")
        notes.found(f"{blocks} residual blocks, width {width}", "3 to 3 channels, x4", "batch norm", "no dropout")
        eps = choose_norm_eps(notes)
        notes.assumed += [
            f"batch norm with eps {UP_EPS:g} before the pixel shuffles",
            "ImageNet mean and std, in and out",
        ]
        notes.choose("statistics", "running", "running statistics, as in eval()", "--statistics per_sample")
        ends = sides(notes, rounding="nearest", filter_="bicubic")
        ends |= {
            "source": notes.choices.source or "low resolution",
            "target": notes.choices.target or "high resolution",
        }
        size = choose_size(notes, SOURCE_SIDE, 1, "the net takes any size")
        return translator_plan(
            lambda: SuperResolution(c_in=c_in, c_out=c_out, width=width, blocks=blocks, eps=eps, up_eps=UP_EPS),
            _entries(blocks),
            channels=(c_in, c_out),
            size=size,
            ends=ends,
            statistics="running",
            options={"net": "super_resolution", "blocks": blocks, "width": width, "eps": eps, "up_eps": UP_EPS},
            mean=IMAGENET_MEAN,
            std=IMAGENET_STD,
        )


def _entries(blocks: int) -> dict[str, Entry]:
    places = {
        "head": ("conv1.0", "conv"),
        "head_act": ("conv1.1", "act"),
        "mid": ("conv2.0", "conv"),
        "mid_norm": ("conv2.1", "norm"),
        "tail": ("conv3.0", "conv"),
    }
    for k in range(blocks):
        for at, (ours, kind) in enumerate(
            (("conv1", "conv"), ("norm1", "norm"), ("act", "act"), ("conv2", "conv"), ("norm2", "norm"))
        ):
            places[f"blocks.{k}.{ours}"] = (f"res_blocks.{k}.conv_block.{at}", kind)
    for k in range(2):
        for ours, at in (("conv", 0), ("norm", 1), ("act", 3)):
            places[f"up.{k}.{ours}"] = (f"upsampling.{4 * k + at}", ours)
    parts = {"conv": ("weight", "bias"), "act": ("weight",), "norm": _NORM}
    return {
        f"{ours}.{part}": Entry(f"{theirs}.{part}")
        for ours, (theirs, kind) in places.items()
        for part in parts[kind]
    }
