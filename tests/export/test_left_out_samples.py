"""Where samples are left out as undefined, the others keep their numbers, their seeds and their reference."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from cgan_export.artifacts.artifacts import ArtifactOptions
from cgan_export.export import Exported, export_generator
from cgan_export.fidelity.case import MIN_SAMPLES
from cgan_export.fidelity.samples import sample_conditions
from cgan_export.report.diagnostics import gather
from cgan_export.report.layer_compare import layer_divergence
from cgan_runtime.contract import Contract, NoiseInput
from cgan_runtime.generator import SeededGenerator, noise_tensors
from cgan_runtime.manifest import Figure
from cgan_runtime.runners.base import Array, Tensors
from cgan_trainer.generator import Generator
from torch import Tensor

from tests.export.exporting import written
from tests.export.test_output_kinds import Changed
from tests.export.test_probes import FLAT, drawn, resnet
from tests.pages import check_page

LEFT_OUT = (2, 5)  # numbers of samples of one colour, at which the generator is undefined
COUNT = 9


class Noisy(Generator):
    """A ResNet whose image a seed makes lighter or darker."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = resnet()

    @property
    def contract(self) -> Contract:
        noise = NoiseInput(name="z", index=0, distribution="normal", shape=(3, 1, 1))
        return self.inner.contract.model_copy(update={"noise": (noise,)})

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        condition, z = inputs
        return (torch.tanh(self.inner(condition)[0] + z / 4),)


@pytest.fixture(scope="module")
def exported() -> Exported:
    generator = Noisy().eval()
    images = np.resize(sample_conditions(generator.contract, None, None)["condition"], (COUNT, 3, 64, 64))
    for number in LEFT_OUT:
        images[number - 1] = drawn(generator.contract, FLAT, 64)[0]
    return export_generator(
        generator,
        generator.contract,
        {"condition": images},
        name="toy",
        family="toy",
        options=ArtifactOptions(precisions=("fp32", "fp16")),
    )


def test_what_is_left_keeps_its_number_and_is_used_again_where_it_is_little(exported: Exported) -> None:
    assert exported.passed
    kept = [number for number in range(1, COUNT + 1) if number not in LEFT_OUT]
    assert exported.context.numbers == (*kept, *kept[: MIN_SAMPLES - len(kept)])
    assert exported.undefined == (FLAT, f"{len(LEFT_OUT)} of the {COUNT} samples checked")


def test_the_worst_sample_of_the_report_is_that_of_the_figures(exported: Exported) -> None:
    """Under another seed, or against another reference, it would have another difference."""
    for artifact in exported.artifacts:
        figures = artifact.figures
        worst = min(figures[name].value for name in ("parity_psnr", "probes_psnr"))
        assert gather(exported.context, artifact).psnr_db == pytest.approx(worst, abs=1e-9)


def test_a_bad_sample_after_those_left_out_is_shown_under_its_own_seed_and_reference(exported: Exported) -> None:
    """Sample 4, the third of what is left, is off by 0.7 of the limit: then the gate goes by float64."""
    artifact, context = exported.artifacts[0], exported.context
    row = context.numbers.index(4)
    conditions = {"condition": context.samples["condition"][row : row + 1]}

    def bend(inputs: Tensors, answer: dict[str, Array]) -> dict[str, Array]:
        bad = np.array_equal(inputs["condition"], conditions["condition"])
        return {"picture": answer["picture"] + np.float32(7e-5 if bad else 0)}

    bent = SeededGenerator(Changed(artifact.generator.runner, bend))
    failing = {"parity_max_abs": Figure(value=1, limit=1e-4, rule="<=")}
    found = gather(context, replace(artifact, generator=bent, figures=failing))
    assert found.sample == "number 4"
    assert context.exact is not None
    assert np.array_equal(found.theirs, context.exact.generate(conditions, [4], [0])["picture"][0])
    assert not np.array_equal(found.theirs, context.reference.generate(conditions, [4], [0])["picture"][0])
    inputs = {**conditions, **noise_tensors(exported.contract.noise, [4], [0], {})}
    graphs = (context.plain, onnx.load_from_string(artifact.measured))
    assert found.divergence is not None
    assert found.divergence.layers == layer_divergence(*graphs, inputs, floor_db=0).layers


def test_the_report_says_which_samples_it_counts(exported: Exported, tmp_path: Path) -> None:
    bundle = written(exported, tmp_path / "toy")
    said = check_page((bundle.path / "report.html").read_text()).text
    assert f"Left out, because the generator itself is undefined there: {', '.join(exported.undefined)}." in said
    assert "sample 1 is drawn with seed 1" in said
