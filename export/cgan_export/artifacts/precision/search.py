"""Which layers must stay in FP32 so that the image stays good enough: the cheapest set that holds.

Each layer is first quantised alone and ranked by the harm it does per multiply-add saved. The layers that do
the most are kept in FP32, one by one, until the floor holds. Then each kept layer is tried in INT8 again, the
most expensive first, because effects do not simply add up. The result is a set from which no
layer can be taken back. It is not proven to be the cheapest of all sets: that would mean trying them all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cgan_runtime.errors import CheckFailedError

from cgan_export.artifacts.precision.int8 import Layer

__all__ = ["layers_to_keep"]

# PSNR [dB] of the graph in which exactly these layers are quantised.
Score = Callable[[Sequence[Layer]], float]


def layers_to_keep(
    layers: Sequence[Layer], score_db: Score, *, floor_db: float, progress: Callable[[str], None] = lambda _: None
) -> tuple[Layer, ...]:
    """The layers to keep in FP32, in the order of the graph; none where all can be quantised.

    Raises:
        CheckFailedError: there is no layer to quantise, or none may be.
    """
    if not layers:
        raise CheckFailedError("INT8 needs convolutions or matrix products with constant weights; there are none.")
    progress("INT8 in every layer")
    if score_db(layers) >= floor_db:
        return ()
    harm: dict[str, float] = {}
    for count, layer in enumerate(layers, 1):
        progress(f"INT8 in one layer alone ({count} of {len(layers)})")
        harm[layer.name] = 10 ** (-score_db([layer]) / 10) / max(layer.macs, 1)
    ranked = sorted(layers, key=lambda layer: -harm[layer.name])
    kept: list[Layer] = []
    for layer in ranked:
        kept.append(layer)
        progress(f"INT8 with {len(kept)} layers kept in FP32")
        others = _without(layers, kept)
        if others and score_db(others) >= floor_db:
            break
    else:
        raise CheckFailedError(f"INT8 in any layer takes the image below {floor_db:g} dB; leave out int8.")
    for layer in sorted(kept, key=lambda item: -item.macs):
        fewer = [item for item in kept if item is not layer]
        progress(f"INT8 with {len(fewer)} layers kept in FP32")
        if score_db(_without(layers, fewer)) >= floor_db:
            kept = fewer
    return tuple(layer for layer in layers if layer in kept)


def _without(layers: Sequence[Layer], left_out: Sequence[Layer]) -> list[Layer]:
    return [layer for layer in layers if layer not in left_out]
