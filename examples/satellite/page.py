"""demo/index.html: one file that can be mailed, with every picture inside it."""

from __future__ import annotations

import base64
import html
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from cgan_export.fidelity.labels import MEANINGS
from PIL import Image

__all__ = ["Results", "write_page"]

# Black, violet, orange, yellow, white: dark where the seeds agree, bright where they differ.
HEAT: Final = np.array([[0, 0, 0], [80, 20, 120], [220, 80, 50], [250, 200, 60], [255, 255, 255]], dtype=np.float64)

STYLE: Final = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1180px; padding: 0 1rem }
h1 { margin-bottom: 0 } h2 { margin-top: 2.5rem }
table { border-collapse: collapse }
td, th { padding: .35rem .7rem; border-bottom: 1px solid #ddd; text-align: left }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums }
.pictures td { padding: 3px; border: 0 } .pictures th { border: 0; text-align: center; font-weight: 600 }
.pictures img { width: 184px; height: 184px; display: block; image-rendering: auto }
pre { background: #f4f4f2; padding: 1rem; overflow-x: auto } .ok { color: #17722f } .no { color: #b00020 }
.small { color: #666; font-size: .9rem }
"""


@dataclass(frozen=True, kw_only=True)
class Results:
    """What the demo made, as files and parsed JSON."""

    root: Path
    bundle: dict[str, Any]
    bench: dict[str, Any]
    evaluation: dict[str, Any]
    maps: list[Path]
    targets: Path
    seeds: tuple[int, ...]
    samples: int
    identical_files: int
    commands: list[str]


def write_page(results: Results) -> Path:
    """Write index.html in one step; returns its path."""
    bundle = results.bundle
    body = f"""<!doctype html><html lang="en"><head><meta charset="utf-8"><title>cgan-deploy demo</title>
<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body>
<h1>From a relief to a satellite picture</h1>
<p>A pix2pix generator, trained on this machine for a few minutes on tiles of the Earth, exported as a bundle,
served by Triton. The tiles below lie in longitudes it has never seen.</p>
<h2>One condition, several pictures, each repeatable</h2>
{_pictures(results)}
<p><b>Same seed, same picture:</b> {results.identical_files} files were compared, made over HTTP, over gRPC and from
the bundle without a server. For each map and seed they are the same bytes.</p>
<h2>The generator on held-out pictures</h2>
{_judged(results.evaluation)}
<h2>Fidelity of the exported model</h2>
{_fidelity(bundle["artifacts"][0]["fidelity"])}
<p class="small">Bundle {bundle["digest"]}, from checkpoint {bundle["provenance"]["checkpoint_sha256"]}.</p>
<h2>Benchmark</h2>
{_benchmark(results.bench)}
<h2>The commands</h2>
<pre>{html.escape(chr(10).join(results.commands))}</pre>
</body></html>
"""
    path = results.root / "index.html"
    unfinished = path.with_suffix(".tmp")
    unfinished.write_text(body, encoding="utf-8")
    unfinished.replace(path)
    return path


def _pictures(results: Results) -> str:
    heads = ["relief (input)", *(f"seed {seed}" for seed in results.seeds), "spread", "satellite (target)"]
    rows = ["<tr>" + "".join(f"<th>{head}</th>" for head in heads) + "</tr>"]
    folder = results.root / "pictures"
    files = {
        m.stem: [folder / "spread" / f"{m.stem}-{draw}.png" for draw in range(results.samples)]
        for m in results.maps
    }
    spreads = {stem: _spread(samples) for stem, samples in files.items()}
    top = max(2.0, float(np.quantile(np.stack(list(spreads.values())), 0.995)))
    for source in results.maps:
        cells = [
            _image(source.read_bytes()),
            *(_image((folder / f"http-{seed}" / source.name).read_bytes()) for seed in results.seeds),
            _image(_heat(spreads[source.stem] / top)),
            _image((results.targets / source.name).read_bytes()),
        ]
        rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    return f"""<table class="pictures">{"".join(rows)}</table>
<p class="small">Spread: standard deviation over {results.samples} samples of one seed, in 8-bit levels: black 0,
white {top:.0f} and more. It comes from dropout alone, pix2pix's only noise, which is known to vary little.</p>"""


def _spread(files: list[Path]) -> npt.NDArray[np.float64]:
    """Pixel-wise standard deviation over the files, averaged over the channels, in 8-bit levels [H, W]."""
    stack = np.stack([np.asarray(Image.open(io.BytesIO(file.read_bytes())), dtype=np.float64) for file in files])
    return np.asarray(stack.std(axis=0).mean(axis=-1))


def _heat(shares: npt.NDArray[np.float64]) -> bytes:
    """A PNG of values [H, W]: 0 black, 1 and more white."""
    at = np.clip(shares, 0, 1) * (len(HEAT) - 1)
    colours = np.stack([np.interp(at, np.arange(len(HEAT)), HEAT[:, channel]) for channel in range(3)], axis=-1)
    stream = io.BytesIO()
    Image.fromarray(colours.astype(np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def _judged(evaluation: dict[str, Any]) -> str:
    """The measures as rows, generator, lookup table and truth as columns; the whole story is in the run folder."""
    rows = evaluation["rows"]
    lines = ["<tr><th>measure</th>" + "".join(f"<th class=number>{row['name']}</th>" for row in rows) + "</tr>"]
    for measure in evaluation["measures"]:
        figures = [row["figures"].get(measure["key"]) for row in rows]
        if any(figures):
            cells = "".join(f"<td class=number>{_figure(figure)}</td>" for figure in figures)
            lines.append(f"<tr><td>{html.escape(measure['title'])}</td>{cells}</tr>")
    return f"""<table>{"".join(lines)}</table>
<p class="small">On {evaluation["data"]["pictures"]} pictures. The lookup table gives every pixel the mean colour of
its relief colour: what a generator must beat. Everything about the run:
<a href="runs/satellite/index.html">runs/satellite/index.html</a>.</p>"""


def _figure(figure: dict[str, Any] | None) -> str:
    if figure is None:
        return ""
    return f"{figure['value']:.3g}" if isinstance(figure["value"], float) else str(figure["value"])


def _fidelity(figures: dict[str, dict[str, Any]]) -> str:
    rows = ["<tr><th>check</th><th class=number>measured</th><th class=number>limit</th><th></th></tr>"]
    for key, figure in figures.items():
        value, limit, rule = figure["value"], figure["limit"], figure["rule"]
        good = value <= limit if rule == "<=" else value >= limit
        verdict = "<td class=ok>ok</td>" if good else "<td class=no>failed</td>"
        rows.append(
            f"<tr><td>{MEANINGS.get(key, key)}</td><td class=number>{value:.4g} {figure['unit']}</td>"
            f"<td class=number>{'≤' if rule == '<=' else '≥'} {limit:.4g}</td>{verdict}</tr>"
        )
    return f"<table>{''.join(rows)}</table>"


def _benchmark(bench: dict[str, Any]) -> str:
    heads = ("backend", "p50 ms", "p90 ms", "p99 ms", "images/s", "times PyTorch eager", "PSNR dB", "peak MB")
    rows = ["<tr>" + "".join(f"<th{' class=number' if i else ''}>{h}</th>" for i, h in enumerate(heads)) + "</tr>"]
    for row in bench["rows"]:
        ratio, psnr = row["ratio_to_reference"], row["psnr_db"]
        figures = [
            *(f"{row[key]:.1f}" for key in ("p50_ms", "p90_ms", "p99_ms", "images_per_s")),
            f"{ratio['median']:.2f} ({ratio['q1']:.2f}-{ratio['q3']:.2f})" if ratio else "1",
            f"{psnr:.1f}" if psnr is not None else "reference",
            f"{row['peak_memory_mb']:.0f}" if row["peak_memory_mb"] else "-",
        ]
        cells = "".join(f"<td class=number>{figure}</td>" for figure in figures)
        rows.append(f"<tr><td>{html.escape(row['title'])}</td>{cells}</tr>")
    absent = "".join(f"<br>Absent: {html.escape(a['title'])}: {html.escape(a['reason'])}" for a in bench["absent"])
    where = bench["environment"]
    return (
        f"<table>{''.join(rows)}</table><p class=small>Batch 1, interleaved in one run; the ratio is paired "
        f"round by round, median and quartiles. {html.escape(where['cpu'])}, {where['cores']} cores, "
        f"{html.escape(where['os'])}.{absent}</p>"
    )


def _image(data: bytes) -> str:
    """The picture as WebP: a tenth of the PNG, and no difference to be seen."""
    stream = io.BytesIO()
    Image.open(io.BytesIO(data)).convert("RGB").save(stream, "WEBP", quality=92)
    return f'<img alt="" src="data:image/webp;base64,{base64.b64encode(stream.getvalue()).decode()}">'
