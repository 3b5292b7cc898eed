"""The whole way of two generators, from real images to a page of results: run by `make demo`.

    data -> train -> evaluate -> export -> serve -> generate over HTTP and gRPC -> benchmark -> demo/index.html

The first colours line drawings of emoji (pix2pix), the second draws digits (cDCGAN). Every step is a command that a
user would type, and is skipped when its result is there and its input has not changed. Ctrl-C stops cleanly; the
next run goes on.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any

from commands import asked, done_before, run, server, title, typed
from page import Net, Results, write_page
from PIL import Image
from plan import DIGITS, DRAWINGS, LEAST_MINUTES, MINUTES, Choice, choose, read_plan, write_plan

ROOT = Path("demo")
PLAN = ROOT / "plan.json"
LINES, TARGETS, IMAGES = ROOT / "lines", ROOT / "targets", ROOT / "images"
BENCH = ROOT / "bench.json"
TASKS = {task.name: task for task in (DIGITS, DRAWINGS)}
DATA = {name: ROOT / "data" / name for name in TASKS}
RUNS = {name: ROOT / "runs" / name for name in TASKS}
BUNDLES = {name: ROOT / "bundles" / name for name in TASKS}
SEEDS = (1, 2, 3)
SPREAD_SAMPLES = 16
DIGIT_SAMPLES = 10
SHOWN = 8
GROUPS = ("animals-nature", "food-drink", "objects", "smileys-emotion", "travel-places", "activities")


def main() -> int:
    """Run every step; returns the exit code."""
    started = time.monotonic()
    ROOT.mkdir(exist_ok=True)
    try:
        make_data()
        choices = plan()
        for name, choice in choices.items():
            train(name, choice)
            judge(name)
            export(name)
        choose_drawings()
        with server(*BUNDLES.values()) as (http, grpc):
            identical = translate(http, grpc) + generate(http, grpc)
        benchmark()
    except subprocess.CalledProcessError as error:
        print(
            f"\ndemo: {Path(error.cmd[0]).name} ended with exit code {error.returncode}; see above.",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        print("\ndemo: stopped; `make demo` goes on from here.", file=sys.stderr)
        return 130
    page = write_page(
        Results(
            root=ROOT,
            nets={name: net(name, choices[name]) for name in ("drawings", "digits")},
            bench=json.loads(BENCH.read_text()),
            lines=sorted(LINES.glob("*.png")),
            targets=TARGETS,
            images=IMAGES,
            seeds=SEEDS,
            samples=SPREAD_SAMPLES,
            digit_samples=DIGIT_SAMPLES,
            identical_files=identical,
            attribution=json.loads((DATA["drawings"] / "dataset.json").read_text())["licence"],
            commands=typed,
        )
    )
    print(f"\n{page} is ready ({(time.monotonic() - started) / 60:.1f} minutes). Open it in a browser.")
    return 0


def make_data() -> None:
    """OpenMoji's drawings, each as lines and in colours, and handwritten digits."""
    title("data: drawings of emoji and handwritten digits")
    run("cgan-data", "emoji", "--out", DATA["drawings"])
    run("cgan-data", "mnist-5k", "--out", DATA["digits"])


def plan() -> dict[str, Choice]:
    """What this machine finishes in the time there is; a choice whose training has begun stays."""
    title("plan: a few training steps, to see how fast this machine is now")
    choices: dict[str, Choice] = {}
    for name, task in TASKS.items():
        choice = read_plan(PLAN, task) if (RUNS[name] / "last.pt").exists() else None
        if choice is None:
            shutil.rmtree(RUNS[name], ignore_errors=True)
            spent = sum(other.expected_minutes for other in choices.values())
            # The digits take a third at most: the drawings have more to learn.
            minutes = max(LEAST_MINUTES, MINUTES - spent) if choices else MINUTES / 3
            choice = choose(task, minutes, os.cpu_count() or 1, partial(speed, name))
        choices[name] = choice
        print(f"{name}: {choice.sentence}", flush=True)
    write_plan(PLAN, choices)
    return choices


def speed(name: str, size: int, threads: int) -> float:
    """Training images a second, by a dry run: a few real steps."""
    told = json.loads(asked("cgan-train", *options(name, size, threads), "--dry-run"))
    return float(told["images_per_s"])


def options(name: str, size: int, threads: int) -> tuple[object, ...]:
    """The training, but for its length."""
    where = ("--data", DATA[name], "--out", RUNS[name], "--threads", threads, "--no-evaluate")
    if name == "digits":
        return (
            "cdcgan", *where, "--width", 16, "--lambda-ms", 0.1, "--lr", "5e-4", "--ema", "0.99",
            "--save-images", 20000,
        )  # fmt: skip
    # A discriminator that sees the same part of the image at either size.
    patch = 70 if size >= 128 else 34
    return (
        "pix2pix", *where, "--size", size, "--ngf", 32, "--ndf", 32, "--patch", patch, "--norm", "instance",
        "--upsample", "resize", "--batch", 4, "--lr", "4e-4", "--lambda-l1", 25, "--ema", "0.99",
    )  # fmt: skip


def train(name: str, choice: Choice) -> None:
    """An interrupted training is resumed, and one that is complete says so; neither is begun again."""
    title(f"train {name}: {choice.images:,} images")
    limit = round(2 * max(choice.minutes, choice.expected_minutes))  # for a machine that gets busy meanwhile
    words = (*options(name, choice.size, choice.threads), "--images", choice.images, "--max-minutes", limit)
    run("cgan-train", *words, *(("--resume",) if (RUNS[name] / "last.pt").exists() else ()))


def judge(name: str) -> None:
    """Held-out images, beside a baseline and the truth."""
    few = ("--images", "48", "--seeds", "4") if name == "drawings" else ()
    words = ("cgan-train", "evaluate", RUNS[name], *few)
    found = RUNS[name] / "evaluation.json"
    if found.exists() and json.loads(found.read_text())["weights"]["sha256"] == digest(RUNS[name] / "last.pt"):
        done_before(*words, because="already judged")
        return
    run(*words)


def export(name: str) -> None:
    """The last weights become a verified bundle."""
    checkpoint, bundle = RUNS[name] / "last.pt", BUNDLES[name]
    words: tuple[object, ...] = ("cgan-export", checkpoint, "-o", bundle, "--name", name)
    manifest = bundle / "bundle.json"
    if manifest.exists():
        if json.loads(manifest.read_text())["provenance"]["checkpoint_sha256"] == digest(checkpoint):
            done_before(*words, because="already exported; verifying")
            run("cgan-export", "verify", bundle)
            return
        words = (*words, "--force")
    run(*words)


def choose_drawings() -> None:
    """Lines and colours of test drawings: from each group in turn the one with most to see, no drawing twice."""
    listed = json.loads((DATA["drawings"] / "dataset.json").read_text())["drawings"]
    test = sorted((one for one in listed if one["split"] == "test"), key=variety, reverse=True)
    by_group = [[one for one in test if one["group"] == group] for group in GROUPS]
    chosen = [one for turn in zip_longest(*by_group) for one in turn if one is not None][:SHOWN]
    for folder in (LINES, TARGETS, IMAGES):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    for one in chosen:
        with pair_of(one) as pair:
            side = pair.height
            pair.crop((0, 0, side, side)).save(LINES / f"{one['file']}.png")
            pair.crop((side, 0, 2 * side, side)).save(TARGETS / f"{one['file']}.png")


def pair_of(drawing: dict[str, Any]) -> Image.Image:
    """A test pair: lines in the left half, colours in the right."""
    return Image.open(DATA["drawings"] / "test" / f"{drawing['file']}.png")


def variety(drawing: dict[str, Any]) -> int:
    """How many colours cover at least a hundredth of the drawing."""
    with pair_of(drawing) as pair:
        side = pair.height
        colours = pair.crop((side, 0, 2 * side, side)).getcolors(side * side)
    return sum(count >= side * side / 100 for count, _ in colours or [])


def translate(http: str, grpc: str) -> int:
    """Held-out drawings under three seeds, three ways; returns the files compared."""
    title("colour held-out drawings: three seeds, over HTTP and gRPC and from the bundle")
    compared = 0
    for seed in SEEDS:
        for way, words in ways(http, grpc, "drawings").items():
            run("cgan-translate", LINES, *words, "--seed", seed, "-o", IMAGES / f"{way}-{seed}", quiet=True)
        compared += same_files([IMAGES / f"{way}-{seed}" for way in ("http", "grpc", "local")])
    many = ("--url", grpc, "--model", "drawings", "--seed", 7, "--samples", SPREAD_SAMPLES)
    run("cgan-translate", LINES, *many, "-o", IMAGES / "spread", quiet=True)
    return compared


def generate(http: str, grpc: str) -> int:
    """Every digit, one seed, three ways; returns the files compared."""
    title("draw every digit: over HTTP and gRPC and from the bundle")
    compared = 0
    for label in range(10):
        folders = []
        for way, words in ways(http, grpc, "digits").items():
            folders.append(IMAGES / f"digits-{way}" / str(label))
            asked_for = ("--label", label, "--samples", DIGIT_SAMPLES, "--seed", 1)
            run("cgan-generate", *words, *asked_for, "-o", folders[-1], quiet=True, kept=label == 7)
        compared += same_files(folders)
    print(f"{compared} files compared: the same bytes over HTTP, over gRPC and from the bundle.", flush=True)
    return compared


def ways(http: str, grpc: str, name: str) -> dict[str, tuple[object, ...]]:
    """Where the same generator can be asked."""
    return {
        "http": ("--url", http, "--model", name),
        "grpc": ("--url", grpc, "--model", name),
        "local": ("--bundle", BUNDLES[name]),
    }


def same_files(folders: list[Path]) -> int:
    """Compare folders file by file; returns how many files.

    Raises:
        SystemExit: one differs, or is missing.
    """
    names = sorted(path.name for path in folders[0].glob("*.png"))
    for name in names:
        if len({(folder / name).read_bytes() for folder in folders}) != 1:
            raise SystemExit(f"demo: {name} differs between {', '.join(map(str, folders))}")
    return len(names) * len(folders)


def benchmark() -> None:
    """Latency at batch 1 beside PyTorch."""
    title("benchmark: batch 1, beside PyTorch")
    bundle = BUNDLES["drawings"]
    # A number of rounds: with --seconds it would fail where the machine is too busy for the ratios to settle.
    how = ("--batch", "1", "--rounds", "100")
    words = ("cgan-bench", bundle, "--checkpoint", RUNS["drawings"] / "last.pt", *how, "--out", BENCH)
    mark = ROOT / "bench.bundle"
    current = json.loads((bundle / "bundle.json").read_text())["digest"]
    if BENCH.exists() and mark.exists() and mark.read_text() == current:
        done_before(*words, because="already measured for this bundle")
        return
    run(*words)
    mark.write_text(current)


def net(name: str, choice: Choice) -> Net:
    """What the page says of one generator."""
    return Net(
        run=RUNS[name].relative_to(ROOT),
        bundle=json.loads((BUNDLES[name] / "bundle.json").read_text()),
        evaluation=json.loads((RUNS[name] / "evaluation.json").read_text()),
        chosen=choice.sentence,
    )


def digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    sys.exit(main())
