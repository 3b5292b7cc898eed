"""Run folders as training leaves them, and the checks that every page of a run passes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from cgan_trainer.watching.page import write_page
from PIL import Image

from tests.pages import Elements, check_page

DEFAULTS = {
    "size": 256, "net": "unet", "ngf": 64, "ndf": 64, "lr": 0.0002, "jitter": True, "images": None, "epochs": 100,
    "lambda": {"l1": 100.0, "gan": 1.0}, "channels_last": None,
}  # fmt: skip
ABSENT = object()
GRID = {"columns": ["condition", "seed 0", "seed 1", "seed 2", "target"], "rows": []}
HEADER = "images,epoch,G_GAN,G_L1,D_real,D_fake,val_L1,seconds\n"
ROWS = (
    HEADER + "500,2.041,1.3,19.0,0.53,0.51,0.1616,66.9\n1000,4.082,1.5,15.5,0.50,0.46,0.1596,133.5\n"
    "1500,6.122,1.4,14.5,0.47,0.44,0.1705,205.3\n"
)


def make_run(run: Path, *, metrics: str | None = ROWS, grids: int = 3, **config: object) -> Path:
    """A run folder as training leaves it; `config` replaces entries of config.json, ABSENT leaves them out."""
    (run / "samples").mkdir(parents=True)
    usual = {
        **DEFAULTS, "family": "toy", "data": "data/satellite", "threads": 2, "defaults": DEFAULTS, "grid": GRID,
        "best": {"metric": "val_L1", "better": "lower", "caution": "It favours blur."},
    }  # fmt: skip
    wanted = {name: value for name, value in {**usual, **config}.items() if value is not ABSENT}
    (run / "config.json").write_text(json.dumps(wanted))
    (run / "last.pt").touch()
    if metrics is not None:
        (run / "metrics.csv").write_text(metrics)
    for number in range(1, grids + 1):
        draw_grid(run, 500 * number)
    return run


def draw_grid(run: Path, images: int, *, cell: int = 16) -> None:
    pixels = np.random.default_rng(images).integers(0, 256, (4 * cell, 5 * cell, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(run / "samples" / f"images_{images:08d}.png")


def check(run: Path) -> tuple[str, Elements]:
    """Write the page, and hold it to what every page must be; its links lead to files of the run."""
    page = write_page(run).read_text(encoding="utf-8")
    elements = check_page(page)
    for attributes in elements.all("a"):
        target = attributes["href"] or ""
        assert target.startswith(("#", "samples/")) or target == "evaluation.html"
        assert target.startswith("#") or (run / target).exists()
    return page, elements
