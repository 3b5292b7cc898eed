"""The layers of each artifact of a bundle, profiled in a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Final

from cgan_runtime.errors import CganError

from cgan_bench.backends import BundleArtifact
from cgan_bench.layers.onnxruntime import profile_onnxruntime
from cgan_bench.layers.openvino import profile_openvino
from cgan_bench.layers.profiled import Layer, Profiler, least_ms
from cgan_bench.roofline.processor import Processor
from cgan_bench.rows import Absent
from cgan_bench.sizes import at_size
from cgan_bench.target import Target
from cgan_bench.worker_client import Worker

__all__ = ["LayersBlock", "block_of", "measure_layers"]

RUNS: Final = 30
# By the backend of an artifact.
PROFILERS: Final[dict[str, Callable[..., Profiler]]] = {
    "onnxruntime": profile_onnxruntime,
    "openvino": profile_openvino,
}


@dataclass(frozen=True, kw_only=True)
class LayersBlock:
    """One artifact at one batch size.

    Attributes:
        title: of the artifact.
        description: backend, version and device.
        batch: rows of one run.
        rows: its layers, those that lose most time first.
        absent: the artifact itself, where it could not be profiled.
        whole_ms: one per run, from inputs to outputs, while profiling.
    """

    title: str
    description: str = ""
    batch: int
    rows: tuple[Layer, ...] = ()
    absent: tuple[Absent, ...] = ()
    whole_ms: tuple[float, ...] = ()

    @property
    def layers_ms(self) -> float:
        """The sum of the layers' medians."""
        return sum(layer.p50_ms for layer in self.rows)

    @property
    def whole_p50_ms(self) -> float:
        """Median of the whole runs."""
        return median(self.whole_ms)


def measure_layers(
    target: Target,
    batches: Sequence[int],
    processor: Processor,
    *,
    runs: int | None,
    warm_up: int,
    threads: int,
    say: Callable[[str], None],
) -> list[LayersBlock]:
    """A block for each artifact and batch size.

    Args:
        target: with a bundle.
        batches: rows of one run.
        processor: what it can do at most.
        runs: that count, of each; None: RUNS.
        warm_up: runs before them.
        threads: of each library; 0 leaves the number to it.
        say: told what is done.
    """
    assert target.bundle is not None  # noqa: S101 - the command needs one
    contract = at_size(target.bundle.manifest.contract, target.size)
    blocks = []
    for backend, precision in target.artifacts:
        artifact = BundleArtifact(backend, precision)
        reason = artifact.absence(target) or (
            "" if backend in PROFILERS else "its backend tells no times of layers"
        )
        for batch in () if reason else batches:
            say(f"batch {batch}: the layers of {artifact.title}")
            model = target.bundle.read(target.bundle.artifact(backend, precision))
            options = {"batch": batch, "runs": runs or RUNS, "warm_up": warm_up, "threads": threads}
            try:
                with Worker(artifact.title) as worker:
                    found = worker.run(_profile, PROFILERS[backend], model, contract, precision, options)
            except CganError as error:
                reason = str(error)
            else:
                blocks.append(block_of(artifact.title, found, batch, processor))
        if reason:
            absent = Absent(key=artifact.key, title=artifact.title, reason=reason)
            blocks.append(LayersBlock(title=artifact.title, batch=0, absent=(absent,)))
    return blocks


def block_of(title: str, found: Profiler, batch: int, processor: Processor) -> LayersBlock:
    """What a backend told, with shares and least times, those that lose most time first."""
    total_ms = sum(layer.p50_ms for layer in found.layers) or 1.0
    layers = [
        replace(layer, share=layer.p50_ms / total_ms, floor_ms=least_ms(layer, processor.peaks))
        for layer in found.layers
    ]
    return LayersBlock(
        title=title,
        description=found.description,
        batch=batch,
        rows=tuple(sorted(layers, key=lambda layer: -layer.lost_ms)),
        whole_ms=found.whole_ms,
    )


def _profile(profiler: Callable[..., Profiler], *arguments: object) -> Profiler:
    *positional, options = arguments
    assert isinstance(options, dict)  # noqa: S101 - from `measure_layers`
    return profiler(*positional, **options)
