"""The demo, examples/emoji: what it chooses for a machine, and its page."""

from __future__ import annotations

import base64
import importlib.util
import io
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.helpers import REPOSITORY
from tests.pages import HOSTILE, check_page

COMMAND = "cgan-train pix2pix --data demo/data/drawings --out demo/runs/drawings --ngf 32 --lr 4e-4"


def module_of(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A file of examples/emoji, which is no package."""
    path = REPOSITORY / "examples" / "emoji" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"emoji_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, f"emoji_{name}", module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def demo(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return module_of("page", monkeypatch)


@pytest.fixture
def plan(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return module_of("plan", monkeypatch)


def bench_row(title: str, **changes: Any) -> dict[str, Any]:
    usual = {
        "title": title, "p50_ms": 12.34, "p90_ms": 14.0, "p99_ms": 15.0, "images_per_s": 81.0, "psnr_db": 118.0,
        "ratio_to_reference": {"median": 2.1, "q1": 2.0, "q3": 2.2}, "peak_memory_mb": 200.0, "noisy": False,
        "valid": True, "verdict": "not judged",
    }  # fmt: skip
    return {**usual, **changes}


def write(
    demo: ModuleType,
    root: Path,
    rows: list[dict[str, Any]],
    text: str = "x",
    training: dict[str, object] | None = None,
) -> str:
    """The page of two drawings, two seeds and two samples, and of two images of each digit."""
    rng = np.random.default_rng(0)
    images = root / "images"
    for folder in ("lines", "targets", "images/http-1", "images/http-2", "images/spread"):
        (root / folder).mkdir(parents=True)
    for name in ("red-apple", "b"):
        files = [f"{folder}/{name}" for folder in ("lines", "targets", "images/http-1", "images/http-2")]
        for file in (*files, f"images/spread/{name}-0", f"images/spread/{name}-1"):
            Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(root / f"{file}.png")
    for label in range(10):
        drawn = images / "digits-http" / str(label)
        drawn.mkdir(parents=True)
        for draw in range(2):
            Image.fromarray(np.full((32, 32), 20 * label, dtype=np.uint8)).save(drawn / f"digits-{draw}.png")
    figure = {"value": 150.0, "limit": 80.0, "rule": ">=", "unit": "dB"}
    evaluation = {
        "measures": [{"key": "psnr", "title": "PSNR", "unit": "dB"}],
        "rows": [{"name": "generator", "figures": {"psnr": {"value": 18.25}}},
                 {"name": "truth", "figures": {"psnr": {"value": "inf"}}}],
    }  # fmt: skip
    nets = {
        name: demo.Net(
            run=Path("runs") / name,
            bundle={
                "digest": letter * 64,
                "artifacts": [{"fidelity": {"parity_psnr": figure}}],
                "provenance": {
                    "checkpoint_sha256": "f" * 64,
                    "training": (training or {}) if name == "drawings" else {},
                },
            },
            evaluation=evaluation,
            chosen=f"4,700 images were chosen for {name}.",
        )
        for name, letter in (("drawings", "e"), ("digits", "d"))
    }
    results = demo.Results(
        root=root,
        nets=nets,
        bench={
            "rows": rows,
            "absent": [{"title": text, "reason": "no GPU"}],
            "environment": {"cpu": text, "cores": 2, "os": "Linux"},
        },
        lines=sorted((root / "lines").glob("*.png")),
        targets=root / "targets",
        images=images,
        seeds=(1, 2),
        samples=2,
        digit_samples=2,
        identical_files=12,
        attribution="All emojis designed by OpenMoji. License: CC BY-SA 4.0",
        commands=[COMMAND, f"cgan-export {text}"],
    )
    path = demo.write_page(results)
    assert path == root / "index.html"
    return str(path.read_text(encoding="utf-8"))


def test_everything_of_the_demo_is_on_its_page(demo: ModuleType, tmp_path: Path) -> None:
    page = write(
        demo, tmp_path, [bench_row("PyTorch eager", ratio_to_reference=None, psnr_db=None), bench_row("ORT")]
    )
    elements = check_page(page)
    assert len(elements.all("img")) == 2 * 6 - 2 + 1
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
        "d" * 64,
        "red apple",
        "4,700 images were chosen for drawings.",
        "CC BY-SA 4.0",
    ):
        assert words in elements.text
    assert elements.commands()[0] == COMMAND.split()
    assert "not finished" not in page
    assert "Noisy" not in page
    assert "noisy" not in page


def test_flags_of_the_benchmark_are_told(demo: ModuleType, tmp_path: Path) -> None:
    rows = [bench_row("a", noisy=True), bench_row("b", valid=False, peak_memory_mb=None), bench_row("c")]
    page = write(demo, tmp_path, rows)
    assert page.count("<small>noisy</small>") == page.count("<small>other images</small>") == 1
    assert "Noisy: the machine was busy" in page
    assert "Other images: " in page
    assert "Busy: " not in page


def test_a_busy_machine_gives_no_ratio(demo: ModuleType, tmp_path: Path) -> None:
    text = check_page(write(demo, tmp_path, [bench_row("a", verdict="noisy")])).text
    assert "Busy: other processes" in text
    assert "2.10 (2.00-2.20)" not in text


def test_hostile_names_stay_text(demo: ModuleType, tmp_path: Path) -> None:
    elements = check_page(write(demo, tmp_path, [bench_row(HOSTILE)], HOSTILE))
    assert elements.text.count(HOSTILE) == 4  # a backend, one that is absent, the machine, a command


def test_an_unfinished_net_is_not_shown_as_a_finished_one(demo: ModuleType, tmp_path: Path) -> None:
    stopped = {"images": 1765, "planned_images": 2200, "stopped_by": "time limit"}
    text = check_page(write(demo, tmp_path, [bench_row("a")], training=stopped)).text
    assert text.count("This net is not finished.") == 1
    assert "1,765 of the 2,200 images" in text
    assert text.index("Line drawings, coloured") < text.index("not finished") < text.index("Digits, drawn")


def test_the_rows_of_digits_are_in_the_order_of_the_digits(demo: ModuleType, tmp_path: Path) -> None:
    page = write(demo, tmp_path, [bench_row("a")])
    (uri,) = [str(a["src"]) for a in check_page(page).all("img") if "a row for each digit" in str(a["alt"])]
    grid = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("L"))
    height = grid.shape[0] // 10
    found = [int(grid[height * row + height // 2, 20]) for row in range(10)]
    assert found == pytest.approx([20 * label for label in range(10)], abs=4)  # the page's images are compressed


def measured(speeds: dict[tuple[int, int], float]) -> Callable[[int, int], float]:
    return lambda size, threads: speeds[size, threads]


def test_a_fast_machine_takes_large_images_and_no_more_than_help(plan: ModuleType) -> None:
    choice = plan.choose(plan.DRAWINGS, 4.0, 2, measured({(128, 2): 500.0, (128, 1): 260.0}))
    assert (choice.size, choice.threads, choice.images) == (128, 2, 6000)


def test_the_images_fit_the_minutes_by_the_faster_number_of_threads(plan: ModuleType) -> None:
    choice = plan.choose(plan.DRAWINGS, 4.0, 2, measured({(128, 2): 3.0, (128, 1): 14.0}))
    assert (choice.size, choice.threads) == (128, 1)
    assert plan.DRAWINGS.candidates[0].least <= choice.images < 14 * 4 * 60
    assert choice.expected_minutes <= 4
    assert "14 training images a second were measured here at 128 pixels with 1 thread:" in choice.sentence


def test_a_slow_machine_takes_smaller_images(plan: ModuleType) -> None:
    speeds = {(128, 2): 6.0, (128, 1): 5.0, (64, 2): 20.0, (64, 1): 18.0}
    choice = plan.choose(plan.DRAWINGS, 4.0, 2, measured(speeds))
    assert (choice.size, choice.threads) == (64, 2)
    assert choice.expected_minutes <= 4


def test_a_machine_too_slow_for_all_is_told_how_long_it_takes(plan: ModuleType) -> None:
    speeds = {(128, 1): 1.0, (64, 1): 2.0}
    choice = plan.choose(plan.DRAWINGS, 4.0, 1, measured(speeds))
    assert (choice.size, choice.images) == (64, 2400)
    assert choice.expected_minutes == pytest.approx(20)
    assert choice.sentence.startswith("2.0 training images a second were measured")
    assert "about 20.0 minutes, more than the 4.0 meant" in choice.sentence


def test_a_plan_is_kept_and_a_damaged_one_made_again(plan: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    assert plan.read_plan(path, plan.DRAWINGS) is None
    choice = plan.choose(plan.DRAWINGS, 4.0, 1, measured({(128, 1): 20.0}))
    plan.write_plan(path, {"drawings": choice})
    assert plan.read_plan(path, plan.DRAWINGS) == choice
    assert plan.read_plan(path, plan.DIGITS) is None
    path.write_text("{")
    assert plan.read_plan(path, plan.DRAWINGS) is None
