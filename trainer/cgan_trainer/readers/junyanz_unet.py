"""junyanz/pytorch-CycleGAN-and-pix2pix, `unet_*`: nested blocks, each inside the sequence of the one around it.

Block k lies at "model.model.1" followed by k times ".model.3": 0 LeakyReLU, 1 conv, 2 norm, 3 the next block,
4 ReLU, 5 transposed conv, 6 norm, 7 dropout. The innermost has 1 conv, 3 transposed conv, 4 norm.
"""

from __future__ import annotations

import re

from cgan_runtime.errors import UsageError

from cgan_trainer.nets.norm import NormKind
from cgan_trainer.nets.unet import UNet, unet_widths
from cgan_trainer.readers.base import Entry, Notes, Plan, State
from cgan_trainer.readers.layers import entries_of, norm_kind, norm_words, note_statistics, stray_statistics
from cgan_trainer.readers.translator_plan import choose_eps, choose_size, sides, translator_plan

__all__ = ["JunyanzUnet"]

MIN_DEPTH = 5
MAX_DEPTH = 13
SOURCE_SIDE = 256


class JunyanzUnet:
    """U-Net of any depth from 5; reads channels, width, depth and norm, assumes dropout and size."""

    name = "junyanz-unet"
    title = "a U-Net of pytorch-CycleGAN-and-pix2pix"
    keys = re.compile(
        r"model\.model\.(0|3|1(\.model\.3)*\.model\.[1-6])\.(weight|bias|running_mean|running_var|num_batches_tracked)"
    )

    def recognises(self, state: State) -> bool:
        """The first key of every such file."""
        return "model.model.0.weight" in state

    def plan(self, state: State, notes: Notes) -> Plan:
        """Depth from the nesting, norm from the block next to the outermost."""
        depth = max(key.count(".model.3") for key in state if key.startswith("model.model.1.")) + 2
        # The transposed conv of the innermost block is itself ".model.3", one nesting too many.
        depth -= 1
        if not MIN_DEPTH <= depth <= MAX_DEPTH:
            raise ValueError(f"{depth} levels, but {MIN_DEPTH} to {MAX_DEPTH} are possible")
        ngf, c_in = state["model.model.0.weight"].shape[:2]
        c_out = state["model.model.3.weight"].shape[1]
        block = "model.model.1.model"
        kind = norm_kind(state, f"{block}.1", f"{block}.2", notes)
        bias = f"{block}.1.bias" in state
        notes.found(f"U-Net, {depth} levels", f"{c_in} to {c_out} channels", f"ngf {ngf}", norm_words(kind))
        sites = _dropout_sites(depth, notes)
        ends = sides(notes, rounding="truncate", filter_="bicubic")
        size = choose_size(
            notes, max(SOURCE_SIDE, 2**depth), 2**depth, f"{depth} levels halve the image {depth} times"
        )
        note_statistics(notes, kind)
        eps = choose_eps(notes, 1e-5) if kind != "none" else 1e-5
        return translator_plan(
            lambda: UNet(
                widths=unet_widths(depth, ngf),
                c_in=c_in,
                c_out=c_out,
                dropout_sites=sites,
                norm=kind,
                eps=eps,
                bias=bias,
            ),
            _entries(depth, kind, bias=bias),
            channels=(c_in, c_out),
            size=size,
            ends=ends,
            statistics="none" if kind == "none" else "per_sample",
            options={"net": "unet", "depth": depth, "ngf": ngf, "norm": kind, "eps": eps, "dropout": bool(sites)},
            unused=stray_statistics(state, kind),
        )


def _dropout_sites(depth: int, notes: Notes) -> tuple[int, ...]:
    """The 8 * ngf levels after the innermost."""
    sites = tuple(range(1, depth - 4))
    if not sites:
        notes.used.add("dropout")
        if notes.choices.dropout:
            raise UsageError("--dropout does not fit: a U-Net of 5 levels has no place for it.")
        return ()
    cycle = notes.direction is not None  # one of a pair
    live = notes.choose(
        "dropout",
        not cycle,
        "no dropout, the default of the source's CycleGAN"
        if cycle
        else "dropout live, as the source's test script",
        "--dropout" if cycle else "--no-dropout",
    )
    return sites if live else ()


def _entries(depth: int, kind: NormKind, *, bias: bool) -> dict[str, Entry]:
    last = depth - 1
    entries = entries_of("down.0", "model.model.0", None, bias=bias, kind=kind)
    block = "model.model.1"
    for level in range(1, last):
        entries |= entries_of(f"down.{level}", f"{block}.model.1", f"{block}.model.2", bias=bias, kind=kind)
        entries |= entries_of(f"up.{last - level}", f"{block}.model.5", f"{block}.model.6", bias=bias, kind=kind)
        block += ".model.3"
    entries |= entries_of(f"down.{last}", f"{block}.model.1", None, bias=bias, kind=kind)
    entries |= entries_of("up.0", f"{block}.model.3", f"{block}.model.4", bias=bias, kind=kind)
    return entries | entries_of(f"up.{last}", "model.model.3", None, bias=True, kind=kind)
