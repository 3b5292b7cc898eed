"""Measures docs/performance.json: everything that docs/performance.md and the README say of speed on a CPU.

    python -m docs.measure_performance          # about an hour; nothing else may run meanwhile
    python -m docs.make_performance             # the page, from that file

Every part is a command of the project or a small loop over its own runners, so each can be repeated alone.
"""

from __future__ import annotations

import datetime
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import torch
from cgan_bench.environment import environment, package_version
from cgan_bench.stability import median_interval
from cgan_bench.target import target_of_bundle
from cgan_bench.workload import conditions_for
from cgan_export.graph.onnx_graph import onnx_from_generator, with_metadata
from cgan_export.graph.rewrites import FOR_ALL, FOR_CPUS, rewrite
from cgan_export.graph.statistics import with_statistics
from cgan_runtime.generator import SeededGenerator
from cgan_runtime.runners import runner_kind
from cgan_trainer.checkpoint import Graph, write_checkpoint
from cgan_trainer.families.cyclegan import CycleganGenerator, CycleganOptions
from cgan_trainer.families.pix2pix_networks import Pix2pixGenerator, Pix2pixOptions
from cgan_trainer.families.translator import ImageTranslator

from docs.measure_busy import measured_busy

__all__ = ["RESULT", "main"]

RESULT: Final = Path(__file__).with_name("performance.json")
PACKAGES: Final = ("torch", "onnx", "onnxruntime", "openvino", "nncf")
# Net -> batch -> rounds.
NETS: Final[dict[str, dict[int, int]]] = {"unet-256": {1: 60, 4: 20, 16: 8}, "resnet-9": {1: 14, 4: 10, 16: 7}}
SAMPLES: Final = 16
REWRITE_ROUNDS: Final = {"unet-256": 30, "resnet-9": 10}


def generator_of(net: str) -> tuple[str, ImageTranslator, dict[str, Any]]:
    """Family, generator and options of a net with random weights; they do not change the speed of FP32 and BF16."""
    torch.manual_seed(0)
    if net == "unet-256":
        unet = Pix2pixOptions(size=256, ngf=64, dropout="paper")
        return "pix2pix", Pix2pixGenerator(unet), asdict(unet)
    resnet = CycleganOptions(size=256, net="resnet-9")
    return "cyclegan", CycleganGenerator(resnet), asdict(resnet)


def patches(count: int, size: int) -> torch.Tensor:
    """Images [N, 3, size, size] of flat patches, 0 to 255: INT8 is calibrated on such as are measured."""
    coarse = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(9))
    return (torch.nn.functional.interpolate(coarse, size=(size, size), mode="nearest") * 255).to(torch.uint8)


def checkpoint(net: str, folder: Path) -> Path:
    """A file as cgan-train writes it."""
    family, generator, options = generator_of(net)
    path = folder / f"{net}.pt"
    graph = Graph(options=options, contract=generator.contract.to_json(), state=generator.state_dict())
    graphs, examples = {"main": graph}, {"main": {"condition": patches(8, 256)}}
    write_checkpoint(path, family=family, graphs=graphs, examples=examples, provenance={"seed": 0})
    return path


def command(name: str, *words: object) -> subprocess.CompletedProcess[str]:
    """A command of the project; its messages go to the terminal."""
    program = Path(sys.executable).with_name(name)
    return subprocess.run([program, *map(str, words)], stdout=subprocess.PIPE, text=True, check=False)


def measured_net(net: str, folder: Path) -> dict[str, Any]:
    """Export with every precision and runtime, and a report of cgan-bench for each batch."""
    source, bundle = checkpoint(net, folder), folder / net
    exported = command(
        "cgan-export", source, "-o", bundle, "--backend", "openvino", "--precision", "fp32,bf16,int8"
    )
    reports = []
    for batch, rounds in NETS[net].items():
        out = folder / f"{net}-{batch}.json"
        how = ("--peers", "--batch", batch, "--rounds", rounds)
        done = command("cgan-bench", bundle, "--checkpoint", source, *how, "--out", out)
        report = json.loads(out.read_text())
        reports.append({"exit_code": done.returncode, **_reduced(report)})
    return {"export_exit_code": exported.returncode, "reports": reports}


def _reduced(report: dict[str, Any]) -> dict[str, Any]:
    """The report without each latency, but with every ratio between two rows, round by round."""
    latencies = {row["backend"]: row.pop("latencies_ms") for row in report["rows"]}
    for row in report["rows"]:
        mine = latencies[row["backend"]]
        row["times"] = {other: _ratio(theirs, mine) for other, theirs in latencies.items()}
    return report


def _ratio(reference: Sequence[float], values: Sequence[float]) -> dict[str, float | None]:
    """The reference / the values, round by round."""
    each = np.asarray(reference) / np.asarray(values)
    low, high = median_interval(each) or (None, None)
    return {"median": float(np.median(each)), "low_95": low, "high_95": high}


def in_turns(calls: dict[str, Callable[[int], object]], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each call, in random order in every round; two rounds before do not count."""
    rng = np.random.default_rng(0)
    times: dict[str, list[float]] = {name: [] for name in calls}
    for index in range(rounds + 2):
        for name in rng.permutation(list(calls)):
            started = time.perf_counter()
            calls[name](index)
            times[name].append((time.perf_counter() - started) * 1e3)
            time.sleep(0.03)
    return {name: values[2:] for name, values in times.items()}


def measured_samples(bundle: Path) -> dict[str, Any]:
    """Sixteen samples of one image in one call, beside as many calls of one sample."""
    target = target_of_bundle(bundle)
    assert target.bundle is not None and target.contract is not None  # noqa: S101 - it is a bundle
    found = {}
    for artifact in target.bundle.manifest.artifacts:
        generator = target.bundle.generator(backend=artifact.backend, precision=artifact.precision)
        one = conditions_for(target.contract, [1])
        many = {name: np.repeat(value, SAMPLES, axis=0) for name, value in one.items()}

        def alone(index: int, generator: SeededGenerator = generator, one: Any = one) -> None:
            for draw in range(SAMPLES):
                generator.generate(one, [index], [draw])

        def together(index: int, generator: SeededGenerator = generator, many: Any = many) -> None:
            generator.generate(many, [index] * SAMPLES, list(range(SAMPLES)))

        times = in_turns({"alone": alone, "together": together}, 7)
        found[artifact.label] = {
            "share": _ratio(times["together"], times["alone"]),
            "alone_ms": float(np.median(times["alone"])),
            "together_ms": float(np.median(times["together"])),
        }
        generator.close()
    return found


def measured_rewrites(net: str) -> dict[str, Any]:
    """What each rewrite gives on each runtime: the graph with all of them beside the graph without that one."""
    family, generator, _ = generator_of(net)
    fixed, contract = with_statistics(generator.eval(), generator.contract, None)
    plain = with_metadata(onnx_from_generator(fixed, contract), name=net, family=family, contract=contract)
    found: dict[str, Any] = {}
    for backend, precision in (("onnxruntime", "fp32"), ("openvino", "fp32"), ("openvino", "bf16")):
        kind = runner_kind(backend)
        if kind.absence() or kind.lack(precision):
            continue
        table = FOR_ALL | FOR_CPUS[backend]
        calls: dict[str, Callable[[int], object]] = {}
        places: dict[str, int] = {}
        for left_out in ("", *table):
            model = onnx.ModelProto()
            model.CopyFrom(plain)
            changed = rewrite(model, {name: apply for name, apply in table.items() if name != left_out})
            places |= changed
            runner = kind.open(model.SerializeToString(), contract, precision=precision)
            calls[left_out] = one_run(SeededGenerator(runner))
        calls = {name: call for name, call in calls.items() if not name or places[name]}
        times = in_turns(calls, REWRITE_ROUNDS[net])
        found[f"{backend}/{precision}"] = {
            name: {"places": places[name], **_ratio(times[name], times[""])} for name in calls if name
        }
    return found


def one_run(generator: SeededGenerator) -> Callable[[int], object]:
    """A call with the condition and the seed of a number."""

    def call(number: int) -> object:
        return generator.generate(conditions_for(generator.contract, [number]), [number], [0])

    return call


def first_image(bundle: Path, folder: Path) -> list[float]:
    """Seconds from the start of cgan-translate to its image, five times."""
    image = next((bundle / "golden").glob("*condition*.png"))
    times = []
    for number in range(5):
        started = time.perf_counter()
        done = command("cgan-translate", image, "--bundle", bundle, "--seed", 7, "-o", folder / f"{number}.png")
        times.append(time.perf_counter() - started)
        assert done.returncode == 0, done.stdout  # noqa: S101 - else there is nothing to measure
    return times


def main() -> None:
    """Measure everything and write the file."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        document: dict[str, Any] = {
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "environment": environment(),
            "versions": {package: package_version(package) for package in PACKAGES},
            "nets": {net: measured_net(net, folder) for net in NETS},
        }
        unet = folder / "unet-256"
        document |= {
            "samples": measured_samples(unet),
            "rewrites": {net: measured_rewrites(net) for net in NETS},
            "first_image_s": first_image(unet, folder),
            "busy": measured_busy(unet, folder / "unet-256.pt"),
        }
    RESULT.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
