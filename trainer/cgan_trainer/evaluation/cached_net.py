"""Nets that an evaluation trains on real images: trained once, then read from the user's cache."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import torch
from cgan_runtime.atomic import write_atomic
from torch import nn

__all__ = ["cached_net"]

N = TypeVar("N", bound=nn.Module)


def cached_net(
    name: str, recipe: Sequence[object], cache: Path, *, build: Callable[[], N], train: Callable[[N], None]
) -> N:
    """The net in `eval()`, without gradients: from the cache, or trained and put there.

    Args:
        name: first part of the file's name.
        recipe: plain values that decide the weights; with torch's version they are the rest of the name.
        cache: folder to keep it in.
        build: the net with its first weights, which must repeat.
        train: trains it in place.
    """
    key = hashlib.sha256(json.dumps([*recipe, torch.__version__]).encode()).hexdigest()[:24]
    path = cache / f"{name}-{key}.pt"
    net = build()
    if not _load(path, net):
        train(net)
        cache.mkdir(parents=True, exist_ok=True)
        write_atomic(path, lambda stream: torch.save(net.state_dict(), stream))
    return net.eval().requires_grad_(False)


def _load(path: Path, net: nn.Module) -> bool:
    """Whether the file was there and sound; where not, the net is as it was."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        own = net.state_dict()
        if state.keys() != own.keys() or any(state[key].shape != value.shape for key, value in own.items()):
            return False
        net.load_state_dict(state)
    # Absent, or damaged in any of torch's ways (RuntimeError, UnpicklingError, EOFError, ...): it is trained again.
    except Exception:  # noqa: BLE001 - of bad bytes torch raises anything
        return False
    return True
