"""eriklindernoren/PyTorch-GAN, pix2pix: down1..8, up1..7, final; also HF `huggan/pix2pix-*`."""

from __future__ import annotations

import re

from cgan_trainer.nets.dropout_unet import DOWNS, DropoutUNet
from cgan_trainer.readers.base import Entry, Notes, Plan, State
from cgan_trainer.readers.translator_plan import choose_eps, choose_size, sides, translator_plan

__all__ = ["PytorchGanPix2pix"]

SIDE = 2**DOWNS


class PytorchGanPix2pix:
    """The U-Net with dropout on both ways. Instance norm without weights: only convolutions have keys."""

    name = "pytorch-gan-pix2pix"
    title = "the pix2pix generator of PyTorch-GAN"
    keys = re.compile(r"(down[1-8]\.model\.0\.weight|up[1-7]\.model\.0\.weight|final\.2\.(weight|bias))")

    def recognises(self, state: State) -> bool:
        """The first key of every such file."""
        return "down1.model.0.weight" in state

    def plan(self, state: State, notes: Notes) -> Plan:
        """Channels and widths from the shapes; dropout leaves no trace."""
        widths = [state[f"down{level}.model.0.weight"].shape[0] for level in range(1, DOWNS + 1)]
        c_in, c_out = state["down1.model.0.weight"].shape[1], state["final.2.weight"].shape[0]
        notes.found(f"U-Net, {DOWNS} levels", f"{c_in} to {c_out} channels", f"width {widths[0]}", "instance norm")
        live = bool(notes.choose("dropout", True, "dropout live, as in the source's previews", "--no-dropout"))
        ends = sides(notes, rounding="nearest", filter_="bicubic", direction="BtoA")
        size = choose_size(notes, SIDE, SIDE, f"{DOWNS} levels halve the image {DOWNS} times")
        eps = choose_eps(notes, 1e-5)
        entries = {f"down.{k}.conv.weight": Entry(f"down{k + 1}.model.0.weight") for k in range(DOWNS)}
        entries |= {f"up.{k}.conv.weight": Entry(f"up{k + 1}.model.0.weight") for k in range(DOWNS - 1)}
        entries |= {f"last.{part}": Entry(f"final.2.{part}") for part in ("weight", "bias")}
        return translator_plan(
            lambda: DropoutUNet(widths=widths, c_in=c_in, c_out=c_out, dropout=live, eps=eps),
            entries,
            channels=(c_in, c_out),
            size=size,
            ends=ends,
            statistics="per_sample",
            options={"net": "dropout_unet", "widths": widths, "norm": "instance", "eps": eps, "dropout": live},
        )
