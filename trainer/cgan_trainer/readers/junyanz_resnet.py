"""junyanz/pytorch-CycleGAN-and-pix2pix, `resnet_*blocks`: one flat sequence (and pix2pixHD's, with more halvings).

With d halvings and B blocks: conv7 at 1, convs at 4, 7, ...; blocks from 4 + 3d on; transposed convs; conv7 last.
CUT's are read here too (cut_resnet.py): a blur behind each convolution of the way down, and before each of the way
up, takes one more place of the sequence.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from cgan_runtime.errors import UsageError

from cgan_trainer.nets.norm import NormKind
from cgan_trainer.nets.resnet import Padding, ResNet
from cgan_trainer.readers.base import Entry, Notes, Plan, State
from cgan_trainer.readers.layers import entries_of, norm_kind, norm_words, note_statistics, stray_statistics
from cgan_trainer.readers.translator_plan import choose_eps, choose_size, sides, translator_plan

__all__ = ["CONV_IN_BLOCK", "JunyanzResnet", "resnet_plan"]

MAX_BLOCKS = 64
MAX_HALVINGS = 6
SOURCE_SIDE = 256
CONV_IN_BLOCK = re.compile(r"model\.(\d+)\.conv_block\.(\d+)\.weight")


class JunyanzResnet:
    """ResNet of any number of blocks; reads dropout and padding too, from the indices inside a block."""

    name = "junyanz-resnet"
    title = "a ResNet of pytorch-CycleGAN-and-pix2pix"
    keys = re.compile(
        r"model\.\d+(\.conv_block\.[0-7])?\.(weight|bias|running_mean|running_var|num_batches_tracked)"
    )

    def recognises(self, state: State) -> bool:
        """Blocks called conv_block directly under the sequence, and no filters in it."""
        return any(map(CONV_IN_BLOCK.fullmatch, state)) and not any(key.endswith(".filt") for key in state)

    def plan(self, state: State, notes: Notes) -> Plan:
        """Everything but direction, size and eps is in the keys."""
        return resnet_plan(state, notes)


@dataclass(frozen=True)
class _Places:
    """Where the layers of a ResNet lie in its sequence; `blurs`: (down, up) whether the image is blurred there."""

    start: int
    blocks: int
    halvings: int
    blurs: tuple[bool, bool]

    @classmethod
    def of(cls, state: State) -> _Places:
        blocks = sorted({int(match[1]) for key in state if (match := CONV_IN_BLOCK.fullmatch(key))})
        start, after = blocks[0], blocks[-1] + 1
        blurs = ("model.7.filt" in state, f"model.{after}.filt" in state)
        halvings = (start - 4) // (3 + blurs[0])
        places = cls(start, len(blocks), halvings, blurs)
        if blocks != list(range(start, after)) or start != places.down(halvings):
            raise ValueError(f"blocks at {blocks[:4]} are not where this layout has them")
        if not (1 <= halvings <= MAX_HALVINGS and len(blocks) <= MAX_BLOCKS):
            raise ValueError(f"{halvings} halvings and {len(blocks)} blocks are more than any known file has")
        return places

    def down(self, level: int) -> int:
        """The convolution; its norm is the next, its blur two behind that."""
        return 4 + (3 + self.blurs[0]) * level

    def up(self, level: int) -> int:
        """The convolution; its blur is the one before."""
        return self.start + self.blocks + (3 + self.blurs[1]) * level + self.blurs[1]

    @property
    def tail(self) -> int:
        """The last convolution."""
        return self.start + self.blocks + (3 + self.blurs[1]) * self.halvings + 1


def resnet_plan(state: State, notes: Notes) -> Plan:
    """The plan of a ResNet of this layout, with or without blurs."""
    places = _Places.of(state)
    padding, dropout = _block_kind(state, f"model.{places.start}.conv_block")
    ngf, c_in = state["model.1.weight"].shape[:2]
    c_out = state[f"model.{places.tail}.weight"].shape[0]
    kind = norm_kind(state, "model.1", "model.2", notes)
    bias = "model.1.bias" in state
    blur_down = state["model.7.filt"].shape[-1] if places.blurs[0] else 0
    blur_up = state[f"model.{places.up(0) - 1}.filt"].shape[-1] if places.blurs[1] else 0
    notes.found(
        f"ResNet, {places.blocks} blocks, {places.halvings} halvings",
        f"{c_in} to {c_out} channels",
        f"ngf {ngf}",
        norm_words(kind),
        "dropout in the blocks" if dropout else "no dropout",
        *(("zero padding in the blocks",) if padding == "zero" else ()),
        *((f"halved with a blur of {blur_down} x {blur_down}",) if blur_down else ()),
        *((f"doubled with a blur of {blur_up} x {blur_up}",) if blur_up else ()),
    )
    if padding == "reflect":  # replicate padding leaves the same indices
        notes.assumed.append("reflect padding, the source's default")
    live = _live(notes, present=dropout)
    ends = sides(notes, rounding="truncate", filter_="bicubic")
    size = choose_size(
        notes,
        SOURCE_SIDE,
        2**places.halvings,
        f"{places.halvings} halvings must be undone by {places.halvings} doublings",
    )
    note_statistics(notes, kind)
    eps = choose_eps(notes, 1e-5) if kind != "none" else 1e-5
    return translator_plan(
        lambda: ResNet(
            c_in=c_in,
            c_out=c_out,
            ngf=ngf,
            blocks=places.blocks,
            halvings=places.halvings,
            norm=kind,
            eps=eps,
            bias=bias,
            dropout=live,
            block_padding=padding,
            blur_down=blur_down,
            up="blurred" if blur_up else "transposed",
            blur_up=blur_up,
        ),
        _entries(places, _indices(padding, dropout=dropout), kind, bias=bias),
        channels=(c_in, c_out),
        size=size,
        ends=ends,
        statistics="none" if kind == "none" else "per_sample",
        options={
            "net": "resnet",
            "blocks": places.blocks,
            "halvings": places.halvings,
            "ngf": ngf,
            "norm": kind,
            "eps": eps,
            "dropout": live,
            "padding": padding,
            **({"blur_down": blur_down} if blur_down else {}),
            **({"blur_up": blur_up} if blur_up else {}),
        },
        unused=stray_statistics(state, kind),
    )


def _block_kind(state: State, block: str) -> tuple[Padding, bool]:
    """Padding and dropout from the indices of the two convolutions (four axes; norms have one)."""
    convs = tuple(
        index for index in range(8) if (w := state.get(f"{block}.{index}.weight")) is not None and w.dim() == 4
    )
    known: dict[tuple[int, ...], tuple[Padding, bool]] = {
        (1, 5): ("reflect", False),
        (1, 6): ("reflect", True),
        (0, 3): ("zero", False),
        (0, 4): ("zero", True),
    }
    if convs not in known:
        raise ValueError(f"convolutions at {convs} in a block")
    return known[convs]


def _indices(padding: Padding, *, dropout: bool) -> tuple[int, int]:
    pad = int(padding == "reflect")
    return pad, 2 * pad + 3 + dropout


def _live(notes: Notes, *, present: bool) -> bool:
    if not present:
        notes.used.add("dropout")
        if notes.choices.dropout:
            raise UsageError("--dropout does not fit: this ResNet was built without dropout.")
        return False
    return bool(notes.choose("dropout", True, "dropout live, as the source's test script", "--no-dropout"))


def _entries(places: _Places, convs: tuple[int, int], kind: NormKind, *, bias: bool) -> dict[str, Entry]:
    entries = entries_of("head", "model.1", "model.2", bias=bias, kind=kind)
    for level in range(places.halvings):
        at = places.down(level)
        entries |= entries_of(f"down.{level}", f"model.{at}", f"model.{at + 1}", bias=bias, kind=kind)
        if places.blurs[0]:
            entries[f"blurs.{level}.filt"] = Entry(f"model.{at + 3}.filt")
    for block in range(places.blocks):
        theirs = f"model.{places.start + block}.conv_block"
        for part, at in zip(("first", "second"), convs, strict=True):
            entries |= entries_of(
                f"blocks.{block}.{part}", f"{theirs}.{at}", f"{theirs}.{at + 1}", bias=bias, kind=kind
            )
    for level in range(places.halvings):
        at = places.up(level)
        entries |= entries_of(f"up.{level}", f"model.{at}", f"model.{at + 1}", bias=bias, kind=kind)
        if places.blurs[1]:
            entries[f"up.{level}.blur.filt"] = Entry(f"model.{at - 1}.filt")
    return entries | entries_of("tail", f"model.{places.tail}", None, bias=True, kind=kind)
