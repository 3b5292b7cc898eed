"""The bundle's README.md: what the model does, how faithful it is, how to run it."""

from __future__ import annotations

from typing import Final

import numpy as np
from cgan_runtime.contract import Contract, ImageEncoding
from cgan_runtime.manifest import Artifact, Provenance
from cgan_runtime.pictures import pixels_from_tensor, png_bytes

from cgan_export.export import Exported
from cgan_export.fidelity.labels import MEANINGS

__all__ = ["model_card", "picture_grid"]

GRID_ROWS: Final = 4
GRID_SEEDS: Final = (1, 2, 3)
GAP: Final = 4


def model_card(
    name: str, family: str, contract: Contract, artifacts: tuple[Artifact, ...], origin: Provenance
) -> str:
    """Markdown text of the card."""
    tables = "\n".join(_fidelity(artifact) for artifact in artifacts)
    grid = "\n![condition and three seeds](golden/grid.png)\n" if contract.image_output else ""
    training = "\n".join(f"* {key}: {value}" for key, value in origin.training.items())
    return f"""# {name}

A `{family}` generator as a pure function: {_signature(contract)}. The same seed gives the same picture on
every backend, alone or in any batch. Normalisation statistics: {contract.statistics}.
{grid}
## Run it

    cgan-translate picture.png --bundle {name} --seed 7
    cgan-serve {name}
    cgan-bench {name} --batch 1

{tables}
Pictures of the worst samples are in `report.html`.

## Where it comes from

Checkpoint `{origin.checkpoint}`, SHA-256 `{origin.checkpoint_sha256}`, exported {origin.created}.

{training}
"""


def picture_grid(exported: Exported) -> bytes:
    """A PNG: one row per sample, the condition (if it is a picture) and then one column per seed."""
    contract, output = exported.contract, exported.contract.image_output
    assert output is not None  # noqa: S101 - the writer asks first
    count = len(next(iter(exported.samples.values()))) if exported.samples else GRID_ROWS
    rows = []
    for i in range(min(GRID_ROWS, count)):
        conditions = {name: value[i : i + 1] for name, value in exported.samples.items()}
        tiles = []
        image = contract.image_condition
        if image is not None and isinstance(image.encoding, ImageEncoding):
            tiles.append(_rgb(pixels_from_tensor(conditions[image.name][0], image.encoding)))
        for seed in GRID_SEEDS:
            result = exported.generator.generate(conditions, [seed], [0])[output.name][0]
            tiles.append(_rgb(pixels_from_tensor(result, output.encoding or ImageEncoding())))
        rows.append(_joined(tiles, axis=1))
    return png_bytes(_joined(rows, axis=0))


def _fidelity(artifact: Artifact) -> str:
    rows = "\n".join(
        f"| {key} | {figure.value:.4g} {figure.unit} | {figure.rule} {figure.limit:.4g} | {MEANINGS.get(key, '')} |"
        for key, figure in artifact.fidelity.items()
    )
    kept = f"\nKept in FP32: {', '.join(artifact.kept)}.\n" if artifact.kept else ""
    return f"""## Fidelity of {artifact.path} ({artifact.precision})

| figure | measured | limit | meaning |
|---|---|---|---|
{rows}
{kept}"""


def _signature(contract: Contract) -> str:
    inputs = ", ".join(f"{c.name} ({c.meaning})" if c.meaning else c.name for c in contract.conditions)
    outputs = ", ".join(f"{o.name} ({o.meaning})" if o.meaning else o.name for o in contract.outputs)
    return f"{outputs} from {inputs or 'nothing'} and a seed"


def _rgb(
    pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]],
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.repeat(pixels[:, :, None], 3, axis=2) if pixels.ndim == 2 else pixels


def _joined(
    tiles: list[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]], axis: int
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Tiles side by side (axis 1) or below each other (axis 0) with a white gap, cut to the smallest."""
    across = 1 - axis
    side = min(tile.shape[across] for tile in tiles)
    pieces = []
    for tile in tiles:
        cut = tile[:side] if across == 0 else tile[:, :side]
        gap_shape = (GAP, side, 3) if axis == 0 else (side, GAP, 3)
        pieces += [cut, np.full(gap_shape, 255, dtype=np.uint8)]
    return np.concatenate(pieces[:-1], axis=axis)
