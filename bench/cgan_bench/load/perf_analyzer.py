"""The closed loop beside NVIDIA's perf_analyzer, in turns on one server: do both measure the same?

    python -m cgan_bench.load.perf_analyzer PERF_ANALYZER grpc://127.0.0.1:8001 facades --concurrency 1,4

Both send the same requests. bench/README.md says where the program is found and what came out.
"""

from __future__ import annotations

import argparse
import base64
import csv
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Final

from cgan_runtime.address import address_of
from cgan_runtime.errors import CganError
from cgan_runtime.runners.base import Array

from cgan_bench.load.loops import Level
from cgan_bench.load.measure import REQUESTS, LoadPlan, run_in_loop
from cgan_bench.load.requests import inputs_of, raw_bytes, served_model
from cgan_bench.load.windows import TOLERANCE, WINDOWS
from cgan_bench.options import parse_concurrency
from cgan_bench.workload import round_seeds

__all__ = ["input_data", "main", "read_figures"]

NOT_STABLE: Final = 2  # the exit code of perf_analyzer
LEAST_WINDOW_MS: Final = 2000  # shorter windows of perf_analyzer do not become stable


def main() -> None:
    """Measure in turns and print medians and ratios."""
    parser = argparse.ArgumentParser(prog="python -m cgan_bench.load.perf_analyzer", description=__doc__)
    parser.add_argument("program", help="perf_analyzer 2.51")
    parser.add_argument("url", help="grpc://HOST:PORT, without TLS and keys")
    parser.add_argument("model")
    parser.add_argument("--concurrency", default="1,4")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=6.0, help="of each measurement")
    parser.add_argument("--unstable", action="store_true", help="count unstable measurements too: a busy machine")
    given = parser.parse_args()
    address_of(given.url, ("grpc",))
    served = served_model(given.url, given.model, None)
    requests = [inputs_of(served, round_seeds(number, 1)) for number in range(REQUESTS)]
    levels = parse_concurrency(given.concurrency)
    found: dict[tuple[int, str], list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data.json"
        data.write_text(json.dumps(input_data(requests)))
        turns = [(clients, which) for clients in levels for which in ("cgan-bench", "perf_analyzer")]
        for number in range(given.rounds):
            random.Random(number).shuffle(turns)
            for clients, which in turns:
                if which == "cgan-bench":
                    figures = _ours(given.url, given.model, clients, given.batch, given.seconds, given.unstable)
                else:
                    figures = _theirs(
                        given.program,
                        given.url,
                        given.model,
                        clients,
                        given.batch,
                        given.seconds,
                        data,
                        given.unstable,
                    )
                told = "not stable" if figures is None else f"{figures[0]:.2f}/s, p50 {figures[1]:.2f} ms"
                sys.stdout.write(f"round {number}, {clients} clients, {which}: {told}\n")
                if figures is not None:
                    found.setdefault((clients, which), []).append(figures)
    for clients in levels:
        both = [found.get((clients, which), []) for which in ("cgan-bench", "perf_analyzer")]
        if not all(both):
            sys.stdout.write(f"{clients} clients: one of the two was never stable\n")
            continue
        ours, theirs = ([median(values) for values in zip(*one, strict=True)] for one in both)
        sys.stdout.write(
            f"{clients} clients, medians of {len(both[0])} and {len(both[1])} measurements: "
            f"{ours[0]:.2f} and {theirs[0]:.2f} images/s, ratio {ours[0] / theirs[0]:.3f}; "
            f"p50 {ours[1]:.2f} and {theirs[1]:.2f} ms, ratio {ours[1] / theirs[1]:.3f}\n"
        )


def input_data(requests: list[dict[str, Array]]) -> dict[str, list[dict[str, object]]]:
    """Requests of one row each as perf_analyzer reads them: the bytes of every tensor, without the batch axis."""
    return {"data": [{name: _tensor(value) for name, value in request.items()} for request in requests]}


def read_figures(report: str) -> tuple[float, float]:
    """Images a second, and the median latency in milliseconds, of the report that perf_analyzer writes.

    Raises:
        CganError: it holds no measurement.
    """
    rows: list[Mapping[str, str]] = list(csv.DictReader(report.splitlines()))
    if not rows:
        raise CganError("perf_analyzer wrote no measurement.")
    return float(rows[0]["Inferences/Second"]), float(rows[0]["p50 latency"]) / 1e3


def _tensor(value: Array) -> dict[str, object]:
    return {"content": {"b64": base64.b64encode(raw_bytes(value)).decode()}, "shape": list(value.shape[1:])}


def _ours(
    url: str, model: str, clients: int, batch: int, seconds: float, unstable: bool
) -> tuple[float, float] | None:
    plan = LoadPlan(urls=(url,), model=model, levels=(Level(clients=clients),), batches=(batch,), seconds=seconds)
    (row,) = run_in_loop(plan, lambda _: None)[0].rows
    return (row.answered_per_s * batch, row.percentile_ms(50) or 0.0) if row.stable or unstable else None


def _theirs(
    program: str, url: str, model: str, clients: int, batch: int, seconds: float, data: Path, unstable: bool
) -> tuple[float, float] | None:
    report = data.with_suffix(".csv")
    report.unlink(missing_ok=True)
    window_ms = max(LEAST_WINDOW_MS, round(seconds / WINDOWS * 1e3))
    words = [program, "-m", model, "-u", address_of(url).authority, "-i", "grpc", "-b", f"{batch}"]
    words += ["--input-data", str(data), "--concurrency-range", f"{clients}"]
    words += ["-p", f"{window_ms}", "-s", "1000" if unstable else f"{TOLERANCE:.0%}".rstrip("%"), "-f", str(report)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode == NOT_STABLE:
        return None
    if not report.is_file():
        raise CganError(f"perf_analyzer ended with {done.returncode}: {(done.stdout + done.stderr)[-400:]}")
    return read_figures(report.read_text())


if __name__ == "__main__":
    main()
