"""Checkpoint to bundle: read, fix the statistics, make the graph, pass the gates, write."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import onnx
from cgan_runtime.contract import Contract, Statistics
from cgan_runtime.errors import CheckFailedError
from cgan_runtime.generator import SeededGenerator
from cgan_runtime.manifest import Figure
from cgan_runtime.runners.base import Array
from cgan_runtime.runners.onnxruntime import OnnxRuntimeRunner
from cgan_trainer.families.base import Generator
from cgan_trainer.readers import Choices, Loaded

from cgan_export.gates import Case, Limits, run_gates
from cgan_export.graph import lint, onnx_from_generator, with_metadata
from cgan_export.rewrites import rewrite
from cgan_export.samples import sample_conditions
from cgan_export.sources import load_source
from cgan_export.statistics import with_statistics
from cgan_export.torch_runner import TorchRunner

__all__ = ["Exported", "export_checkpoint", "export_generator", "require_passed"]


@dataclass(frozen=True, kw_only=True)
class Exported:
    """A generator that became a graph, and what the gates measured; what a bundle is written from.

    `samples` are the conditions [N, ...] it was tested on, `generator` runs the very bytes of `model`.
    """

    contract: Contract
    model: bytes
    rewrites: dict[str, int]
    figures: dict[str, Figure]
    samples: dict[str, Array]
    generator: SeededGenerator


def export_checkpoint(
    path: Path,
    *,
    name: str,
    statistics: Statistics | None = None,
    pictures: Path | None = None,
    choices: Choices | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> tuple[Loaded, Exported]:
    """Read a checkpoint and export its generator.

    Args:
        path: a checkpoint written by cgan-train, or by code the readers know.
        name: name of the model inside the graph.
        statistics: the policy for batch-norm; None takes the checkpoint's.
        pictures: a folder of conditions to test on; None takes the checkpoint's examples.
        choices: what a file from other code does not say.
        progress: told what is being done.

    Raises:
        BadInputError: the checkpoint or a picture cannot be used.
        UsageError: a choice does not fit the checkpoint.
        CheckFailedError: the graph is not a valid pure function.
    """
    progress("reading the checkpoint")
    loaded, contract = load_source(path, choices, statistics)
    examples = None if loaded.examples is None else loaded.examples.numpy()
    samples = sample_conditions(contract, examples, pictures)
    exported = export_generator(
        loaded.generator,
        contract,
        samples,
        name=name,
        family=loaded.family,
        statistics=statistics,
        progress=progress,
    )
    return loaded, exported


def export_generator(
    generator: Generator,
    contract: Contract,
    samples: dict[str, Array],
    *,
    name: str,
    family: str,
    statistics: Statistics | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Exported:
    """A generator of any family as a graph, with the figures of every gate (see `require_passed`).

    Raises:
        CheckFailedError: the graph draws random numbers, depends on its batch, or is not valid ONNX.
    """
    generator, contract = with_statistics(generator, contract, statistics)
    progress("making the graph")
    model = with_metadata(onnx_from_generator(generator, contract), name=name, family=family, contract=contract)
    rewrites = rewrite(model)
    lint(model)
    data = model.SerializeToString(deterministic=True)
    subject = SeededGenerator(OnnxRuntimeRunner(data, contract))
    reference = TorchRunner(generator, contract)
    figures = run_gates(
        Case(
            subject=subject,
            reference=SeededGenerator(reference),
            live=reference,
            samples=samples,
            limits=Limits.of("fp32"),
        ),
        progress,
    )
    return Exported(
        contract=contract,
        model=data,
        rewrites=rewrites,
        figures=figures,
        samples=samples,
        generator=subject,
    )


def require_passed(figures: dict[str, Figure], what: str) -> None:
    """Stop where a figure is beyond its limit.

    Raises:
        CheckFailedError: lists every figure that failed.
    """
    failed = [
        f"{key} is {figure.value:.4g}, must be {figure.rule} {figure.limit:.4g}"
        for key, figure in figures.items()
        if not figure.passed
    ]
    if failed:
        raise CheckFailedError(f"{what} failed its fidelity gates: {'; '.join(failed)}.")


def opset(model: bytes) -> int:
    """The default-domain opset of a serialised model."""
    imports = onnx.load_from_string(model).opset_import
    return int(next(entry.version for entry in imports if not entry.domain))
