"""The search for layers that must stay in FP32: over made-up nets whose errors are known. On what it is done."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx
import pytest
from cgan_export.artifacts.artifacts import BuildContext, search_case
from cgan_export.artifacts.precision.layers import Layer
from cgan_export.artifacts.precision.search import layers_to_keep
from cgan_export.fidelity.samples import sample_conditions
from cgan_export.pytorch.runner import TorchRunner
from cgan_runtime.errors import CheckFailedError
from cgan_runtime.generator import SeededGenerator

from tests.export.toys import EveryKind


def layers(*macs: int) -> list[Layer]:
    return [Layer(name=f"l{i}", nodes=(f"n{i}",), tensors=("x",), macs=m) for i, m in enumerate(macs)]


def additive(harm: dict[str, float]) -> Callable[[Sequence[Layer]], float]:
    """A net whose layers' squared errors simply add up."""
    return lambda chosen: float(-10 * np.log10(sum(harm[layer.name] for layer in chosen) + 1e-12))


def test_the_search_keeps_nothing_that_need_not_be_kept() -> None:
    harm = {"l0": 1e-5, "l1": 5e-4, "l2": 4e-4, "l3": 1e-5}
    score = additive(harm)
    assert layers_to_keep(layers(9, 9, 9, 9), score, floor_db=30) == ()
    kept = layers_to_keep(layers(100, 10, 40, 100), score, floor_db=36)
    assert [layer.name for layer in kept] == ["l1", "l2"]
    # l2 alone would do at 33 dB, and so would l1: the cheap one is kept
    assert [layer.name for layer in layers_to_keep(layers(100, 10, 40, 100), score, floor_db=33)] == ["l1"]
    for left_out in kept:
        fewer = [layer for layer in layers(100, 10, 40, 100) if layer not in kept or layer == left_out]
        assert score(fewer) < 36


def test_the_search_takes_back_what_a_dearer_layer_made_needless() -> None:
    """l0 does more harm per multiply-add and is kept first; once l1 is kept it could go back to INT8."""
    score = additive({"l0": 2e-5, "l1": 1e-3, "l2": 1e-6})
    assert [layer.name for layer in layers_to_keep(layers(1, 100, 1), score, floor_db=40)] == ["l1"]


def test_nothing_is_kept_where_that_does_not_help() -> None:
    """The gates refuse the graph then, and say by how much it fails."""
    assert layers_to_keep(layers(1, 1), lambda chosen: 20.0 if chosen else 99.0, floor_db=35) == ()
    assert layers_to_keep(layers(1), lambda _: 20.0, floor_db=35) == ()


def test_a_layer_whose_result_is_not_finite_is_found() -> None:
    """As where FP16 overflows: whatever else is put back, there is no PSNR."""
    net = layers(1, 100, 1)
    kept = layers_to_keep(net, lambda chosen: -np.inf if net[1] in chosen else 70.0, floor_db=61)
    assert [layer.name for layer in kept] == ["l1"]


def test_a_net_without_layers_says_so() -> None:
    with pytest.raises(CheckFailedError, match=r"INT8 needs .* there are none"):
        layers_to_keep([], lambda _: 99.0, floor_db=35)


def test_int8_is_searched_on_the_images_it_is_calibrated_on_too() -> None:
    """Ranges fit those images, so they must not be the only ones; and a one-coloured one holds with no layers."""
    toy = EveryKind()
    reference = SeededGenerator(TorchRunner(toy.eval(), toy.contract))
    samples = sample_conditions(toy.contract, None, None)
    calibration = {name: value[[1, 0, 2]].copy() for name, value in samples.items()}
    calibration["style"][1] = 0.5
    context = BuildContext(
        contract=toy.contract,
        plain=onnx.ModelProto(),
        rewritten={},
        reference=reference,
        exact=None,
        live=None,
        samples=samples,
        numbers=(1, 2, 3, 4, 5, 6, 8, 9),
        calibration=calibration,
    )
    case = search_case(context, reference, "int8")
    assert case.seeds == [1, 2, 3, 4, 5, 6, 8, 9, 10, 11]
    for name, value in samples.items():
        np.testing.assert_array_equal(case.samples[name], np.concatenate([value, calibration[name][[0, 2]]]))
    assert search_case(context, reference, "fp16").seeds == [1, 2, 3, 4, 5, 6, 8, 9]
