"""What is printed of layers: those that lose most time, what each kind of operator takes, and one JSON object."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from cgan_runtime.pages import Cell, Table

from cgan_bench.layers.measure import LayersBlock
from cgan_bench.layers.profiled import Layer
from cgan_bench.report_base import BaseReport, figure
from cgan_bench.roofline.processor import Processor
from cgan_bench.target import Target

__all__ = ["LayersReport"]

SHOWN: Final = 15


@dataclass(frozen=True, kw_only=True)
class LayersReport(BaseReport[LayersBlock, Layer]):
    """Everything one `cgan-bench --layers` measured."""

    details: ClassVar[frozenset[str]] = frozenset({"how"})
    times_what: ClassVar[str] = "time of a layer"

    target: Target
    processor: Processor = field(default_factory=Processor)

    @property
    def title(self) -> str:
        """The title of the target."""
        return self.target.title

    @property
    def complaint(self) -> str:
        """Nothing is compared, so nothing is wrong."""
        return ""

    def to_json(self) -> dict[str, Any]:
        """As every report; the rows by artifact and batch size instead of in one list."""
        said = super().to_json()
        del said["rows"]
        return {
            **said,
            "artifacts": [
                {
                    "title": block.title,
                    "description": block.description,
                    "batch": block.batch,
                    "runs": len(block.whole_ms),
                    "whole_p50_ms": block.whole_p50_ms,
                    "layers_ms": block.layers_ms,
                    "layers": [layer.to_json() for layer in block.rows],
                }
                for block in self.blocks
                if block.rows
            ],
        }

    def about(self) -> dict[str, Any]:
        """What was measured, and what the processor can do."""
        return {
            "measured": "layers",
            "bundle": self.target.digest or None,
            "size": self.target.measured_size,
            "peaks": self.processor.peaks and self.processor.peaks.to_json(),
        }

    def block_title(self, block: LayersBlock) -> str:
        """Artifact, size, batch, runs, and how much of the whole the layers are."""
        facts = [block.title, *filter(None, [self.target.measured_size]), f"batch {block.batch}"]
        return (
            f"{', '.join(facts)}, {len(block.whole_ms)} runs of {figure(block.whole_p50_ms)} ms; "
            f"layers {figure(block.layers_ms)} ms"
        )

    def table(self, block: LayersBlock) -> Table:
        """The layers that lose most time."""
        return Table(
            heads=("layer", "ms", "share", "GOP/s", "of the peak", "lost ms", "MB"),
            rows=tuple(
                (
                    Cell(text=layer.title, note=layer.description),
                    figure(layer.p50_ms),
                    f"{layer.share:.1%}",
                    "-" if layer.gops is None else figure(layer.gops),
                    "-" if not layer.floor_ms or not layer.p50_ms else f"{layer.floor_ms / layer.p50_ms:.0%}",
                    figure(layer.lost_ms),
                    figure(layer.bytes / 1e6),
                )
                for layer in self.plotted(block)
            ),
        )

    def plotted(self, block: LayersBlock) -> tuple[Layer, ...]:
        """Those that are in the table."""
        return block.rows[:SHOWN]

    @property
    def reference_note(self) -> str:
        """Nothing is compared."""
        return ""

    def notes(self) -> Iterator[str]:
        """What each kind of operator takes; what the processor can do."""
        for block in self.blocks:
            if block.rows:
                yield f"{block.title} at batch {block.batch}, by operator: {_by_operator(block)}."
        yield from self.processor.notes()

    def definitions(self) -> Iterator[str]:
        """What the figures mean."""
        yield "ms: time of the layer by the backend's own profile: median of the runs, with OpenVINO their mean."
        yield "GOP/s: 2 for each multiplication with its addition, of convolutions and products as executed."
        yield (
            "of the peak: the least time of the layer / ms. The least time is that of its operations at the rate "
            "of a matrix product in its precision, or of all it reads and writes at the rate of a copy, whichever "
            "is longer. Values that stay in a cache can exceed 100 %."
        )
        yield "lost ms: ms without the least time; the order of the layers. All of them are in the JSON object."

    def verdicts(self) -> Iterator[str]:
        """Where most time is lost."""
        for block in self.blocks:
            if block.rows:
                worst, lost = block.rows[0], sum(layer.lost_ms for layer in block.rows)
                yield (
                    f"{block.title} at batch {block.batch} loses most time in {worst.title} ({worst.operator}): it "
                    f"takes {figure(worst.p50_ms)} ms, {figure(worst.lost_ms)} ms more than its least time; all "
                    f"layers together lose {lost / block.layers_ms:.0%}"
                )


def _by_operator(block: LayersBlock) -> str:
    shares: dict[str, float] = {}
    for layer in block.rows:
        shares[layer.operator] = shares.get(layer.operator, 0.0) + layer.share
    ordered = sorted(shares.items(), key=lambda one: -one[1])
    return ", ".join(f"{name} {share:.0%}" for name, share in ordered if share >= 0.01)
