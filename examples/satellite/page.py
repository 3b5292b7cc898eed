"""demo/index.html: one file that can be mailed, with every image inside it."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from cgan_export.report.page import figures_table
from cgan_runtime import pages
from cgan_runtime.manifest import Figure
from cgan_runtime.pages import CaptionedImage, Cell, Exhibit, Table, data_uri
from cgan_trainer.watching.tables import evaluation_notes, evaluation_tables
from PIL import Image

__all__ = ["Results", "write_page"]

TEMPLATE: Final = Path(__file__).with_name("demo.html.j2")
# Black, violet, orange, yellow, white: dark where the seeds agree, bright where they differ.
HEAT: Final = np.array([[0, 0, 0], [80, 20, 120], [220, 80, 50], [250, 200, 60], [255, 255, 255]], dtype=np.float64)


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
    path = results.root / "index.html"
    spreads = {source.stem: _spread(results, source) for source in results.maps}
    top = max(2.0, float(np.quantile(np.stack(list(spreads.values())), 0.995)))
    bench = results.bench
    pages.write_page(
        path,
        TEMPLATE,
        title="From a relief to a satellite image",
        kicker="cgan-deploy demo",
        results=results,
        tiles=[_tile(results, source, spreads[source.stem] / top) for source in results.maps],
        top=f"{top:.0f}",
        evaluation=evaluation_tables(results.evaluation),
        evaluation_notes=evaluation_notes(results.evaluation),
        fidelity=figures_table(
            {
                key: Figure.model_validate(figure)
                for key, figure in results.bundle["artifacts"][0]["fidelity"].items()
            }
        ),
        bench=_bench_table(bench["rows"]),
        bench_notes=[
            *_bench_notes(bench["rows"]),
            *(f"Absent: {absent['title']}: {absent['reason']}" for absent in bench["absent"]),
        ],
        machine="{cpu}, {cores} cores, {os}".format(**bench["environment"]),
        commands=[line.split(" ") for line in results.commands],
    )
    return path


def _tile(results: Results, source: Path, spread: npt.NDArray[np.float64]) -> Exhibit:
    """One map: what was given, the seeds, where they differ, and what is really there."""
    made = [
        (f"seed {seed}", _open(results.root / "images" / f"http-{seed}" / source.name)) for seed in results.seeds
    ]
    images = [
        ("relief (input)", _open(source)),
        *made,
        ("spread", _heat(spread)),
        ("satellite (target)", _open(results.targets / source.name)),
    ]
    return Exhibit(
        images=tuple(
            CaptionedImage(uri=data_uri(image, quality=92), heading=heading, alt=f"{heading} of tile {source.stem}")
            for heading, image in images
        )
    )


def _open(path: Path) -> Image.Image:
    return Image.open(io.BytesIO(path.read_bytes())).convert("RGB")


def _spread(results: Results, source: Path) -> npt.NDArray[np.float64]:
    """Pixel-wise standard deviation over the samples, averaged over the channels, in 8-bit levels [H, W]."""
    folder = results.root / "images" / "spread"
    files = [folder / f"{source.stem}-{draw}.png" for draw in range(results.samples)]
    stack = np.stack([np.asarray(_open(file), dtype=np.float64) for file in files])
    return np.asarray(stack.std(axis=0).mean(axis=-1))


def _heat(shares: npt.NDArray[np.float64]) -> Image.Image:
    """Values [H, W] as colours: 0 black, 1 and more white."""
    at = np.clip(shares, 0, 1) * (len(HEAT) - 1)
    colours = np.stack([np.interp(at, np.arange(len(HEAT)), HEAT[:, channel]) for channel in range(3)], axis=-1)
    return Image.fromarray(colours.astype(np.uint8))


def _bench_table(rows: list[dict[str, Any]]) -> Table:
    return Table(
        heads=("backend", "p50 ms", "p90 ms", "p99 ms", "images/s", "times PyTorch eager", "PSNR dB", "peak MB"),
        rows=tuple(_bench_row(row) for row in rows),
    )


def _bench_row(row: dict[str, Any]) -> tuple[str | Cell, ...]:
    ratio, psnr = row["ratio_to_reference"], row["psnr_db"]
    flags = [word for word, raised in (("noisy", row["noisy"]), ("other images", not row["valid"])) if raised]
    return (
        Cell(text=row["title"], note=", ".join(flags)),
        *(f"{row[key]:.1f}" for key in ("p50_ms", "p90_ms", "p99_ms")),
        f"{row['images_per_s']:.1f}",
        f"{ratio['median']:.2f} ({ratio['q1']:.2f}-{ratio['q3']:.2f})" if ratio else "1",
        f"{psnr:.1f}" if psnr is not None else "reference",
        f"{row['peak_memory_mb']:.0f}" if row["peak_memory_mb"] else "-",
    )


def _bench_notes(rows: list[dict[str, Any]]) -> list[str]:
    """What the flags of the rows mean, where there are any."""
    notes = []
    if any(row["noisy"] for row in rows):
        notes.append("Noisy: the machine was busy with other things, so the figures are only rough.")
    if any(not row["valid"] for row in rows):
        notes.append("Other images: the outputs are further from PyTorch's than the limit.")
    return notes
