"""The images of the report: the worst sample beside PyTorch's, and the spread over the seeds, each with its scale.

If each map of differences were scaled to its own maximum, a perfect export would look as bright as a broken one. So
white is what the gate allows, and the scale below the map says it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from cgan_runtime.contract import Contract, Output
from cgan_runtime.images import eight_bit
from cgan_runtime.manifest import Figure
from cgan_runtime.pages import CaptionedImage, Exhibit, Table, data_uri, readable
from PIL import Image

from cgan_export.fidelity.heatmap import Pixels, coloured, has_pixels, output_pixels
from cgan_export.report.diagnostics import Diagnostics, SpreadMaps

__all__ = ["OutputPart", "output_part"]


@dataclass(frozen=True, kw_only=True)
class Scaled:
    """A row of images, and in words what white is in its maps."""

    images: Exhibit
    white: str


@dataclass(frozen=True, kw_only=True)
class OutputPart:
    """One output of an artifact: the worst sample, and its spread over the seeds.

    Attributes:
        worst: None where the output cannot be looked at; `difference` says then how far it is off.
        maps: None where the spread is no image.
    """

    title: str
    worst: Scaled | None
    difference: str
    spread_title: str
    spread: Table | None
    maps: Scaled | None


def output_part(contract: Contract, figures: dict[str, Figure], found: Diagnostics) -> OutputPart:
    """What the report shows of one output.

    Args:
        contract: of the generator.
        figures: of the artifact, all outputs.
        found: one output of the artifact.
    """
    output, maps = found.output, found.spread
    of = f" of {output.name}" if len(contract.outputs) > 1 else ""
    # The figures of the first output have plain keys, those of another begin with its name.
    prefix = "" if output.name == contract.outputs[0].name else f"{output.name}."
    worst = _worst(figures, output, found, prefix)
    largest = float(np.abs(found.ours.astype(np.float64) - found.theirs).max())
    return OutputPart(
        title=f"Worst of the samples{of}: {found.sample}, {readable(round(found.psnr_db, 1))} dB",
        worst=worst,
        difference="" if worst is not None else f"Largest difference: {largest:.4g}.",
        spread_title=f"Noise is alive: spread of each value{of} over {maps.seeds} seeds" if maps else "",
        spread=None if maps is None else _spread(maps),
        maps=None if maps is None or maps.ours.ndim != 3 else _spread_maps(maps),
    )


def _worst(figures: dict[str, Figure], output: Output, found: Diagnostics, prefix: str) -> Scaled | None:
    """What was given, what PyTorch and the artifact make of it, and where they differ; None if it is no image."""
    if not has_pixels(output) or found.ours.ndim != 3:
        return None
    error = np.abs(found.ours.astype(np.float64) - found.theirs).max(axis=0)
    top, meaning = _allowed(figures, output, prefix)
    white, sample = f"{readable(top)}, {meaning}", f"sample {found.sample}"
    images = [
        _image(output_pixels(found.theirs, output), "PyTorch", f"{output.name} of {sample} by PyTorch"),
        _image(output_pixels(found.ours, output), "this artifact", f"{output.name} of {sample} by this artifact"),
        _image(
            coloured(error, top),
            f"difference, at most {error.max():.2g}",
            f"difference of the two: at most {error.max():.2g}; white is {white}",
        ),
    ]
    if found.condition is not None:
        images.insert(0, _image(found.condition, "condition", f"condition of {sample}"))
    return Scaled(images=Exhibit(images=tuple(images)), white=white)


def _allowed(figures: dict[str, Figure], output: Output, prefix: str) -> tuple[float, str]:
    """The difference that is drawn white, and what it is: what a gate allows a value, or on average."""
    span = output.range[1] - output.range[0] if output.range else 1.0
    if (largest := figures.get(f"{prefix}parity_max_abs")) is not None:
        return largest.limit, "the largest difference that the gate allows"
    if (share := figures.get(f"{prefix}parity_relative")) is not None:
        return share.limit * span / 2, "the largest difference that the gate allows"  # of half the range: limits.py
    if (psnr := figures.get(f"{prefix}parity_psnr")) is not None:
        allowed = float(span * 10 ** (-psnr.limit / 20))
        return allowed, f"the root mean square difference at the limit of {psnr.limit:.4g} dB"
    return span / 255, "one level of 8 bits"


def _spread(maps: SpreadMaps) -> Table:
    return Table(
        heads=("", "mean spread"),
        rows=(
            ("PyTorch with its own noise", f"{maps.theirs.mean():.5f}"),
            (f"this artifact, seeds 1 to {maps.seeds}", f"{maps.ours.mean():.5f}"),
        ),
    )


def _spread_maps(maps: SpreadMaps) -> Scaled:
    """Both maps on one scale, so that they can be compared."""
    top = max(float(maps.ours.max()), float(maps.theirs.max())) or 1.0
    white = f"{top:.2g}, the largest of both"
    return Scaled(
        images=Exhibit(
            images=tuple(
                _image(coloured(spread.mean(axis=0), top), name, f"spread with {name}: white is {white}")
                for spread, name in ((maps.theirs, "PyTorch's own noise"), (maps.ours, "seeded noise"))
            )
        ),
        white=white,
    )


def _image(pixels: Pixels, heading: str, alt: str) -> CaptionedImage:
    shown = eight_bit(Image.fromarray(pixels))  # transparency would show the page
    return CaptionedImage(uri=data_uri(shown, "png"), heading=heading, alt=alt, sharp=True)
