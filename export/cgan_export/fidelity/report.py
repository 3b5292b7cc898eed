"""report.html: what the gates measured on every artifact, as one file that needs nothing else.

It is written into every bundle, and beside the place where the bundle would have been when a gate failed. It
holds no time and no path of this machine: exporting twice writes the same bytes.
"""

from __future__ import annotations

import base64
from html import escape
from typing import Final

import numpy as np
from cgan_runtime.contract import Contract
from cgan_runtime.manifest import Figure
from cgan_runtime.pictures import png_bytes
from cgan_runtime.runners.base import Array

from cgan_export.artifacts.artifacts import BuiltArtifact
from cgan_export.fidelity.diagnostics import Diagnostics, SpreadMaps
from cgan_export.fidelity.heatmap import coloured, picture_pixels
from cgan_export.fidelity.labels import MEANINGS
from cgan_export.fidelity.layer_compare import Divergence

__all__ = ["failed_report_name", "report_html"]

STYLE: Final = """
:root{color-scheme:light dark;font:16px/1.5 system-ui,sans-serif}
body{max-width:62rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;margin:.5rem 0 1rem}
th,td{text-align:left;padding:.2rem .8rem .2rem 0;border-bottom:1px solid #8884}
td.n{text-align:right;font-variant-numeric:tabular-nums}
figure{display:inline-block;margin:0 1rem 1rem 0}
figcaption{font-size:.85rem}
img{display:block;width:16rem;image-rendering:pixelated;background:#8882}
.bad{color:#c22;font-weight:600}.ok{color:#282}
tr.first td{background:#c223}
"""
SHOWN_LAYERS: Final = 400


def failed_report_name(target_name: str) -> str:
    """Name of the report that stands beside a bundle that was not written."""
    return f"{target_name}.failed.html"


def report_html(
    name: str, contract: Contract, variants: tuple[BuiltArtifact, ...], evidence: tuple[Diagnostics, ...]
) -> str:
    """The whole page.

    Args:
        name: the model's.
        contract: its signature.
        variants: every artifact that was made.
        evidence: one for each of them.
    """
    parts = "\n".join(_section(contract, v, e) for v, e in zip(variants, evidence, strict=True))
    verdict = "passed every gate" if all(v.passed for v in variants) else "failed: no bundle was written"
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{escape(name)}: fidelity</title><style>{STYLE}</style></head><body>
<h1>{escape(name)}: {verdict}</h1>
<p>Each artifact is compared with PyTorch under the same conditions and the same noise.
Normalisation statistics: {escape(contract.statistics)}.</p>
{parts}
</body></html>
"""


def _section(contract: Contract, variant: BuiltArtifact, evidence: Diagnostics) -> str:
    kept = ""
    if variant.precision == "int8":
        share = f"{variant.kept_share:.1%} of the multiply-adds"
        names = ", ".join(escape(layer) for layer in variant.kept)
        kept = f"<p>Layers kept in FP32 ({share}): {names or 'none'}.</p>"
    word = '<span class="ok">passed</span>' if variant.passed else '<span class="bad">FAILED</span>'
    return f"""<h2>{variant.path} ({variant.precision}) {word}</h2>
{_figures(variant.figures)}{kept}
<h3>Worst of the samples: number {evidence.sample}, {evidence.psnr_db:.1f} dB</h3>
{_worst(contract, evidence)}{_spread(evidence.spread)}{_layers(evidence.divergence)}"""


def _figures(figures: dict[str, Figure]) -> str:
    rows = "".join(
        f"<tr><td>{escape(MEANINGS.get(key, key))}</td>"
        f'<td class="n">{figure.value:.4g} {escape(figure.unit)}</td>'
        f'<td class="n">{escape(figure.rule)} {figure.limit:.4g}</td>'
        f"<td>{'<span class=ok>ok</span>' if figure.passed else '<span class=bad>FAILED</span>'}</td></tr>"
        for key, figure in figures.items()
    )
    return f"<table><tr><th>check</th><th>measured</th><th>limit</th><th></th></tr>{rows}</table>"


def _worst(contract: Contract, evidence: Diagnostics) -> str:
    output = contract.outputs[0]
    if output.encoding is None or evidence.ours.ndim != 3:
        return f"<p>Largest difference: {np.abs(evidence.ours - evidence.theirs).max():.4g}.</p>"
    error = np.abs(evidence.ours.astype(np.float64) - evidence.theirs).max(axis=0)
    shown = [] if evidence.condition is None else [(evidence.condition, "condition")]
    pictures = [
        *((picture_pixels(tensor, output.encoding), caption) for tensor, caption in shown),
        (picture_pixels(evidence.theirs, output.encoding), "PyTorch"),
        (picture_pixels(evidence.ours, output.encoding), "this artifact"),
        (coloured(error), f"difference; black 0, white {np.nanmax(error):.3g}"),
    ]
    return "<div>" + "".join(_image(pixels, caption) for pixels, caption in pictures) + "</div>"


def _spread(maps: SpreadMaps | None) -> str:
    if maps is None:
        return ""
    top = max(float(maps.ours.max()), float(maps.theirs.max())) or 1.0
    images = ""
    if maps.ours.ndim == 3:
        images = _image(coloured(maps.theirs.mean(axis=0), top), "PyTorch's own noise") + _image(
            coloured(maps.ours.mean(axis=0), top), "seeded noise"
        )
    return f"""<h3>Noise is alive: spread of each pixel over {maps.seeds} seeds</h3>
<table><tr><th></th><th>mean spread</th></tr>
<tr><td>PyTorch with its own noise</td><td class="n">{maps.theirs.mean():.5f}</td></tr>
<tr><td>this artifact, seeds 1 to {maps.seeds}</td><td class="n">{maps.ours.mean():.5f}</td></tr></table>
<div>{images}</div>"""


def _layers(divergence: Divergence | None) -> str:
    if divergence is None:
        return ""
    first = divergence.first
    if first is None:
        said = (
            f"No tensor falls below {divergence.floor_db:g} dB of the graph as PyTorch exported it: the difference "
            "was there before this artifact was made."
        )
    else:
        said = (
            f"The first tensor below {divergence.floor_db:g} dB is <b>{escape(first.tensor)}</b>, the result of a "
            f"{escape(first.operator)}."
        )
    rows = "".join(
        f"<tr{' class=first' if layer is first else ''}><td>{escape(layer.tensor)}</td>"
        f"<td>{escape(layer.operator)}</td>"
        f'<td class="n">{layer.psnr_db:.1f}</td><td class="n">{layer.max_abs:.3g}</td></tr>'
        for layer in divergence.layers[:SHOWN_LAYERS]
    )
    return f"""<h3>Layer by layer</h3><p>{said}</p>
<table><tr><th>tensor</th><th>made by</th><th>PSNR over its range [dB]</th><th>largest difference</th></tr>
{rows}</table>"""


def _image(pixels: Array, caption: str) -> str:
    data = base64.b64encode(png_bytes(pixels)).decode()
    return f'<figure><img alt="{escape(caption)}" src="data:image/png;base64,{data}">' + (
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )
