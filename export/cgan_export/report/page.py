"""report.html: what the gates measured on every artifact, as one file that needs nothing else.

It is written into every bundle, and beside the place where the bundle would have been when a gate failed. It holds
no path of this machine, and no time but that of the bundle. The bundle's digest covers it, so it cannot hold that.
"""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cgan_runtime.contract import Contract
from cgan_runtime.manifest import Figure, Provenance
from cgan_runtime.pages import Cell, Table, readable, render

from cgan_export.artifacts.artifacts import BuiltArtifact
from cgan_export.fidelity.labels import label_of, shortfalls, value_of
from cgan_export.report.diagnostics import Diagnostics
from cgan_export.report.layer_compare import Divergence
from cgan_export.report.worst_sample import OutputPart, output_part

__all__ = ["failed_report_name", "figures_table", "report_html"]

_TEMPLATE: Final = Path(__file__).with_name("report.html.j2")
SHOWN_LAYERS: Final = 400
_STATISTICS: Final = {
    "per_sample": "Normalisation layers take the statistics of each sample.",
    "running": "Normalisation layers take the averages of training.",
    "none": "",
}


@dataclass(frozen=True, kw_only=True)
class _ArtifactPart:
    """One artifact: the figures first, those that failed before the others."""

    title: str
    passed: bool
    figures: Table
    kept: str
    outputs: tuple[OutputPart, ...]
    divergence: str
    layers: Table | None


def failed_report_name(target_name: str) -> str:
    """Name of the report that stands beside a bundle that was not written."""
    return f"{target_name}.failed.html"


def report_html(
    name: str,
    contract: Contract,
    artifacts: Sequence[BuiltArtifact],
    diagnostics: Sequence[Diagnostics],
    origin: Provenance,
    *,
    undefined: Sequence[str] = (),
) -> str:
    """The whole page; what failed comes first.

    Args:
        name: the model's.
        contract: its signature.
        artifacts: every artifact that was made.
        diagnostics: one for each of them.
        origin: of the bundle.
        undefined: where the generator itself is lost in rounding, in words (`undefined_on`).
    """
    pairs = sorted(zip(artifacts, diagnostics, strict=True), key=lambda pair: pair[0].passed)
    page = render(
        _TEMPLATE,
        title=name,
        kicker="cgan-export · fidelity report",
        passed=all(artifact.passed for artifact in artifacts),
        statistics=_STATISTICS[contract.statistics],
        seeded=bool(contract.noise),
        undefined=undefined,
        made=f"{_readable_date(origin.created)} with cgan-deploy {origin.versions['cgan-deploy']}",
        reasons=[reason for artifact, _ in pairs for reason in _reasons(artifact)],
        alone=[artifact for artifact in artifacts if artifact.passed],
        summary=_summary(pairs),
        artifacts=[_part(contract, artifact, found) for artifact, found in pairs],
        origin=_origin(artifacts, origin),
    )
    return str(page)


def _reasons(artifact: BuiltArtifact) -> Iterator[str]:
    """Why an artifact failed, a sentence for each gate."""
    for words in shortfalls(artifact.figures):
        yield f"{artifact.label}, {words}."


def _readable_date(created: str) -> str:
    """`2026-11-25T19:35:22+00:00` as 2026-11-25 19:35 UTC."""
    return datetime.datetime.fromisoformat(created).astimezone(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")


def _summary(pairs: Sequence[tuple[BuiltArtifact, Diagnostics]]) -> Table:
    return Table(
        heads=("artifact", "verdict", "worst sample", "MB"),
        rows=tuple(
            (
                Cell(text=artifact.label, note=artifact.precision),
                _verdict(artifact.passed),
                f"{readable(round(found.psnr_db, 1))} dB",
                f"{len(artifact.model) / 1e6:.1f}",
            )
            for artifact, found in pairs
        ),
    )


def _origin(artifacts: Sequence[BuiltArtifact], origin: Provenance) -> Table:
    """What was exported, when and with what, and the digests that name it."""
    versions = ", ".join(f"{package} {version}" for package, version in origin.versions.items())
    digests = {one.path: hashlib.sha256(one.model).hexdigest() for one in artifacts}
    graph = "" if origin.graph == "main" else f"graph {origin.graph}"
    return Table(
        text=True,
        rows=(
            ("checkpoint", Cell(text=origin.checkpoint, note=graph)),
            ("its SHA-256", origin.checkpoint_sha256),
            *((f"SHA-256 of {path}", digest) for path, digest in digests.items()),
            ("time of the export", _readable_date(origin.created)),
            ("with", versions),
        ),
    )


def _part(contract: Contract, artifact: BuiltArtifact, found: Diagnostics) -> _ArtifactPart:
    kept = ""
    if artifact.precision in ("fp16", "int8"):
        share = f"{artifact.kept_share:.1%} of the multiply-adds"
        kept = f"Layers kept in FP32 ({share}): {', '.join(artifact.kept) or 'none'}."
    return _ArtifactPart(
        title=f"{artifact.label} ({artifact.precision})",
        passed=artifact.passed,
        figures=figures_table(artifact.figures),
        kept=kept,
        outputs=tuple(output_part(contract, artifact.figures, one) for one in (found, *found.others)),
        divergence="" if found.divergence is None else _divergence(found.divergence),
        layers=None if found.divergence is None else _layers(found.divergence),
    )


def figures_table(figures: dict[str, Figure]) -> Table:
    """What was measured and what is allowed, a row for each check; failed ones first."""
    ordered = sorted(figures.items(), key=lambda item: item[1].passed)
    return Table(
        heads=("check", "measured", "limit", ""),
        rows=tuple(
            (label_of(key, figure), value_of(figure), _limit(figure), _verdict(figure.passed))
            for key, figure in ordered
        ),
        strong=frozenset(range(sum(not figure.passed for figure in figures.values()))),
    )


def _limit(figure: Figure) -> str:
    return f"{'≤' if figure.rule == '<=' else '≥'} {figure.limit:.4g} {figure.unit}".strip()


def _verdict(passed: bool) -> Cell:
    return Cell(text="ok", mark="ok") if passed else Cell(text="FAILED", mark="bad")


def _divergence(divergence: Divergence) -> str:
    if divergence.first is None:
        return (
            f"No tensor falls below {divergence.floor_db:g} dB of the graph as PyTorch exported it: the difference "
            "was there before this artifact was made."
        )
    return (
        f"The first tensor below {divergence.floor_db:g} dB is {divergence.first.tensor}, made by "
        f"{divergence.first.operator}."
    )


def _layers(divergence: Divergence) -> Table:
    shown = divergence.layers[:SHOWN_LAYERS]
    return Table(
        heads=("tensor", "made by", "PSNR over its range, dB", "largest difference"),
        rows=tuple(
            (layer.tensor, layer.operator, f"{layer.psnr_db:.1f}", f"{layer.max_abs:.3g}") for layer in shown
        ),
        strong=frozenset(number for number, layer in enumerate(shown) if layer is divergence.first),
    )
