"""What changed between two bundles: in their contracts, in their files, and in the outputs they make.

The outputs are those of the old bundle's golden conditions, under its seeds and two more, from every artifact that
both have. Two bundles of one checkpoint, made by different releases or on different machines, must keep the promise
between runtimes: images at most 1 level of 8 bits apart, in at most 0.1 % of the values; other outputs within the
share of their scale that parity allows their precision (`fidelity/limits.py`). Two engines of one graph may round
differently: they are compared where both run, and held to the quality that parity asks of their precision.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from cgan_runtime.bundle import Bundle
from cgan_runtime.contract import Output
from cgan_runtime.errors import CganError, CheckFailedError
from cgan_runtime.generator import SeededGenerator
from cgan_runtime.golden import golden_conditions
from cgan_runtime.manifest import Artifact
from cgan_runtime.runners.base import Array, Runner

from cgan_export.bundle.verify import built_elsewhere, open_artifact
from cgan_export.fidelity.limits import Limits
from cgan_export.fidelity.measures import PSNR_OF_EQUAL_DB, UNMEASURABLE, largest_error
from cgan_export.fidelity.output_kinds import (
    MAX_CHANGED_SHARE,
    MAX_LEVELS,
    ImageMeasure,
    Pair,
    RelativeMeasure,
    measure_of,
)

__all__ = ["Comparison", "Drift", "compare_bundles", "print_comparison"]

MORE_SEEDS: Final = (1, 2)


@dataclass(frozen=True, kw_only=True)
class Drift:
    """How far the outputs of one artifact moved: the worst of all outputs and samples.

    Attributes:
        problem: why there are no figures; empty where there are.
        psnr_db: the quality of the new output against the old (`OutputMeasure.quality_db`).
        max_abs: the largest difference of values.
        levels: of images, the largest difference in 8-bit levels.
        changed_share: of images, the share of values that differ in 8 bits.
        relative: of other outputs, the largest difference as a share of their scale.
        relative_limit: what it is held to.
        floor_db: of an engine, the least quality, in place of the promise on levels; 0 for an ONNX file.
    """

    artifact: str
    samples: int = 0
    psnr_db: float = 0.0
    max_abs: float = 0.0
    levels: float = 0.0
    changed_share: float = 0.0
    relative: float = 0.0
    relative_limit: float = 0.0
    floor_db: float = 0.0
    problem: str = ""

    @property
    def kept(self) -> bool:
        """Whether the promise holds."""
        images = self.levels <= MAX_LEVELS and self.changed_share <= MAX_CHANGED_SHARE
        if self.floor_db:
            images = self.psnr_db >= self.floor_db
        return not self.problem and self.max_abs < UNMEASURABLE and images and self.relative <= self.relative_limit


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Everything that differs. `contract` and `files` are sentences, one a difference.

    `not_compared` says of engines, by path, why there are no figures: that is no failure.
    """

    old: str
    new: str
    contract: tuple[str, ...]
    files: tuple[str, ...]
    drifts: tuple[Drift, ...]
    not_compared: dict[str, str]

    def plain(self) -> dict[str, Any]:
        """Plain values for JSON."""
        drifts = [{**asdict(drift), "kept": drift.kept} for drift in self.drifts]
        return {
            "old": self.old,
            "new": self.new,
            "contract": self.contract,
            "files": self.files,
            "artifacts": drifts,
            "not_compared": self.not_compared,
        }

    def require_kept(self, old: Path, new: Path) -> None:
        """Stop where an artifact moved further than the promise allows.

        Raises:
            CheckFailedError: names the artifacts.
        """
        broken = [drift for drift in self.drifts if not drift.kept]
        if broken:
            told = "; ".join(f"{d.artifact}: {d.problem or _moved(d)}" for d in broken)
            promise = f"at most {MAX_LEVELS} level in {MAX_CHANGED_SHARE:.1%} is promised"
            raise CheckFailedError(f"{new} does not keep to {old} ({told}); {promise}.")


def compare_bundles(old: Bundle, new: Bundle, progress: Callable[[str], None] = lambda _: None) -> Comparison:
    """Compare contracts, files and outputs.

    Raises:
        BundleError: a bundle changed since it was read.
    """
    drifts = []
    not_compared = {}
    elsewhere = built_elsewhere(old) | built_elsewhere(new)
    for artifact in old.manifest.artifacts:
        other = _counterpart(artifact, new)
        if artifact.plan is not None and (other is None or {artifact.label, other.label} & set(elsewhere)):
            reason = (
                "the newer bundle has none"
                if other is None
                else f"it cannot run here ({elsewhere[artifact.label]})"
            )
            not_compared[artifact.label] = reason
            continue
        progress(f"outputs of {artifact.label}")
        drifts.append(_drift(old, new, artifact, other))
    return Comparison(
        old=old.digest,
        new=new.digest,
        contract=tuple(
            _differences(
                old.manifest.contract.model_dump(mode="json"), new.manifest.contract.model_dump(mode="json"), ""
            )
        ),
        files=tuple(_files(old, new)),
        drifts=tuple(drifts),
        not_compared=not_compared,
    )


def print_comparison(comparison: Comparison) -> None:
    """The comparison as a table on stdout."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for title, lines in (("contract", comparison.contract), ("files", comparison.files)):
        console.print(f"{title}:{' the same' if not lines else ''}", highlight=False)
        for line in lines:
            console.print(f"  {line}", highlight=False, markup=False)
    table = Table("artifact", title="outputs of the old bundle's golden conditions", title_justify="left")
    for column in ("PSNR", "largest", "8-bit levels", "values changed", "share of scale", ""):
        table.add_column(column, justify="right")
    for d in comparison.drifts:
        figures = (
            f"{d.psnr_db:.1f} dB",
            f"{d.max_abs:.3g}",
            f"{d.levels:.3g}",
            f"{d.changed_share:.3%}",
            f"{d.relative:.3g}",
        )
        if d.problem:
            console.print(f"{d.artifact}: {d.problem}", highlight=False, markup=False)
        verdict = "[green]kept[/]" if d.kept else "[red]MOVED[/]"
        table.add_row(d.artifact, *(figures if not d.problem else ("-",) * len(figures)), verdict)
    console.print(table)
    for path, reason in comparison.not_compared.items():
        console.print(f"{path}: not compared, {reason}", highlight=False, markup=False, soft_wrap=True)


def _counterpart(artifact: Artifact, new: Bundle) -> Artifact | None:
    """What the newer bundle has in its place: of engines the one for the same GPUs, which has the same name."""
    for other in new.manifest.artifacts:
        same = (other.backend, other.precision) == (artifact.backend, artifact.precision)
        if same and (artifact.plan is None or other.path == artifact.path):
            return other
    return None


def _drift(old: Bundle, new: Bundle, artifact: Artifact, other: Artifact | None) -> Drift:
    label, limits = artifact.label, Limits.of(artifact.precision)
    if other is None:
        return Drift(artifact=label, problem="the newer bundle has none")
    outputs = old.manifest.contract.outputs
    pairs: dict[str, list[Pair]] = {output.name: [] for output in outputs}
    samples = 0
    with _runner(old, artifact) as left_runner, _runner(new, other) as right_runner:
        left, right = SeededGenerator(left_runner), SeededGenerator(right_runner)
        for golden, conditions in zip(old.manifest.golden, golden_conditions(old), strict=True):
            row = {name: value[None] for name, value in conditions.items()}
            for seed in (golden.seed, *MORE_SEEDS):
                before = left.generate(row, [seed], [golden.draw])
                try:
                    after = right.generate(row, [seed], [golden.draw])
                    for output in outputs:
                        pairs[output.name].append(_pair(after[output.name][0], before[output.name][0], output))
                except (CganError, KeyError, ValueError) as error:  # another signature, or other shapes
                    return Drift(artifact=label, problem=f"the golden conditions do not fit it ({error})")
                samples += 1
    if not samples:
        return Drift(artifact=label, problem="the older bundle has no golden samples to compare on")
    worst = Drift(
        artifact=label,
        samples=samples,
        psnr_db=PSNR_OF_EQUAL_DB,
        relative_limit=limits.relative,
        floor_db=0.0 if artifact.plan is None else limits.min_psnr_db,
    )
    for output in outputs:
        worst = _worse(worst, pairs[output.name], output)
    return worst


def _runner(bundle: Bundle, artifact: Artifact) -> Runner:
    """What runs an artifact as it is, whatever it rounds to."""
    if artifact.plan is None:
        return bundle.runner(backend=artifact.backend, precision=artifact.precision)
    return open_artifact(bundle, artifact)


def _pair(after: Array, before: Array, output: Output) -> Pair:
    if before.shape != after.shape:
        raise ValueError(f"{output.name} is {list(after.shape)}, it was {list(before.shape)}")
    return after, before


def _worse(worst: Drift, pairs: list[Pair], output: Output) -> Drift:
    measure = measure_of(output)
    moved = replace(
        worst,
        psnr_db=max(-PSNR_OF_EQUAL_DB, min(worst.psnr_db, *measure.quality_db(pairs))),
        max_abs=max(worst.max_abs, *(largest_error(after.astype(np.float64), before) for after, before in pairs)),
    )
    if isinstance(measure, ImageMeasure):
        levels = [measure.levels(before, after) for after, before in pairs]
        return replace(
            moved,
            levels=max(worst.levels, *(float(value.max()) for value in levels)),
            changed_share=max(worst.changed_share, *(float((value > 0).mean()) for value in levels)),
        )
    assert isinstance(measure, RelativeMeasure)  # noqa: S101 - there is no third kind
    return replace(moved, relative=max(worst.relative, measure.share(pairs)))


def _files(old: Bundle, new: Bundle) -> list[str]:
    before = {file.path: file for file in old.manifest.all_files}
    after = {file.path: file for file in new.manifest.all_files}
    lines = []
    for path in sorted(before.keys() | after.keys()):
        a, b = before.get(path), after.get(path)
        if a is None or b is None:
            lines.append(f"{path}: only in the {'newer' if a is None else 'older'} bundle")
        elif a.sha256 != b.sha256:
            lines.append(f"{path}: differs ({a.bytes} bytes, then {b.bytes})")
    return lines


def _differences(old: Any, new: Any, where: str) -> list[str]:
    """Every leaf that differs between two JSON values, as ``path: old -> new``."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = [*old, *(key for key in new if key not in old)]
        return [
            line for key in keys for line in _differences(old.get(key), new.get(key), f"{where}.{key}".lstrip("."))
        ]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = enumerate(zip(old, new, strict=True))
        return [line for i, (a, b) in pairs for line in _differences(a, b, f"{where}[{i}]")]
    return [] if old == new else [f"{where}: {old} -> {new}"]


def _moved(drift: Drift) -> str:
    if drift.relative > drift.relative_limit:
        return f"{drift.relative:.3g} of the scale, at most {drift.relative_limit:.3g} is allowed"
    if drift.floor_db:
        return f"{drift.psnr_db:.1f} dB, at least {drift.floor_db:.0f} dB is needed of an engine"
    return f"{drift.levels:.3g} levels, {drift.changed_share:.2%} of the values changed"
