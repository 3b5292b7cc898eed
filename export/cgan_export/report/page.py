"""report.html: what the gates measured on every artifact, as one file that needs nothing else.

It is written into every bundle, and beside the place where the bundle would have been when a gate failed. It
holds no time and no path of this machine: exporting twice writes the same bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from cgan_runtime.contract import Contract, ImageEncoding, Output
from cgan_runtime.manifest import Figure
from cgan_runtime.pages import CaptionedImage, Cell, Exhibit, Table, data_uri, readable, render
from PIL import Image

from cgan_export.artifacts.artifacts import BuiltArtifact
from cgan_export.fidelity.heatmap import Pixels, coloured, condition_pixels, has_pixels, output_pixels
from cgan_export.fidelity.labels import label_of
from cgan_export.report.diagnostics import Diagnostics, SpreadMaps
from cgan_export.report.layer_compare import Divergence

__all__ = ["failed_report_name", "figures_table", "report_html"]

_TEMPLATE: Final = Path(__file__).with_name("report.html.j2")
SHOWN_LAYERS: Final = 400


@dataclass(frozen=True, kw_only=True)
class _OutputPart:
    """One output of an artifact: the worst sample, and its spread over the seeds."""

    title: str
    worst: Exhibit | None
    difference: str
    spread_title: str
    spread: Table | None
    maps: Exhibit | None


@dataclass(frozen=True, kw_only=True)
class _ArtifactPart:
    """One artifact: the figures first, those that failed before the others."""

    title: str
    passed: bool
    figures: Table
    kept: str
    outputs: tuple[_OutputPart, ...]
    divergence: str
    layers: Table | None


def failed_report_name(target_name: str) -> str:
    """Name of the report that stands beside a bundle that was not written."""
    return f"{target_name}.failed.html"


def report_html(
    name: str, contract: Contract, artifacts: Sequence[BuiltArtifact], diagnostics: Sequence[Diagnostics]
) -> str:
    """The whole page; what failed comes first.

    Args:
        name: the model's.
        contract: its signature.
        artifacts: every artifact that was made.
        diagnostics: one for each of them.
    """
    pairs = sorted(zip(artifacts, diagnostics, strict=True), key=lambda pair: pair[0].passed)
    page = render(
        _TEMPLATE,
        title=name,
        kicker="cgan-export · fidelity",
        passed=all(artifact.passed for artifact in artifacts),
        statistics=contract.statistics,
        reasons=[reason for artifact, _ in pairs for reason in _reasons(artifact)],
        summary=_summary(pairs),
        artifacts=[_part(contract, artifact, found) for artifact, found in pairs],
    )
    return str(page)


def _reasons(artifact: BuiltArtifact) -> Iterator[str]:
    """Why an artifact failed, a sentence for each gate."""
    for key, figure in artifact.figures.items():
        if not figure.passed:
            yield f"{artifact.path}: {label_of(key, figure)} is {_value(figure)}, needed is {_limit(figure)}."


def _summary(pairs: Sequence[tuple[BuiltArtifact, Diagnostics]]) -> Table:
    return Table(
        heads=("artifact", "verdict", "worst sample", "MB", "SHA-256"),
        rows=tuple(
            (
                Cell(text=artifact.path, note=artifact.precision),
                _verdict(artifact.passed),
                f"{readable(round(found.psnr_db, 1))} dB",
                f"{len(artifact.model) / 1e6:.1f}",
                f"{hashlib.sha256(artifact.model).hexdigest()[:16]}…",
            )
            for artifact, found in pairs
        ),
    )


def _part(contract: Contract, artifact: BuiltArtifact, found: Diagnostics) -> _ArtifactPart:
    kept = ""
    if artifact.precision == "int8":
        share = f"{artifact.kept_share:.1%} of the multiply-adds"
        kept = f"Layers kept in FP32 ({share}): {', '.join(artifact.kept) or 'none'}."
    return _ArtifactPart(
        title=f"{artifact.path} ({artifact.precision})",
        passed=artifact.passed,
        figures=figures_table(artifact.figures),
        kept=kept,
        outputs=tuple(_output_part(contract, artifact, one) for one in (found, *found.others)),
        divergence="" if found.divergence is None else _divergence(found.divergence),
        layers=None if found.divergence is None else _layers(found.divergence),
    )


def figures_table(figures: dict[str, Figure]) -> Table:
    """What was measured and what is allowed, a row for each check; failed ones first."""
    ordered = sorted(figures.items(), key=lambda item: item[1].passed)
    return Table(
        heads=("check", "measured", "limit", ""),
        rows=tuple(
            (label_of(key, figure), _value(figure), _limit(figure), _verdict(figure.passed))
            for key, figure in ordered
        ),
        strong=frozenset(range(sum(not figure.passed for figure in figures.values()))),
    )


def _value(figure: Figure) -> str:
    return f"{figure.value:.4g} {figure.unit}".strip()


def _limit(figure: Figure) -> str:
    return f"{'≤' if figure.rule == '<=' else '≥'} {figure.limit:.4g} {figure.unit}".strip()


def _verdict(passed: bool) -> Cell:
    return Cell(text="ok", mark="ok") if passed else Cell(text="FAILED", mark="bad")


def _output_part(contract: Contract, artifact: BuiltArtifact, found: Diagnostics) -> _OutputPart:
    output = found.output
    of = f" of {output.name}" if len(contract.outputs) > 1 else ""
    # The figures of the first output have plain keys, those of another begin with its name.
    prefix = "" if output.name == contract.outputs[0].name else f"{output.name}."
    worst = _worst(artifact, output, found, prefix)
    largest = float(np.abs(found.ours.astype(np.float64) - found.theirs).max())
    maps = found.spread
    return _OutputPart(
        title=f"Worst of the samples{of}: number {found.sample}, {readable(round(found.psnr_db, 1))} dB",
        worst=worst,
        difference="" if worst is not None else f"Largest difference: {largest:.4g}.",
        spread_title=f"Noise is alive: spread of each value{of} over {maps.seeds} seeds" if maps else "",
        spread=None if maps is None else _spread(maps),
        maps=None if maps is None or maps.ours.ndim != 3 else _spread_maps(maps),
    )


def _worst(artifact: BuiltArtifact, output: Output, found: Diagnostics, prefix: str) -> Exhibit | None:
    """What was given, what PyTorch and the artifact make of it, and where they differ; None if it is no image."""
    if not has_pixels(output) or found.ours.ndim != 3:
        return None
    error = np.abs(found.ours.astype(np.float64) - found.theirs).max(axis=0)
    top = _allowed(artifact.figures, output, prefix)
    images = [
        _image(output_pixels(found.theirs, output), "PyTorch"),
        _image(output_pixels(found.ours, output), "this artifact"),
        _image(
            coloured(error, top),
            f"difference: black 0, white {top:.2g} or more, which is the limit; the largest is {error.max():.2g}",
        ),
    ]
    if found.condition is not None and isinstance(output.encoding, ImageEncoding):
        images.insert(0, _image(condition_pixels(found.condition, output.encoding), "condition"))
    return Exhibit(images=tuple(images))


def _allowed(figures: dict[str, Figure], output: Output, prefix: str) -> float:
    """The difference that is drawn white: what the gates allow a value, or the RMS error that the PSNR allows.

    If each map were scaled to its own maximum, a perfect export would look as bright as a broken one.
    """
    span = output.range[1] - output.range[0] if output.range else 1.0
    if (largest := figures.get(f"{prefix}parity_max_abs")) is not None:
        return largest.limit
    if (share := figures.get(f"{prefix}parity_relative")) is not None:
        return share.limit * span / 2  # of half of the range, see limits.py
    if (psnr := figures.get(f"{prefix}parity_psnr")) is not None:
        return float(span * 10 ** (-psnr.limit / 20))
    return span / 255


def _spread(maps: SpreadMaps) -> Table:
    return Table(
        heads=("", "mean spread"),
        rows=(
            ("PyTorch with its own noise", f"{maps.theirs.mean():.5f}"),
            (f"this artifact, seeds 1 to {maps.seeds}", f"{maps.ours.mean():.5f}"),
        ),
    )


def _spread_maps(maps: SpreadMaps) -> Exhibit:
    """Both maps on one scale, so that they can be compared."""
    top = max(float(maps.ours.max()), float(maps.theirs.max())) or 1.0
    said = f"black 0, white {top:.2g}"
    return Exhibit(
        images=(
            _image(coloured(maps.theirs.mean(axis=0), top), f"PyTorch's own noise: {said}"),
            _image(coloured(maps.ours.mean(axis=0), top), f"seeded noise: {said}"),
        )
    )


def _divergence(divergence: Divergence) -> str:
    if divergence.first is None:
        return (
            f"No tensor falls below {divergence.floor_db:g} dB of the graph as PyTorch exported it: the difference "
            "was there before this artifact was made."
        )
    return (
        f"The first tensor below {divergence.floor_db:g} dB is {divergence.first.tensor}, the result of a "
        f"{divergence.first.operator}."
    )


def _layers(divergence: Divergence) -> Table:
    shown = divergence.layers[:SHOWN_LAYERS]
    return Table(
        heads=("tensor", "made by", "PSNR over its range, dB", "largest difference"),
        rows=tuple(
            (layer.tensor, layer.operator, f"{layer.psnr_db:.1f}", f"{layer.max_abs:.3g}") for layer in shown
        ),
        strong=frozenset(number for number, layer in enumerate(shown) if layer is divergence.first),
    )


def _image(pixels: Pixels, heading: str) -> CaptionedImage:
    return CaptionedImage(uri=data_uri(Image.fromarray(pixels), "png"), heading=heading, alt=heading, sharp=True)
