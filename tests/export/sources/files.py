"""One small file of every accepted kind, with what the source itself would make of it."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from tests.export.sources import affinelayer, junyanz, pytorch_gan

Forward = Callable[..., Tensor]


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """`forward(*conditions, *noise)` is the source's own; `size` what to ask of the reader (None: its default)."""

    name: str
    data: bytes
    forward: Forward
    size: tuple[int, int] | None = None
    title: str = ""


def trained_like(net: nn.Module, seed: int = 0) -> nn.Module:
    """Weights, norm parameters and running averages that all matter."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, value in (*net.named_parameters(), *net.named_buffers()):
            if name.endswith("running_var"):
                value.uniform_(0.5, 2)
            elif value.is_floating_point():
                value.normal_(
                    float(value.dim() == 1 and name.endswith("weight")), 0.3 if value.dim() == 1 else 0.15
                )
    return net


def through(net: nn.Module) -> Forward:
    """The net as the source's test script runs it: `train()`, dropout live or with the masks handed in."""
    net.train()
    sites = [m for m in net.modules() if isinstance(m, junyanz.GivenDropout)]
    order: list[junyanz.GivenDropout] = []

    def forward(x: Tensor, *masks: Tensor) -> Tensor:
        if not order:  # the order of use is seen in a first pass
            hooks = [site.register_forward_pre_hook(lambda m, _: order.append(m)) for site in sites]
            with torch.no_grad():
                net(x[:1])
            for hook in hooks:
                hook.remove()
        results = []
        for row in range(len(x)):
            for site, mask in zip(order, masks, strict=bool(masks)):
                site.mask = mask[row : row + 1]
            with torch.no_grad():
                results.append(net(x[row : row + 1]))
            for site in order:
                site.mask = None
        return torch.cat(results)

    return forward


def evaluated(net: nn.Module) -> Forward:
    """With running statistics."""
    net.eval()

    def forward(*inputs: Tensor) -> Tensor:
        with torch.no_grad():
            result: Tensor = net(*inputs)
        return result

    return forward


def saved(content: Any, **options: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream, **options)
    return stream.getvalue()


def as_safetensors(state: dict[str, Tensor]) -> bytes:
    from safetensors.torch import save

    return bytes(save({key: value.contiguous() for key, value in state.items()}))


def as_npz(variables: affinelayer.Variables) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **variables)  # type: ignore[arg-type]  # its stub takes the names for its own options
    return stream.getvalue()


def plain(
    net: nn.Module, name: str, size: tuple[int, int] | None = None, title: str = "", **kind: Any
) -> SourceFile:
    net = trained_like(net)
    state = net.state_dict()
    data = as_safetensors(state) if name.endswith(".safetensors") else saved(state, **kind)
    return SourceFile(name=name, data=data, forward=through(net), size=size, title=title)


def affinelayer_file() -> SourceFile:
    found = affinelayer.variables()

    def forward(x: Tensor, *masks: Tensor) -> Tensor:
        rows = []
        for row in range(len(x)):
            given = [mask[row : row + 1].permute(0, 2, 3, 1) for mask in masks]
            rows.append(affinelayer.forward(found, x[row : row + 1].permute(0, 2, 3, 1), given).permute(0, 3, 1, 2))
        return torch.cat(rows)

    return SourceFile(
        name="facades.npz", data=as_npz(found), forward=forward, title="affinelayer, U-Net of 8 levels"
    )


def running(net: nn.Module, name: str, title: str) -> SourceFile:
    net = trained_like(net)
    return SourceFile(name=name, data=saved(net.state_dict()), forward=evaluated(net), title=title)


LEGACY: Final = {"_use_new_zipfile_serialization": False}
_U, _R = junyanz.unet, junyanz.resnet

FILES: Final[dict[str, Callable[[], SourceFile]]] = {
    "unet6-batch": lambda: plain(_U(6), "latest_net_G.pth", (64, 64), "junyanz U-Net, batch norm, dropout"),
    "unet7-batch": lambda: plain(_U(7, ngf=2), "latest_net_G.pth", (128, 256), "junyanz unet_128"),
    "unet8-batch": lambda: plain(_U(8, ngf=2), "60_net_G.pth", None, "junyanz unet_256"),
    "unet5-batch": lambda: plain(_U(5, ngf=3, c_in=1), "a.pth", (32, 96), "junyanz U-Net of 5 levels, grey in"),
    "unet6-instance": lambda: plain(
        _U(6, kind="instance"), "a.safetensors", (64, 64), "junyanz U-Net, instance norm"
    ),
    "unet6-tracked": lambda: plain(_U(6, kind="tracked"), "a.pth", (64, 64), "junyanz U-Net of 2018, tracked"),
    "unet6-none": lambda: plain(_U(6, kind="none"), "a.pth", (64, 64), "junyanz U-Net without norm", **LEGACY),
    "resnet6-instance": lambda: plain(_R(6), "latest_net_G_A.pth", (32, 64), "junyanz resnet_6blocks (CycleGAN)"),
    "resnet9-batch-dropout": lambda: plain(
        _R(9, kind="batch", dropout=True), "latest_net_G.pth", (32, 32), "junyanz resnet_9blocks, dropout"
    ),
    "resnet3-tracked": lambda: plain(
        _R(3, kind="tracked"), "latest_net_G_B.pth", (32, 32), "junyanz ResNet of 2018, tracked", **LEGACY
    ),
    "resnet2-none-zero": lambda: plain(
        _R(2, kind="none", zero=True, dropout=True, c_out=1),
        "pytorch_model.bin",
        (32, 32),
        "junyanz ResNet, no norm",
    ),
    "resnet2-deep": lambda: plain(_R(2, halvings=4), "g.pth", (32, 32), "pix2pixHD global generator"),
    "cut": lambda: plain(_R(9, blurs=(True, True)), "latest_net_G.pth", (32, 64), "CUT and FastCUT"),
    "cut-down": lambda: plain(
        _R(4, blurs=(True, False), kind="batch", dropout=True), "5_net_G.pth", (32, 32), "CUT, --no_antialias_up"
    ),
    "cut-up": lambda: plain(
        _R(6, blurs=(False, True), up_row=(1, 2, 1)), "latest_net_G.pth", (32, 32), "CUT, --no_antialias"
    ),
    "pytorch-gan-pix2pix": lambda: plain(
        pytorch_gan.Pix2pix(width=2), "pytorch_model.bin", None, "PyTorch-GAN pix2pix (also huggan)"
    ),
    "pytorch-gan-cyclegan": lambda: plain(pytorch_gan.cyclegan(), "G_AB_9.pth", (32, 64), "PyTorch-GAN CycleGAN"),
    "pytorch-gan-cyclegan-grey": lambda: plain(
        pytorch_gan.cyclegan(channels=1), "G_BA_9.pth", (32, 32), "PyTorch-GAN CycleGAN, one channel"
    ),
    "pytorch-gan-cgan": lambda: running(pytorch_gan.Cgan(), "generator.pth", "PyTorch-GAN cGAN"),
    "pytorch-gan-srgan": lambda: running(pytorch_gan.Srgan(), "generator_9.pth", "PyTorch-GAN SRGAN"),
    "affinelayer": affinelayer_file,
}
