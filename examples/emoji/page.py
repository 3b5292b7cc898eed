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
from cgan_trainer.unfinished import unfinished
from cgan_trainer.watching.tables import evaluation_notes, evaluation_tables
from PIL import Image

__all__ = ["Net", "Results", "write_page"]

TEMPLATE: Final = Path(__file__).with_name("demo.html.j2")
# Black, violet, orange, yellow, white: dark where the seeds agree, bright where they differ.
HEAT: Final = np.array([[0, 0, 0], [80, 20, 120], [220, 80, 50], [250, 200, 60], [255, 255, 255]], dtype=np.float64)


@dataclass(frozen=True, kw_only=True)
class Net:
    """One generator.

    Attributes:
        run: its run folder, from the page.
        bundle: its bundle.json.
        evaluation: its evaluation.json.
        chosen: a sentence on size, threads and images.
    """

    run: Path
    bundle: dict[str, Any]
    evaluation: dict[str, Any]
    chosen: str

    @property
    def unfinished(self) -> str:
        """A sentence where its training is not complete; else empty."""
        return unfinished(self.bundle["provenance"]["training"])


@dataclass(frozen=True, kw_only=True)
class Results:
    """What the demo made, as files and parsed JSON.

    Attributes:
        root: gets the page.
        nets: "drawings" and "digits".
        bench: what cgan-bench measured of the drawings' bundle.
        lines: the line drawings.
        targets: folder of their colours, by the same names.
        images: folder of what was generated.
        seeds: of the coloured drawings.
        samples: how many the spread is taken over.
        digit_samples: images of each digit.
        identical_files: how many files were compared and found equal.
        attribution: who drew the drawings, and their licence.
        commands: what was typed.
    """

    root: Path
    nets: dict[str, Net]
    bench: dict[str, Any]
    lines: list[Path]
    targets: Path
    images: Path
    seeds: tuple[int, ...]
    samples: int
    digit_samples: int
    identical_files: int
    attribution: str
    commands: list[str]


def write_page(results: Results) -> Path:
    """Write index.html in one step; returns its path."""
    path = results.root / "index.html"
    spreads = {source.stem: _spread(results, source) for source in results.lines}
    top = max(2.0, float(np.quantile(np.stack(list(spreads.values())), 0.995)))
    bench = results.bench
    pages.write_page(
        path,
        TEMPLATE,
        title="Emoji coloured, digits drawn",
        kicker="cgan-deploy demo",
        results=results,
        drawings=[_drawing(results, source, spreads[source.stem] / top) for source in results.lines],
        digits=_digits(results),
        top=f"{top:.0f}",
        evaluations={name: evaluation_tables(net.evaluation) for name, net in results.nets.items()},
        evaluation_notes={name: evaluation_notes(net.evaluation) for name, net in results.nets.items()},
        fidelity={name: _fidelity(net.bundle) for name, net in results.nets.items()},
        bench=_bench_table(bench["rows"]),
        bench_notes=[
            *_bench_notes(bench["rows"]),
            *(f"Absent: {absent['title']}: {absent['reason']}" for absent in bench["absent"]),
        ],
        machine="{cpu}, {cores} cores, {os}".format(**bench["environment"]),
        commands=[line.split(" ") for line in results.commands],
    )
    return path


def _fidelity(bundle: dict[str, Any]) -> Table:
    figures = bundle["artifacts"][0]["fidelity"]
    return figures_table({key: Figure.model_validate(figure) for key, figure in figures.items()})


def _drawing(results: Results, source: Path, spread: npt.NDArray[np.float64]) -> Exhibit:
    """One drawing: its lines, the seeds, where they differ, and the colours that it has."""
    made = [(f"seed {seed}", _open(results.images / f"http-{seed}" / source.name)) for seed in results.seeds]
    images = [
        ("lines (input)", _open(source)),
        *made,
        ("spread", _heat(spread)),
        ("OpenMoji (target)", _open(results.targets / source.name)),
    ]
    name = source.stem.replace("-", " ")
    return Exhibit(
        caption=(name,),
        images=tuple(
            CaptionedImage(uri=data_uri(image), heading=heading, alt=f"{heading} of {name}")
            for heading, image in images
        ),
    )


def _digits(results: Results) -> CaptionedImage:
    """A row for each digit, a column for each sample; on a grey of its own, so that cells can be told apart."""
    rows = []
    for label in range(10):
        folder = results.images / "digits-http" / str(label)
        # Sorted by the number of the draw: "digits-10" comes after "digits-9".
        files = sorted(folder.glob("*.png"), key=lambda path: (len(path.name), path.name))
        rows.append([np.asarray(Image.open(io.BytesIO(file.read_bytes())).convert("L")) for file in files])
    grid = np.concatenate([np.concatenate([np.pad(cell, 1) for cell in row], axis=1) for row in rows])
    image = Image.fromarray(grid)
    image = image.resize((image.width * 2, image.height * 2), Image.Resampling.NEAREST)
    alt = f"a row for each digit from 0 to 9, {results.digit_samples} different handwritten ones in each"
    return CaptionedImage(
        uri=data_uri(image), heading="A row for each digit; a column for each sample of seed 1.", alt=alt
    )


def _open(path: Path) -> Image.Image:
    return Image.open(io.BytesIO(path.read_bytes())).convert("RGB")


def _spread(results: Results, source: Path) -> npt.NDArray[np.float64]:
    """Pixel-wise standard deviation over the samples, averaged over the channels, in 8-bit levels [H, W]."""
    files = [results.images / "spread" / f"{source.stem}-{draw}.png" for draw in range(results.samples)]
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
    ratio, psnr, busy = row["ratio_to_reference"], row["psnr_db"], row.get("verdict") == "noisy"
    flags = [word for word, raised in (("noisy", row["noisy"]), ("other images", not row["valid"])) if raised]
    return (
        Cell(text=row["title"], note=", ".join(flags)),
        *(f"{row[key]:.1f}" for key in ("p50_ms", "p90_ms", "p99_ms")),
        f"{row['images_per_s']:.1f}",
        "1" if not ratio else "busy" if busy else f"{ratio['median']:.2f} ({ratio['q1']:.2f}-{ratio['q3']:.2f})",
        f"{psnr:.1f}" if psnr is not None else "reference",
        f"{row['peak_memory_mb']:.0f}" if row["peak_memory_mb"] else "-",
    )


def _bench_notes(rows: list[dict[str, Any]]) -> list[str]:
    """What the flags of the rows mean, where there are any."""
    notes = []
    if any(row.get("verdict") == "noisy" for row in rows):
        notes.append("Busy: other processes used so much of the machine that no ratio is given.")
    if any(row["noisy"] for row in rows):
        notes.append("Noisy: the machine was busy with other things, so the figures are only rough.")
    if any(not row["valid"] for row in rows):
        notes.append("Other images: the outputs are further from PyTorch's than the limit.")
    return notes
