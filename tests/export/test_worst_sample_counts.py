"""A gate reports the worst of what it looked at, wherever that lies, and at every size that it looks at."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from cgan_export.fidelity import gates
from cgan_export.fidelity.case import Case
from cgan_export.fidelity.labels import Figures
from cgan_export.fidelity.limits import Limits
from cgan_export.fidelity.output_kinds import OutputMeasure, Pair, measure_of
from cgan_export.fidelity.samples import sample_conditions
from cgan_export.graph.sizes import SizeWish, sized
from cgan_export.pytorch.mode import FP64
from cgan_export.pytorch.runner import TorchRunner
from cgan_runtime.contract import ImageEncoding
from cgan_runtime.generator import SeededGenerator
from cgan_runtime.images import pixels_from_tensor
from cgan_runtime.runners.base import Array, Tensors

from tests.export.exporting import failed
from tests.export.test_output_kinds import Changed
from tests.export.test_probes import resnet
from tests.export.toys import EveryKind

SAMPLES = 5
OUTPUTS = {output.name: output for output in EveryKind().contract.outputs}
FP32, FP16 = Limits.of("fp32"), Limits.of("fp16")
QUESTIONS: dict[str, Callable[[OutputMeasure, Sequence[Pair]], Figures]] = {
    "parity": lambda measure, pairs: measure.parity(pairs, FP32),
    "parity of FP16": lambda measure, pairs: measure.parity(pairs, FP16),
    "batch": lambda measure, pairs: measure.batch(pairs, FP32),
    "golden": lambda measure, pairs: measure.golden(pairs),
    "other sizes": lambda measure, pairs: measure.other_sizes(pairs, FP32),
}


def pairs_of(name: str, question: str, bad: int) -> list[Pair]:
    """Equal pairs but for one, which is far apart; the last holds the largest magnitude, so it gives the scale."""
    output = OUTPUTS[name]
    low, high = output.range or (-1.0, 1.0)
    draws = np.random.default_rng(4)
    pairs: list[Pair] = []
    for number in range(SAMPLES):
        ours: Array = draws.uniform(low, high, tuple(int(side) for side in output.shape)).astype(np.float32)
        theirs: Array = ours.copy()
        if number == bad:
            ours = (low + high - ours).astype(np.float32)
        if question == "golden" and isinstance(output.encoding, ImageEncoding):
            theirs = pixels_from_tensor(theirs, output.encoding)
        pairs.append((ours, theirs))
    return pairs


@pytest.mark.parametrize("name", OUTPUTS)
@pytest.mark.parametrize("question", QUESTIONS)
def test_one_bad_sample_fails_wherever_it_lies(name: str, question: str) -> None:
    ask, measure = QUESTIONS[question], measure_of(OUTPUTS[name])
    assert not failed(ask(measure, pairs_of(name, question, bad=-1)))
    for bad in range(SAMPLES):
        pairs = pairs_of(name, question, bad)
        figures = ask(measure, pairs)
        assert failed(figures) == set(figures), bad
        for order in (range(SAMPLES)[::-1], [2, 0, 4, 1, 3]):
            assert ask(measure, [pairs[row] for row in order]) == figures, "the order of samples means nothing"


@pytest.mark.parametrize("name", OUTPUTS)
def test_quality_and_errors_are_of_each_sample(name: str) -> None:
    measure = measure_of(OUTPUTS[name])
    for bad in range(SAMPLES):
        pairs = pairs_of(name, "parity", bad)
        assert int(np.argmin(measure.quality_db(pairs))) == bad
        errors = measure.errors(pairs, FP32)
        assert [row for row, error in enumerate(errors) if error > 1] == [bad]


def free_case(change: Callable[[Tensors, dict[str, Array]], dict[str, Array]]) -> Case:
    """A generator of free size, 32 pixels in its samples, and an artifact that `change` makes of it."""
    generator = resnet(32, blocks=1)
    free = sized(generator, generator.contract, SizeWish())
    runner = TorchRunner(generator, free)
    return Case(
        target=SeededGenerator(Changed(runner, change)),
        reference=SeededGenerator(runner),
        exact=SeededGenerator(TorchRunner(generator, free, mode=FP64)),
        live=None,
        samples=sample_conditions(generator.contract, None, None),
        limits=FP32,
    )


def is_smallest(shape: tuple[int, ...]) -> bool:
    return shape[-1] == shape[-2] < 32


def is_oblong(shape: tuple[int, ...]) -> bool:
    return shape[-1] != shape[-2]


@pytest.mark.parametrize("wrong_at", [is_smallest, is_oblong])
def test_an_artifact_that_is_wrong_at_one_other_size_fails(wrong_at: Callable[[tuple[int, ...]], bool]) -> None:
    def bend(_: Tensors, answer: dict[str, Array]) -> dict[str, Array]:
        return {"picture": answer["picture"] * np.float32(0.9 if wrong_at(answer["picture"].shape) else 1)}

    assert failed(gates.other_sizes(free_case(lambda *_: {}))) == set()
    assert failed(gates.other_sizes(free_case(bend))) == {"other_sizes_psnr"}
    assert failed(gates.parity(free_case(bend))) == set(), "at the size of the samples nothing is to be seen"


def test_without_a_reference_or_a_free_size_there_is_nothing_to_compare() -> None:
    case = free_case(lambda *_: {})
    alone = Case(target=case.target, reference=None, live=None, samples=case.samples, limits=FP32)
    assert gates.other_sizes(alone) == gates.parity(alone) == {}
