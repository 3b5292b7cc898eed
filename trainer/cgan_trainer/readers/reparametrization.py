"""Reparametrised weights back to plain ones: spectral norm in its three spellings, weight norm in two."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import torch
from cgan_runtime.errors import BadInputError
from torch import Tensor

__all__ = ["folded", "plain_key"]

State = dict[str, Tensor]

_PLAIN: Final = re.compile(r"\.(weight_orig|module\.weight_bar|parametrizations\.weight\.original0?|weight_g)$")


def plain_key(key: str) -> str:
    """The key that a reparametrised weight has once it is folded; any other key as it is."""
    return _PLAIN.sub(".weight", key)


def folded(state: Mapping[str, Tensor], label: str) -> tuple[State, str]:
    """The state dict with plain weights, folded in FP32, and what was folded ("" for nothing).

    Raises:
        BadInputError: a reparametrised weight lacks a part.
    """
    rest, done = dict(state), ""
    for suffix, fold, what in (
        (".weight_orig", _spectral_hook, "spectral norm"),
        (".module.weight_bar", _spectral_wrapper, "spectral norm"),
        (".parametrizations.weight.original", _spectral_parametrization, "spectral norm"),
        (".weight_g", _weight_norm_hook, "weight norm"),
        (".parametrizations.weight.original0", _weight_norm_parametrization, "weight norm"),
    ):
        for key in [key for key in rest if key.endswith(suffix)]:
            stem = key.removesuffix(suffix)
            try:
                weight = fold(rest, stem)
            except (KeyError, RuntimeError) as error:
                raise BadInputError(
                    f"{label} has {what} on {stem} but not all of its parts: export from a complete checkpoint."
                ) from error
            rest[f"{stem}.weight"] = weight
            done = what
    return rest, done


def _taken(rest: State, key: str) -> Tensor:
    return rest.pop(key).float()


def _taken_if_there(rest: State, key: str) -> Tensor | None:
    return _taken(rest, key) if key in rest else None


def _spectral_hook(rest: State, stem: str) -> Tensor:
    weight, u = _taken(rest, f"{stem}.weight_orig"), _taken(rest, f"{stem}.weight_u")
    return weight / _norm(weight, u, _taken_if_there(rest, f"{stem}.weight_v"))


def _spectral_parametrization(rest: State, stem: str) -> Tensor:
    base = f"{stem}.parametrizations.weight"
    weight, u = _taken(rest, f"{base}.original"), _taken(rest, f"{base}.0._u")
    return weight / _norm(weight, u, _taken_if_there(rest, f"{base}.0._v"))


def _spectral_wrapper(rest: State, stem: str) -> Tensor:
    inner = f"{stem}.module"
    weight, u, v = (_taken(rest, f"{inner}.weight_{part}") for part in ("bar", "u", "v"))
    if u.shape != weight.shape[:1] or v.shape != weight.flatten(1).shape[1:]:
        raise RuntimeError("the vectors have other lengths than the weight")
    if f"{inner}.bias" in rest:
        rest[f"{stem}.bias"] = rest.pop(f"{inner}.bias")
    return weight / torch.dot(u, weight.flatten(1) @ v)


def _norm(weight: Tensor, u: Tensor, v: Tensor | None) -> Tensor:
    """The largest singular value, from the vectors torch's power iteration stored.

    Which axis counts as the rows (1 for transposed convolutions) is not stored. Where the length of u leaves it
    open, it is the one for which the vectors fit better: u and v of the right matrix give the larger product.
    """
    candidates = []
    for axis in range(min(weight.dim(), 2)):
        matrix = weight.transpose(0, axis).flatten(1)
        # Vectors of another number of axes could make a small file fill the memory.
        if u.shape != matrix.shape[:1] or (v is not None and v.shape != matrix.shape[1:]):
            continue
        right = torch.nn.functional.normalize(matrix.T @ u, dim=0) if v is None else v
        candidates.append(torch.dot(u, matrix @ right))
    if not candidates:
        raise RuntimeError("the vectors have other lengths than the weight")
    return torch.stack(candidates).max()


def _weight_norm_hook(rest: State, stem: str) -> Tensor:
    return _scaled(_taken(rest, f"{stem}.weight_g"), _taken(rest, f"{stem}.weight_v"))


def _weight_norm_parametrization(rest: State, stem: str) -> Tensor:
    base = f"{stem}.parametrizations.weight"
    return _scaled(_taken(rest, f"{base}.original0"), _taken(rest, f"{base}.original1"))


def _scaled(length: Tensor, direction: Tensor) -> Tensor:
    """``g * v / |v|``, the norm over the axes that g does not have."""
    if length.dim() != direction.dim() or any(
        mine not in (1, theirs) for mine, theirs in zip(length.shape, direction.shape, strict=True)
    ):
        raise RuntimeError("the lengths do not belong to the directions")
    axes = [axis for axis in range(direction.dim()) if length.shape[axis] == 1]
    lengths: Tensor = torch.linalg.vector_norm(direction, dim=axes, keepdim=True)
    return direction * (length / lengths)
