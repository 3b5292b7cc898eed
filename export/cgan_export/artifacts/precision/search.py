"""Which layers must stay in FP32 so that the image stays good enough: the cheapest set that holds.

Every layer has the precision, and one at a time is put back into FP32: they are ranked by the error that this
takes away, for each multiply-add that it costs. The layers at the top are kept in FP32, one by one, until the
floor holds. Then each kept layer is tried in the precision again, the most expensive first, because effects do not
simply add up. The result is a set from which no layer can be taken back. It is not proven to be the cheapest of
all sets: that would mean trying them all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from cgan_runtime.errors import CheckFailedError

from cgan_export.artifacts.precision.layers import Layer

__all__ = ["layers_to_keep"]

# PSNR [dB] of the graph in which exactly these layers have the precision.
Score = Callable[[Sequence[Layer]], float]
WORST_DB: Final = -300.0  # counts for results that are not finite


def layers_to_keep(
    layers: Sequence[Layer],
    score_db: Score,
    *,
    floor_db: float,
    precision: str = "INT8",
    progress: Callable[[str], None] = lambda _: None,
) -> tuple[Layer, ...]:
    """The layers to keep in FP32, in the order of the graph; none where all can have the precision.

    None either where the floor does not hold while any layer has it: the gates then refuse the graph as it is.

    Raises:
        CheckFailedError: there is no layer.
    """
    if not layers:
        raise CheckFailedError(
            f"{precision} needs convolutions or matrix products with constant weights; there are none."
        )
    progress(f"{precision} in every layer")
    whole_db = score_db(layers)
    if whole_db >= floor_db:
        return ()
    gain: dict[str, float] = {}
    for count, layer in enumerate(layers, 1):
        progress(f"{precision} in every layer but one ({count} of {len(layers)})")
        less = _noise(whole_db) - _noise(score_db(_without(layers, [layer])))
        gain[layer.name] = less / max(layer.macs, 1)
    kept: list[Layer] = []
    for layer in sorted(layers, key=lambda layer: -gain[layer.name])[:-1]:
        kept.append(layer)
        progress(f"{precision} with {len(kept)} layers kept in FP32")
        if score_db(_without(layers, kept)) >= floor_db:
            break
    else:
        return ()
    for layer in sorted(kept, key=lambda item: -item.macs):
        fewer = [item for item in kept if item is not layer]
        progress(f"{precision} with {len(fewer)} layers kept in FP32")
        if score_db(_without(layers, fewer)) >= floor_db:
            kept = fewer
    return tuple(layer for layer in layers if layer in kept)


def _noise(psnr_db: float) -> float:
    """The mean squared error, as a share of the squared range."""
    return float(10 ** (-max(psnr_db, WORST_DB) / 10))


def _without(layers: Sequence[Layer], left_out: Sequence[Layer]) -> list[Layer]:
    return [layer for layer in layers if layer not in left_out]
