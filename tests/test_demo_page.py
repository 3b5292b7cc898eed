"""The page of examples/satellite: made of what the steps before it leave behind."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.helpers import REPOSITORY
from tests.pages import HOSTILE, check_page

COMMAND = "cgan-train pix2pix --data demo/data/satellite-relief --out demo/runs/satellite --ngf 32 --lr 4e-4"


@pytest.fixture
def demo(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """examples/satellite/page.py, which is no package."""
    path = REPOSITORY / "examples" / "satellite" / "page.py"
    spec = importlib.util.spec_from_file_location("satellite_page", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "satellite_page", module)
    spec.loader.exec_module(module)
    return module


def bench_row(title: str, **changes: Any) -> dict[str, Any]:
    usual = {
        "title": title, "p50_ms": 12.34, "p90_ms": 14.0, "p99_ms": 15.0, "images_per_s": 81.0, "psnr_db": 118.0,
        "ratio_to_reference": {"median": 2.1, "q1": 2.0, "q3": 2.2}, "peak_memory_mb": 200.0, "noisy": False,
        "valid": True,
    }  # fmt: skip
    return {**usual, **changes}


def write(demo: ModuleType, root: Path, rows: list[dict[str, Any]], text: str = "x") -> str:
    """The page of two tiles, two seeds and two samples."""
    rng = np.random.default_rng(0)
    for folder in ("maps", "targets", "images/http-1", "images/http-2", "images/spread"):
        (root / folder).mkdir(parents=True)
    for name in ("a", "b"):
        files = [f"{folder}/{name}" for folder in ("maps", "targets", "images/http-1", "images/http-2")]
        for file in (*files, f"images/spread/{name}-0", f"images/spread/{name}-1"):
            Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(root / f"{file}.png")
    figure = {"value": 150.0, "limit": 80.0, "rule": ">=", "unit": "dB"}
    provenance = {"checkpoint_sha256": "f" * 64}
    results = demo.Results(
        root=root,
        bundle={"digest": "e" * 64, "artifacts": [{"fidelity": {"parity_psnr": figure}}], "provenance": provenance},
        bench={
            "rows": rows,
            "absent": [{"title": text, "reason": "no GPU"}],
            "environment": {"cpu": text, "cores": 2, "os": "Linux"},
        },
        evaluation={
            "measures": [{"key": "psnr", "title": "PSNR", "unit": "dB"}],
            "rows": [{"name": "generator", "figures": {"psnr": {"value": 18.25}}},
                     {"name": "truth", "figures": {"psnr": {"value": "inf"}}}],
        },
        maps=sorted((root / "maps").glob("*.png")),
        targets=root / "targets",
        seeds=(1, 2),
        samples=2,
        identical_files=12,
        commands=[COMMAND, f"cgan-export {text}"],
    )  # fmt: skip
    path = demo.write_page(results)
    assert path == root / "index.html"
    return str(path.read_text(encoding="utf-8"))


def test_everything_of_the_demo_is_on_its_page(demo: ModuleType, tmp_path: Path) -> None:
    page = write(
        demo, tmp_path, [bench_row("PyTorch eager", ratio_to_reference=None, psnr_db=None), bench_row("ORT")]
    )
    elements = check_page(page)
    assert len(elements.all("img")) == 2 * 5
    assert all(a["alt"] for a in elements.all("img"))
    for words in (
        "12 files were compared",
        "2.10 (2.00-2.20)",
        "81.0",
        "150 dB",
        "≥ 80 dB",
        "18.25",
        "∞",
        "e" * 64,
    ):
        assert words in elements.text
    assert elements.commands()[0] == COMMAND.split()
    assert "Noisy" not in page
    assert "noisy" not in page


def test_flags_of_the_benchmark_are_told(demo: ModuleType, tmp_path: Path) -> None:
    rows = [bench_row("a", noisy=True), bench_row("b", valid=False, peak_memory_mb=None), bench_row("c")]
    page = write(demo, tmp_path, rows)
    assert page.count("<small>noisy</small>") == page.count("<small>other images</small>") == 1
    assert "Noisy: the machine was busy" in page
    assert "Other images: " in page


def test_hostile_names_stay_text(demo: ModuleType, tmp_path: Path) -> None:
    elements = check_page(write(demo, tmp_path, [bench_row(HOSTILE)], HOSTILE))
    assert elements.text.count(HOSTILE) == 4  # a backend, one that is absent, the machine, a command
