"""Any net that turns an image into an image, with dropout as its only noise, as a generator.

The contract is not written down but observed: the net runs once without data, and its dropout sites say which
masks they would have drawn, its output says which size it has.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from cgan_runtime.contract import Condition, Contract, ImageEncoding, NoiseInput, Output, Statistics
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from cgan_trainer.families.base import Shapes
from cgan_trainer.generator import Generator
from cgan_trainer.nets.dropout import DropoutSite
from cgan_trainer.nets.one_hot import OneHot

__all__ = ["ImageSpec", "ImageTranslator", "fitting_options"]


@dataclass(frozen=True, kw_only=True)
class ImageSpec:
    """What the tensor on one side of the net shows, and how it stands for 8-bit pixels (None: a raw tensor)."""

    meaning: str
    encoding: ImageEncoding | None


class ImageTranslator(Generator):
    """``picture = net(condition, masks)``.

    Args:
        net: called with [b, c_in, h, w] and the masks in the order in which it uses them.
        c_in: channels of the condition.
        size: (h, w) of the condition.
        source: the condition.
        target: the image.
        statistics: what the net's normalisation goes by.
        name: of the net's weights in the state dict.
        one_hot: turns the condition, a label map in colours, into what the net takes.
    """

    def __init__(
        self,
        net: nn.Module,
        *,
        c_in: int,
        size: tuple[int, int],
        source: ImageSpec,
        target: ImageSpec,
        statistics: Statistics,
        name: str = "net",
        one_hot: OneHot | None = None,
    ) -> None:
        super().__init__()
        self.add_module(name, net)
        self.one_hot = one_hot
        self._name = name
        masks, out = _observed(net, (1, c_in if one_hot is None else len(one_hot.colors), *size))
        self._contract = Contract(
            conditions=(
                Condition(
                    name="condition",
                    shape=(c_in, *size),
                    range=(-1.0, 1.0),
                    meaning=source.meaning,
                    encoding=source.encoding,
                ),
            ),
            noise=tuple(
                NoiseInput(
                    name=f"mask_{index}",
                    index=index,
                    distribution="mask",
                    shape=shape,
                    parameters={"p": p},
                    site=f"{name}.{site}",
                )
                for index, (site, p, shape) in enumerate(masks)
            ),
            outputs=(
                Output(
                    name="picture",
                    shape=out,
                    range=(-1.0, 1.0),
                    meaning=target.meaning,
                    encoding=target.encoding,
                ),
            ),
            statistics=statistics,
        )

    @property
    def network(self) -> nn.Module:
        """The network itself."""
        return self.get_submodule(self._name)

    @property
    def contract(self) -> Contract:
        """One condition, one mask per dropout site, one image."""
        return self._contract

    def forward(  # type: ignore[override]  # narrower on purpose: exactly one condition
        self, condition: Float[Tensor, "b c h w"], *masks: Float[Tensor, "b _ _ _"]
    ) -> tuple[Float[Tensor, "b c_out _ _"]]:
        """One image per row."""
        expected = len(self._contract.noise)
        if len(masks) != expected:
            raise ValueError(f"{len(masks)} masks were given, but this generator takes {expected}.")
        return (self._image(condition, masks),)

    def live(self, conditions: Sequence[Tensor], rows: int) -> tuple[Tensor, ...]:
        """One image per row, the masks drawn by torch's own dropout from its global random state."""
        del rows
        return (self._image(conditions[0], ()),)

    def _image(self, condition: Tensor, masks: Sequence[Tensor]) -> Tensor:
        seen = condition if self.one_hot is None else self.one_hot(condition)
        image: Tensor = self.network(seen, masks)
        return image


Mask = tuple[str, float, tuple[int, ...]]


def _observed(net: nn.Module, shape: tuple[int, ...]) -> tuple[list[Mask], tuple[int, ...]]:
    """Every dropout site in the order of use with its p and mask shape, and the shape of the output.

    Shapes only: the net runs on torch's meta device, where tensors have no data.
    """
    masks: list[Mask] = []

    def note(name: str) -> Any:
        def hook(site: nn.Module, arguments: tuple[Tensor | None, ...]) -> None:
            assert isinstance(site, DropoutSite)  # noqa: S101 - only those are hooked
            x = arguments[0]
            assert x is not None  # noqa: S101 - the second is the mask, which is not given here
            masks.append((name, site.p, tuple(x.shape[1:])))

        return hook

    hooks = [
        site.register_forward_pre_hook(note(name))
        for name, site in net.named_modules()
        if isinstance(site, DropoutSite)
    ]
    weightless = {name: value.to("meta") for name, value in (*net.named_parameters(), *net.named_buffers())}
    was_training = net.training
    try:
        with torch.no_grad():
            out: Tensor = functional_call(net.eval(), weightless, (torch.empty(shape, device="meta"),))
    finally:
        net.train(was_training)
        for hook in hooks:
            hook.remove()
    return masks, tuple(out.shape[1:])


def fitting_options(theirs: Shapes, wanted: Shapes, *, channels: str) -> str:
    """What to ask for where the weights of a file are not those of a run's U-Net or ResNet.

    Args:
        theirs: shapes of the weights in the file.
        wanted: those of the run.
        channels: what to ask for where the file takes another number of them.
    """
    otherwise = "choose --net, --size and --norm as it was trained with"
    if ("head.conv.weight" in theirs) != ("head.conv.weight" in wanted):  # only a ResNet has one
        return otherwise
    first = "head.conv.weight" if "head.conv.weight" in theirs else "down.0.conv.weight"
    if first in theirs and first in wanted:
        (their_width, their_channels), (width, takes) = theirs[first][:2], wanted[first][:2]
        if their_width != width:
            return f"give --ngf {their_width}"
        if their_channels != takes:
            return f"it takes {their_channels} channels, this run gives {takes}: {channels}"
    depths = [
        len([name for name in net if re.fullmatch(r"down\.\d+\.conv\.weight", name)]) for net in (theirs, wanted)
    ]
    if first.startswith("down") and depths[0] != depths[1]:
        return f"it has {depths[0]} levels, so give --size {2 ** depths[0]}"
    return otherwise
