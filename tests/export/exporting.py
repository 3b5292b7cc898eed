"""Exports of the toys, for the tests of gates and of what is written."""

from __future__ import annotations

from pathlib import Path

from cgan_export.artifacts.artifacts import ArtifactOptions
from cgan_export.bundle.writer import provenance, write_bundle
from cgan_export.export import Exported, export_generator
from cgan_export.fidelity.labels import Figures
from cgan_export.fidelity.samples import sample_conditions
from cgan_runtime.bundle import Bundle, read_bundle
from cgan_runtime.manifest import Provenance
from cgan_trainer.generator import Generator


def exported_toy(generator: Generator, options: ArtifactOptions | None = None) -> Exported:
    contract = generator.contract
    samples = sample_conditions(contract, None, None)
    return export_generator(generator, contract, samples, name="toy", family="toy", options=options)


def written(exported: Exported, path: Path) -> Bundle:
    write_bundle(path, exported, name="toy", family="toy", origin=provenance_of_toy())
    return read_bundle(path)


def provenance_of_toy() -> Provenance:
    return provenance(Path("toy.pt"), "0" * 64, options={}, training={}, graph="BtoA")


def failed(figures: Figures) -> set[str]:
    return {key for key, figure in figures.items() if not figure.passed}
