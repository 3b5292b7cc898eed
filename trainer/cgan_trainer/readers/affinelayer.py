"""affinelayer/pix2pix-tensorflow: the variables of its generator, saved by name with numpy.savez.

TensorFlow's kernels are [h, w, in, out] (transposed: [h, w, out, in]), and its decoder joins [decoder, encoder]
where ours joins [encoder, decoder]. Batch norm runs with training=True at test time, on encoder_8 too: at batch 1
its 1x1 map becomes the norm's beta. That is how the net was trained, so it is reproduced, not repaired. The moving
averages are meaningless and dropped.

A net that was trained on batches of one, the source's default, has a beta of zero there for ever: behind the ReLU
that follows, no gradient comes back. decoder_8 then makes zeros too, and its dropout changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import torch
from torch import Tensor

from cgan_trainer.nets.unet import UNet, unet_widths
from cgan_trainer.readers.base import Entry, Notes, Plan, State
from cgan_trainer.readers.translator_plan import choose_eps, choose_size, sides, translator_plan

__all__ = ["Affinelayer"]

DEPTH = 8
SIDE = 2**DEPTH
SITES = (0, 1, 2)
SILENT_LAYERS = (f"encoder_{DEPTH}", f"decoder_{DEPTH}")
_OTHER = re.compile(r"^(discriminator/|global_step|beta[12]_power|.*/Adam(_1)?(:0)?$|.*ExponentialMovingAverage)")
_OURS = re.compile(r"^generator/(encoder|decoder)_[1-8]/")


class Affinelayer:
    """The TensorFlow pix2pix U-Net of 8 levels: dropout on the three innermost decoder layers."""

    name = "affinelayer-pix2pix"
    title = "the generator of pix2pix-tensorflow (affinelayer)"
    keys = re.compile(
        r"generator/(encoder|decoder)_[1-8]/(conv2d(_transpose)?/(kernel|bias)|"
        r"batch_normalization/(gamma|beta|moving_mean|moving_variance))(:0)?"
    )

    def recognises(self, state: State) -> bool:
        """Any variable of an encoder or decoder layer."""
        return any(_OURS.match(key) for key in state)

    def plan(self, state: State, notes: Notes) -> Plan:
        """Channels and width from the kernels; the depth is always 8."""
        suffix = ":0" if any(key.endswith(":0") for key in state) else ""
        first = state[f"generator/encoder_1/conv2d/kernel{suffix}"]
        c_in, ngf = first.shape[2:]
        c_out = state[f"generator/decoder_1/conv2d_transpose/kernel{suffix}"].shape[2]
        notes.found(f"U-Net, {DEPTH} levels", f"{c_in} to {c_out} channels", f"ngf {ngf}", "batch norm")
        live = bool(notes.choose("dropout", True, "dropout live, as the source's test mode", "--no-dropout"))
        ends = sides(notes, rounding="nearest", filter_="box")
        size = choose_size(notes, SIDE, SIDE, f"{DEPTH} levels halve the image {DEPTH} times")
        sites: tuple[int, ...] = SITES if live else ()
        if live and size == (SIDE, SIDE) and _is_silent(state, suffix):
            sites = SITES[1:]
            notes.found(f"decoder_{DEPTH} makes zeros, so its dropout is left out")
        eps = choose_eps(notes, 1e-5)
        widths = unet_widths(DEPTH, ngf)
        return translator_plan(
            lambda: UNet(
                widths=widths,
                c_in=c_in,
                c_out=c_out,
                dropout_sites=sites,
                norm="affine",
                eps=eps,
                bias=True,
                bottleneck_norm=True,
            ),
            {ours: Entry(f"{entry.key}{suffix}", entry.turn) for ours, entry in _entries(widths).items()},
            channels=(c_in, c_out),
            size=size,
            ends=ends,
            statistics="per_sample",
            options={"net": "unet", "depth": DEPTH, "ngf": ngf, "norm": "batch", "eps": eps, "dropout": live},
            unused=frozenset(key for key in state if "/moving_" in key or _OTHER.match(key)),
        )


def _is_silent(state: State, suffix: str) -> bool:
    """Whether nothing but zeros passes the innermost ReLUs, where the innermost map has one pixel."""
    betas = [state[f"generator/{layer}/batch_normalization/beta{suffix}"] for layer in SILENT_LAYERS]
    return all(bool((beta <= 0).all()) for beta in betas)


def _entries(widths: tuple[int, ...]) -> dict[str, Entry]:
    last = DEPTH - 1
    entries: dict[str, Entry] = {}
    for k in range(DEPTH):
        theirs = f"generator/encoder_{k + 1}"
        entries[f"down.{k}.conv.weight"] = Entry(f"{theirs}/conv2d/kernel", _conv)
        entries[f"down.{k}.conv.bias"] = Entry(f"{theirs}/conv2d/bias")
        if k > 0:
            entries |= _norm(f"down.{k}", theirs)
        theirs = f"generator/decoder_{DEPTH - k}"
        turn = _transposed(0 if k == 0 else widths[last - k])
        entries[f"up.{k}.conv.weight"] = Entry(f"{theirs}/conv2d_transpose/kernel", turn)
        entries[f"up.{k}.conv.bias"] = Entry(f"{theirs}/conv2d_transpose/bias")
        if k < last:
            entries |= _norm(f"up.{k}", theirs)
    return entries


def _norm(ours: str, theirs: str) -> dict[str, Entry]:
    return {
        f"{ours}.norm.weight": Entry(f"{theirs}/batch_normalization/gamma"),
        f"{ours}.norm.bias": Entry(f"{theirs}/batch_normalization/beta"),
    }


def _conv(kernel: Tensor) -> Tensor:
    return kernel.permute(3, 2, 0, 1)


def _transposed(decoder: int) -> Callable[[Tensor], Tensor]:
    """[h, w, out, in] to [in, out, h, w], with the `decoder` first inputs moved behind the skip's."""

    def turn(kernel: Tensor) -> Tensor:
        turned = kernel.permute(3, 2, 0, 1)
        return torch.cat((turned[decoder:], turned[:decoder])) if decoder else turned

    return turn
