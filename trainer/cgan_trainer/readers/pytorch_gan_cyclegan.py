"""eriklindernoren/PyTorch-GAN, cyclegan: one sequence, blocks called `block`, nearest doubling and convolution.

The source pads its 7x7 convolutions by the *number of channels*: 3 keeps the size of a colour image, but with
one channel every 7x7 convolution shrinks the image by 4. That is what such a file was trained with, so it stays.
"""

from __future__ import annotations

import re

from cgan_trainer.nets.resnet import ResNet
from cgan_trainer.readers.base import Entry, Notes, Plan, State
from cgan_trainer.readers.layers import entries_of
from cgan_trainer.readers.translator_plan import choose_eps, choose_size, sides, translator_plan

__all__ = ["PytorchGanCyclegan"]

HALVINGS = 2
START = 10
MAX_BLOCKS = 64
_BLOCK = re.compile(r"model\.(\d+)\.block\.[15]\.(weight|bias)")


class PytorchGanCyclegan:
    """The CycleGAN generator: instance norm without weights, no dropout."""

    name = "pytorch-gan-cyclegan"
    title = "the CycleGAN generator of PyTorch-GAN"
    keys = re.compile(r"model\.\d+(\.block\.[15])?\.(weight|bias)")

    def recognises(self, state: State) -> bool:
        """Blocks called block directly under the sequence."""
        return any(_BLOCK.fullmatch(key) for key in state)

    def plan(self, state: State, notes: Notes) -> Plan:
        """Everything but direction, size and eps is in the keys."""
        blocks = sorted({int(match[1]) for key in state if (match := _BLOCK.fullmatch(key))})
        if blocks != list(range(START, START + len(blocks))) or len(blocks) > MAX_BLOCKS:
            raise ValueError(f"blocks at {blocks[:4]} are not where this layout has them")
        ngf, channels = state["model.1.weight"].shape[:2]
        after = START + len(blocks)
        tail = f"model.{after + 4 * HALVINGS + 1}"
        c_out = state[f"{tail}.weight"].shape[0]
        notes.found(
            f"ResNet, {len(blocks)} blocks",
            f"{channels} to {c_out} channels",
            f"ngf {ngf}",
            "instance norm",
            "no dropout",
        )
        if channels not in (1, 3):
            raise ValueError(f"{channels} channels, but the source makes 1 or 3")
        ends = sides(notes, rounding="nearest", filter_="bicubic")
        size = choose_size(notes, 256, 2**HALVINGS, f"{HALVINGS} halvings must be undone by {HALVINGS} doublings")
        eps = choose_eps(notes, 1e-5)
        entries: dict[str, Entry] = {}
        places = {"head": "model.1", "tail": tail}
        places |= {f"down.{k}": f"model.{4 + 3 * k}" for k in range(HALVINGS)}
        places |= {f"up.{k}": f"model.{after + 4 * k + 1}" for k in range(HALVINGS)}
        for k in range(len(blocks)):
            places |= {f"blocks.{k}.first": f"model.{START + k}.block.1"}
            places |= {f"blocks.{k}.second": f"model.{START + k}.block.5"}
        for ours, theirs in places.items():
            entries |= entries_of(ours, theirs, None, bias=True, kind="instance")
        return translator_plan(
            lambda: ResNet(
                c_in=channels, c_out=c_out, ngf=ngf, blocks=len(blocks), eps=eps, up="nearest", edge=channels
            ),
            entries,
            channels=(channels, c_out),
            size=size,
            ends=ends,
            statistics="per_sample",
            options={"net": "resnet", "blocks": len(blocks), "ngf": ngf, "norm": "instance", "eps": eps},
        )
