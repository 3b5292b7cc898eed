"""The whole way of a generator, from real images to a page of results: run by `make demo`.

    data -> train -> evaluate -> export -> serve -> translate over HTTP and gRPC -> benchmark -> demo/index.html

Every step is a command that a user would type, and is skipped when its result is there and its input has not
changed. Ctrl-C stops cleanly; the next run goes on.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from page import Results, write_page
from PIL import Image

ROOT = Path("demo")
DATA = ROOT / "data" / "satellite-relief"
RUN = ROOT / "runs" / "satellite"
BUNDLE = ROOT / "satellite"
MAPS = ROOT / "maps"
IMAGES = ROOT / "images"
BENCH = ROOT / "bench.json"
SEEDS = (1, 2, 3)
SPREAD_SAMPLES = 16
TILES = 6

# A budget for two CPU cores: the learning rate falls over the last part of the images.
TRAINING = (
    "--ngf", "32", "--ndf", "16", "--lr", "4e-4", "--ema", "0.99", "--images", "2200", "--max-minutes", "6",
    "--no-evaluate",
)  # fmt: skip
BIN = Path(sys.executable).parent


def main() -> int:
    """Run every step; returns the exit code."""
    started = time.monotonic()
    ROOT.mkdir(exist_ok=True)
    try:
        make_data()
        train()
        judge()
        export()
        choose_maps()
        with server() as (http, grpc):
            identical = translate(http, grpc)
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
            bundle=json.loads((BUNDLE / "bundle.json").read_text()),
            bench=json.loads(BENCH.read_text()),
            evaluation=json.loads((RUN / "evaluation.json").read_text()),
            maps=sorted(MAPS.glob("*.png")),
            targets=ROOT / "targets",
            seeds=SEEDS,
            samples=SPREAD_SAMPLES,
            identical_files=identical,
            commands=commands,
        )
    )
    print(f"\n{page} is ready ({(time.monotonic() - started) / 60:.1f} minutes). Open it in a browser.")
    return 0


commands: list[str] = []


def make_data() -> None:
    """Real relief and satellite tiles of the Earth, split by longitude."""
    title("data: a shaded relief and the Blue Marble, cut into pairs")
    run("cgan-data", "satellite-relief", "--out", DATA)


def train() -> None:
    """A small pix2pix generator; an interrupted training is resumed."""
    title("training: pix2pix on the CPU, a few minutes")
    done = RUN / "finished.txt"
    words = ("cgan-train", "pix2pix", "--data", DATA, "--out", RUN, *TRAINING)
    if done.exists() and done.read_text() == " ".join(TRAINING):
        note(words, "already trained")
        return
    if done.exists():  # trained with another budget, by an older version of this script
        shutil.rmtree(RUN)
    run(*words, *(("--resume",) if (RUN / "last.pt").exists() else ()))
    done.write_text(" ".join(TRAINING))


def judge() -> None:
    """A few held-out images are enough to see what the minutes were worth."""
    title("evaluate: held-out images, beside a lookup table and the truth")
    words = ("cgan-train", "evaluate", RUN, "--images", "24", "--seeds", "4")
    found = RUN / "evaluation.json"
    sha256 = hashlib.sha256((RUN / "last.pt").read_bytes()).hexdigest()
    if found.exists() and json.loads(found.read_text())["weights"]["sha256"] == sha256:
        note(words, "already judged")
        return
    run(*words)


def export() -> None:
    """The last weights: validation L1, which picks best.pt, prefers blur."""
    title("export: the checkpoint becomes a verified bundle")
    checkpoint = RUN / "last.pt"
    words: tuple[object, ...] = ("cgan-export", checkpoint, "-o", BUNDLE, "--name", "satellite")
    manifest = BUNDLE / "bundle.json"
    if manifest.exists():
        sha256 = json.loads(manifest.read_text())["provenance"]["checkpoint_sha256"]
        if sha256 == hashlib.sha256(checkpoint.read_bytes()).hexdigest():
            note(words, "already exported; verifying")
            run("cgan-export", "--verify", BUNDLE)
            return
        words = (*words, "--force")
    run(*words)


def choose_maps() -> None:
    """Map and satellite halves of held-out tiles: those with most to see, no two of them overlapping."""
    listed = json.loads((DATA / "dataset.json").read_text())["tiles"]
    tiles = sorted((tile for tile in listed if tile["split"] == "test"), key=variety, reverse=True)
    chosen: list[dict[str, Any]] = []
    for tile in tiles:
        if len(chosen) < TILES and not any(overlap(tile["box"], other["box"]) for other in chosen):
            chosen.append(tile)
    for folder in (MAPS, ROOT / "targets", IMAGES):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    for tile in chosen:
        with Image.open(DATA / "test" / tile["file"]) as pair:
            side = pair.height
            pair.crop((0, 0, side, side)).save(MAPS / tile["file"])
            pair.crop((side, 0, 2 * side, side)).save(ROOT / "targets" / tile["file"])


def variety(tile: dict[str, Any]) -> float:
    """Entropy of the map's grey levels in bits: coasts and mountains have much, deserts and open sea little."""
    with Image.open(DATA / "test" / tile["file"]) as pair:
        return float(pair.crop((0, 0, pair.height, pair.height)).convert("L").entropy())


def overlap(a: list[int], b: list[int]) -> bool:
    """Whether two boxes (left, top, right, bottom) share a pixel."""
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def translate(http: str, grpc: str) -> int:
    """Held-out maps under three seeds over HTTP and gRPC and from the bundle; returns the files compared.

    Raises:
        SystemExit: two ways gave different files for one seed.
    """
    title("translate: held-out tiles, three seeds, over HTTP and gRPC")
    compared = 0
    for seed in SEEDS:
        ways = {
            "http": ("--url", http, "--model", "satellite"),
            "grpc": ("--url", grpc, "--model", "satellite"),
            "local": ("--bundle", BUNDLE),
        }
        for way, words in ways.items():
            run("cgan-translate", MAPS, *words, "--seed", seed, "-o", IMAGES / f"{way}-{seed}", quiet=True)
        for image in sorted((IMAGES / f"http-{seed}").glob("*.png")):
            files = {(IMAGES / f"{way}-{seed}" / image.name).read_bytes() for way in ways}
            if len(files) != 1:
                raise SystemExit(f"demo: {image.name} with seed {seed} differs between {', '.join(ways)}")
            compared += len(ways)
    many = ("--url", grpc, "--model", "satellite", "--seed", 7, "--samples", SPREAD_SAMPLES)
    run("cgan-translate", MAPS, *many, "-o", IMAGES / "spread", quiet=True)
    print(f"{compared} files compared: the same bytes over HTTP, over gRPC and from the bundle.")
    return compared


def benchmark() -> None:
    """Latency at batch 1 beside PyTorch."""
    title("benchmark: batch 1, beside PyTorch")
    words = ("cgan-bench", BUNDLE, "--checkpoint", RUN / "last.pt", "--batch", "1", "--out", BENCH)
    digest = json.loads((BUNDLE / "bundle.json").read_text())["digest"]
    mark = ROOT / "bench.bundle"
    if BENCH.exists() and mark.exists() and mark.read_text() == digest:
        note(words, "already measured for this bundle")
        return
    run(*words)
    mark.write_text(digest)


@contextmanager
def server() -> Iterator[tuple[str, str]]:
    """The bundle on Triton; yields its HTTP and gRPC addresses."""
    title("serve: the real Triton on this machine")
    http, grpc, metrics = free_ports()
    ports = ("--http-port", http, "--grpc-port", grpc, "--metrics-port", metrics)
    words = [str(BIN / "cgan-serve"), *map(str, (BUNDLE, *ports))]
    show(("cgan-serve", BUNDLE, *ports))
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline() if process.stdout else ""
        if not line.startswith("ready"):
            raise subprocess.CalledProcessError(process.wait(), words)
        print(line.strip())
        yield f"http://127.0.0.1:{http}", f"grpc://127.0.0.1:{grpc}"
    finally:
        process.terminate()
        process.communicate()


def run(*words: object, quiet: bool = False) -> None:
    """Run one of our commands and show it."""
    show(words)
    line = [str(BIN / str(words[0])), *map(str, words[1:])]
    subprocess.run(line, check=True, stdout=subprocess.DEVNULL if quiet else None)


def note(words: tuple[object, ...], text: str) -> None:
    """Say that a step was done before."""
    show(words)
    print(f"  ({text})")


def show(words: tuple[object, ...]) -> None:
    """Print the command and keep it for the page."""
    line = " ".join(map(str, words))
    commands.append(line)
    print(f"$ {line}", flush=True)


def title(text: str) -> None:
    """Print the name of a step."""
    print(f"\n== {text}", flush=True)


def free_ports() -> tuple[int, int, int]:
    """Three ports nobody uses now, so that a server already running on 8000 does not matter."""
    sockets = [socket.socket() for _ in range(3)]
    for item in sockets:
        item.bind(("127.0.0.1", 0))
    first, second, third = (int(item.getsockname()[1]) for item in sockets)
    for item in sockets:
        item.close()
    return first, second, third


if __name__ == "__main__":
    sys.exit(main())
