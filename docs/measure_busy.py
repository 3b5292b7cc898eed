"""Measures what each command and runtime still gets beside processes that compute all the time.

    python -m docs.measure_busy BUNDLE CHECKPOINT     # about six minutes; prints it as JSON

A runtime runs in a loop for some seconds, in a process of its own. A command is run once, from its start to its
end, so its figure has its imports in it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np
from cgan_bench.target import target_of_bundle
from cgan_bench.workload import conditions_for
from cgan_runtime.generator import SeededGenerator
from PIL import Image

__all__ = ["measured_busy"]

SECONDS: Final = 6
OTHERS: Final = (0, 1, 2)
PAIRS: Final = {"train": 160, "val": 24}
SIZE: Final = 128
TRAINING: Final = ("--size", SIZE, "--ngf", 32, "--ndf", 32, "--norm", "instance", "--batch", 4, "--images", 320)
HTTP, GRPC, METRICS = 18000, 18001, 18002
READY: Final = f"http://127.0.0.1:{HTTP}/v2/health/ready"


@contextmanager
def busy(count: int) -> Iterator[None]:
    """So many processes that compute all the time."""
    spin = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in spin:
            process.kill()
            process.wait()


def measured_busy(bundle: Path, source: Path) -> dict[str, dict[str, float | str]]:
    """Each row's unit, and its rate alone, beside one and beside two busy processes.

    Args:
        bundle: of the U-Net-256.
        source: its checkpoint.
    """
    found: dict[str, dict[str, float | str]] = {}

    def measure(title: str, unit: str, rate: Callable[[], float]) -> None:
        found[title] = {"unit": unit}
        for others in OTHERS:
            with busy(others):
                found[title][str(others)] = rate()

    per_s = "U-Net-256, images/s"
    measure("ONNX Runtime", per_s, lambda: looped("onnxruntime", bundle, source))
    measure("OpenVINO", per_s, lambda: looped("openvino", bundle, source))
    measure("PyTorch eager, as our commands run it", per_s, lambda: looped("torch", bundle, source, spin="1000"))
    measure("PyTorch eager, defaults", per_s, lambda: looped("torch", bundle, source))
    with served(bundle):
        measure("cgan-serve, 2 clients", per_s, lambda: loaded(bundle.name))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_pairs(folder / "pairs")
        run = folder / "run"
        per_minute = f"U-Net-{SIZE}, whole runs/min"
        words = ("pix2pix", "--data", folder / "pairs", *TRAINING, "--no-evaluate", "--out")
        numbers = iter(range(len(OTHERS)))
        measure("cgan-train, 320 images", per_minute, lambda: timed("cgan-train", *words, f"{run}{next(numbers)}"))
        first = f"{run}0"
        measure(
            "cgan-train evaluate, 24 images",
            per_minute,
            lambda: timed("cgan-train", "evaluate", first, "--images", PAIRS["val"]),
        )
        measure(
            "cgan-export",
            per_minute,
            lambda: timed("cgan-export", f"{first}/last.pt", "-o", folder / "bundle", "--force"),
        )
    return found


def looped(backend: str, bundle: Path, source: Path, *, spin: str = "") -> float:
    """Images a second of a runtime in a process of its own."""
    environ = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
    if spin:
        environ["GOMP_SPINCOUNT"] = spin
    words = [sys.executable, "-m", "docs.measure_busy", "loop", backend, bundle, source]
    done = subprocess.run([str(word) for word in words], env=environ, stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout)


def loop(backend: str, bundle: str, source: str) -> None:
    """Images a second of one way of running for some seconds, on stdout."""
    target = target_of_bundle(Path(bundle), checkpoint=Path(source))
    assert target.bundle is not None and target.contract is not None  # noqa: S101 - it is a bundle
    if backend == "torch":
        from cgan_bench.checkpoint import generator_of as read
        from cgan_export.pytorch.runner import TorchRunner

        generator = SeededGenerator(TorchRunner(*read(target, threads=0)))
    else:
        generator = target.bundle.generator(backend=backend, precision="fp32")
    conditions = conditions_for(target.contract, [1])
    generator.generate(conditions, [0], [0])
    started, count = time.perf_counter(), 0
    while time.perf_counter() - started < SECONDS:
        generator.generate(conditions, [count], [0])
        count += 1
    sys.stdout.write(str(count / (time.perf_counter() - started)))


def words_of(name: str, *words: object) -> list[str]:
    """A command of this environment."""
    return [str(Path(sys.executable).with_name(name)), *map(str, words)]


def timed(name: str, *words: object) -> float:
    """Runs a minute of a command, from one run."""
    started = time.perf_counter()
    subprocess.run(words_of(name, *words), stdout=subprocess.DEVNULL, check=True)
    return 60 / (time.perf_counter() - started)


@contextmanager
def served(bundle: Path) -> Iterator[None]:
    """A server of the bundle, ready."""
    ports = ("--http-port", HTTP, "--grpc-port", GRPC, "--metrics-port", METRICS)
    server = subprocess.Popen(words_of("cgan-serve", bundle, *ports), stdout=subprocess.DEVNULL)
    try:
        while True:
            try:
                with urllib.request.urlopen(READY) as answer:
                    if answer.status == 200:
                        break
            except OSError:
                if server.poll() is not None:
                    raise
            time.sleep(0.2)
        yield
    finally:
        server.terminate()
        server.wait()


def loaded(model: str) -> float:
    """Images a second of the server under two clients."""
    how = ("--model", model, "--concurrency", 2, "--seconds", SECONDS, "--json")
    done = subprocess.run(
        words_of("cgan-bench", "--url", f"grpc://127.0.0.1:{GRPC}", *how),
        stdout=subprocess.PIPE,
        text=True,
        check=False,  # 5: NOISY, which it is meant to be here
    )
    (row,) = json.loads(done.stdout)["rows"]
    return float(row["answered_per_s"])


def write_pairs(folder: Path) -> None:
    """A dataset of noise beside its negative."""
    rng = np.random.default_rng(0)
    for split, count in PAIRS.items():
        (folder / split).mkdir(parents=True)
        for number in range(count):
            image = rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
            Image.fromarray(np.hstack([image, 255 - image])).save(folder / split / f"{number}.png")


def main() -> None:
    """Measure, or run one loop."""
    match sys.argv[1:]:
        case ["loop", backend, bundle, source]:
            loop(backend, bundle, source)
        case [bundle, source]:
            sys.stdout.write(json.dumps(measured_busy(Path(bundle), Path(source)), indent=1) + "\n")
        case _:
            sys.exit("give a bundle of the U-Net-256 and its checkpoint")


if __name__ == "__main__":
    main()
