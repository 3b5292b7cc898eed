"""Finds the generator's state dict inside whatever a training script saved around it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

import torch
from cgan_runtime.errors import BadInputError
from torch import Tensor

from cgan_trainer.readers.reparametrization import folded

__all__ = ["State", "state_from"]

State = dict[str, Tensor]
Direction = Literal["AtoB", "BtoA"]

# The averaged weights come first: where both are kept, they are the better generator.
_EMA: Final = ("g_ema", "params_ema", "netG_ema", "generator_ema", "ema_generator", "G_ema", "ema")
_PLAIN: Final = ("netG", "generator", "G", "params", "model_state_dict", "state_dict", "model", "weights")
_PAIRS: Final = (("netG_A", "netG_B"), ("G_AB", "G_BA"), ("G_A", "G_B"), ("netG_A2B", "netG_B2A"))
_PREFIXES: Final = ("module.", "_orig_mod.")
_MAX_WRAPPERS: Final = 6


def state_from(content: Any, label: str, direction: Direction | None) -> tuple[State, list[str]]:
    """The bare state dict, tensors only, and what was taken off it, in words.

    Args:
        content: what the file holds.
        label: the file, for messages.
        direction: which of two generators to take, where a file holds both.

    Raises:
        BadInputError: no state dict of a generator is in it.
    """
    steps: list[str] = []
    for _ in range(_MAX_WRAPPERS):
        if not isinstance(content, Mapping):
            raise BadInputError(
                f"{label} holds a {type(content).__name__}, not a state dict: save generator.state_dict()."
            )
        inner = _unnested(content, label, direction, steps)
        inner = _unprefixed(inner, label, direction, steps)
        if inner is content:
            break
        content = inner
    state = {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
    if not state:
        raise BadInputError(
            f"{label} holds no weights ({', '.join(map(str, list(content)[:3])) or 'nothing'}): save "
            "generator.state_dict()."
        )
    state, what = folded({key: _as_float(value) for key, value in state.items()}, label)
    if what:
        steps.append(f"{what} folded into the weights")
    return state, steps


def _unnested(content: Mapping[Any, Any], label: str, direction: Direction | None, steps: list[str]) -> Any:
    if {"param_groups"} <= set(content) and "state_dict" not in content:
        raise BadInputError(
            f"{label} is the state of an optimiser, without any network: export the generator, for example "
            "latest_net_G.pth."
        )
    nested = {key for key, value in content.items() if isinstance(value, Mapping) and value}
    if {"a", "b"} <= nested:
        raise BadInputError(
            f"{label} holds one MUNIT generator per domain (a, b), a family this version does not build."
        )
    for key in (*_EMA, *_pair_choice(nested, label, direction), *_PLAIN):
        if key in nested:
            note = ", the averaged weights" if key in _EMA else ""
            steps.append(f"taken from {key!r}{note}")
            return content[key]
    if nested and not any(isinstance(value, Tensor) for value in content.values()):
        if len(nested) == 1:
            (key,) = nested
            steps.append(f"taken from {key!r}")
            return content[key]
        raise BadInputError(
            f"{label} holds several parts ({', '.join(map(str, sorted(nested, key=str)[:4]))}) and none is called "
            "generator: save generator.state_dict()."
        )
    return content


def _unprefixed(content: Any, label: str, direction: Direction | None, steps: list[str]) -> Any:
    """Without a prefix all keys share, or only the generator's part of several networks'."""
    if not isinstance(content, Mapping):
        return content
    keys = [key for key, value in content.items() if isinstance(value, Tensor) and isinstance(key, str)]
    for prefix in _PREFIXES:
        if keys and all(key.startswith(prefix) for key in keys):
            steps.append(f"prefix {prefix!r} removed")
            return {key.removeprefix(prefix): content[key] for key in keys}
    parts = {key.partition(".")[0] for key in keys}
    for part in (*_EMA, *_pair_choice(parts, label, direction), "netG", "generator", "G"):
        if part in parts:
            note = ", the averaged weights" if part in _EMA else ""
            steps.append(f"the {part!r} part taken{note}")
            return {key.removeprefix(f"{part}."): content[key] for key in keys if key.startswith(f"{part}.")}
    return content


def _pair_choice(names: set[Any], label: str, direction: Direction | None) -> tuple[str, ...]:
    for pair in _PAIRS:
        if set(pair) <= names:
            if direction is None:
                raise BadInputError(
                    f"{label} holds two generators ({pair[0]} and {pair[1]}): choose one with --direction AtoB or "
                    "--direction BtoA."
                )
            return (pair[0] if direction == "AtoB" else pair[1],)
    return tuple(name for pair in _PAIRS for name in pair)


def _as_float(value: Tensor) -> Tensor:
    return value.to(torch.float32) if value.is_floating_point() else value
