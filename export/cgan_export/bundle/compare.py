"""What changed between two bundles: in their contracts, in their files, and in the pictures they make.

The pictures are those of the old bundle's golden conditions, under its seeds and two more, from every artifact
that both have. Two bundles of one checkpoint, made by different releases or on different machines, must keep
the promise between runtimes: at most 1 level of 8 bits apart, in at most 0.1 % of the values.
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
from cgan_runtime.pictures import pixels_from_tensor
from cgan_runtime.runners.base import Array

from cgan_export.bundle.verify import MAX_LEVELS, golden_conditions
from cgan_export.fidelity.measures import PSNR_OF_EQUAL_DB, psnr_db

__all__ = ["Comparison", "Drift", "compare_bundles", "print_comparison"]

MAX_SHARE: Final = 0.001
MORE_SEEDS: Final = (1, 2)


@dataclass(frozen=True, kw_only=True)
class Drift:
    """How far the pictures of one artifact moved: the worst of all samples.

    Attributes:
        problem: why there are no figures; empty where there are.
        levels: the largest difference in 8-bit levels (256ths of the range for other outputs).
        changed_share: the share of values that differ in 8 bits.
    """

    artifact: str
    samples: int = 0
    psnr_db: float = 0.0
    max_abs: float = 0.0
    levels: float = 0.0
    changed_share: float = 0.0
    problem: str = ""

    @property
    def kept(self) -> bool:
        """Whether the promise holds."""
        return not self.problem and self.levels <= MAX_LEVELS and self.changed_share <= MAX_SHARE


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Everything that differs. `contract` and `files` are sentences, one a difference."""

    old: str
    new: str
    contract: tuple[str, ...]
    files: tuple[str, ...]
    drifts: tuple[Drift, ...]

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        drifts = [{**asdict(drift), "kept": drift.kept} for drift in self.drifts]
        return {
            "old": self.old,
            "new": self.new,
            "contract": self.contract,
            "files": self.files,
            "artifacts": drifts,
        }

    def require_kept(self, old: Path, new: Path) -> None:
        """Stop where an artifact moved further than the promise allows.

        Raises:
            CheckFailedError: names the artifacts.
        """
        broken = [drift for drift in self.drifts if not drift.kept]
        if broken:
            told = "; ".join(f"{d.artifact}: {d.problem or _moved(d)}" for d in broken)
            raise CheckFailedError(
                f"{new} does not keep to {old} ({told}); at most {MAX_LEVELS} level in {MAX_SHARE:.1%} is promised."
            )


def compare_bundles(old: Bundle, new: Bundle, progress: Callable[[str], None] = lambda _: None) -> Comparison:
    """Compare contracts, files and pictures.

    Raises:
        BundleError: a bundle changed since it was read.
    """
    drifts = []
    for artifact in old.manifest.artifacts:
        if artifact.backend == "onnxruntime":
            progress(f"pictures of {artifact.path}")
            drifts.append(_drift(old, new, artifact.path, artifact.precision))
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
    table = Table("artifact", title="pictures of the old bundle's golden conditions", title_justify="left")
    for column in ("PSNR", "largest", "8-bit levels", "values changed", ""):
        table.add_column(column, justify="right")
    for d in comparison.drifts:
        figures = (f"{d.psnr_db:.1f} dB", f"{d.max_abs:.3g}", f"{d.levels:.3g}", f"{d.changed_share:.3%}")
        if d.problem:
            console.print(f"{d.artifact}: {d.problem}", highlight=False, markup=False)
        verdict = "[green]kept[/]" if d.kept else "[red]MOVED[/]"
        table.add_row(d.artifact, *(figures if not d.problem else ("-",) * 4), verdict)
    console.print(table)


def _drift(old: Bundle, new: Bundle, path: str, precision: str) -> Drift:
    if precision not in {a.precision for a in new.manifest.artifacts if a.backend == "onnxruntime"}:
        return Drift(artifact=path, problem="the newer bundle has none")
    outputs = old.manifest.contract.outputs
    worst = Drift(artifact=path, psnr_db=PSNR_OF_EQUAL_DB)
    with old.runner(precision=precision) as left_runner, new.runner(precision=precision) as right_runner:
        left, right = SeededGenerator(left_runner), SeededGenerator(right_runner)
        for golden, conditions in zip(old.manifest.golden, golden_conditions(old), strict=True):
            for seed in (golden.seed, *MORE_SEEDS):
                row = {name: value[None] for name, value in conditions.items()}
                before = left.generate(row, [seed], [golden.draw])
                try:
                    after = right.generate(row, [seed], [golden.draw])
                    for output in outputs:
                        worst = _worse(worst, before[output.name][0], after[output.name][0], output)
                except (CganError, KeyError, ValueError) as error:  # another signature, or other shapes
                    return Drift(artifact=path, problem=f"the golden conditions do not fit it ({error})")
                worst = replace(worst, samples=worst.samples + 1)
    return worst


def _worse(worst: Drift, before: Array, after: Array, output: Output) -> Drift:
    if before.shape != after.shape:
        raise ValueError(f"{output.name} is {list(after.shape)}, it was {list(before.shape)}")
    span = output.range[1] - output.range[0] if output.range else 1.0
    apart = np.abs(before.astype(np.float64) - after)
    if output.encoding is not None:
        a, b = (pixels_from_tensor(value, output.encoding).astype(np.int16) for value in (before, after))
        levels = np.abs(a - b).astype(np.float64)
    else:
        levels = np.floor(apart / span * 256)
    return replace(
        worst,
        psnr_db=min(worst.psnr_db, psnr_db(before, after, span)),
        max_abs=max(worst.max_abs, float(apart.max())),
        levels=max(worst.levels, float(levels.max())),
        changed_share=max(worst.changed_share, float((levels > 0).mean())),
    )


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
    return f"{drift.levels:.3g} levels, {drift.changed_share:.2%} of the values changed"
