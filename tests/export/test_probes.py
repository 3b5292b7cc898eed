"""Made-up images find what photographs hide; where the function itself is lost in rounding, nothing is compared."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from cgan_export.bundle.model_card import model_card
from cgan_export.export import export_generator
from cgan_export.fidelity import gates
from cgan_export.fidelity.case import Case
from cgan_export.fidelity.limits import Limits
from cgan_export.fidelity.probes import PROBES, probe_conditions, undefined_on
from cgan_export.fidelity.samples import sample_conditions
from cgan_export.graph.onnx_graph import onnx_from_generator
from cgan_export.graph.rewrites.sample_statistics import normalise_accurately
from cgan_export.graph.sizes import SizeWish, sized
from cgan_export.pytorch.mode import FP64
from cgan_export.pytorch.runner import TorchRunner
from cgan_runtime.contract import Contract, ImageEncoding
from cgan_runtime.errors import CheckFailedError
from cgan_runtime.generator import SeededGenerator
from cgan_runtime.runners.base import Array, Tensors
from cgan_runtime.runners.onnxruntime import OnnxRuntimeRunner
from cgan_trainer.families.translator import ImageSpec, ImageTranslator
from cgan_trainer.nets.resnet import ResNet

from tests.export.exporting import exported_toy, failed, provenance_of_toy, written
from tests.export.test_output_kinds import Changed
from tests.export.toys import EveryKind, Unconditional

IMAGE = ImageSpec(meaning="a", encoding=ImageEncoding())
FLAT, LINES, LABELS, NOISE = PROBES


def resnet(size: int = 64, blocks: int = 2) -> ImageTranslator:
    """CycleGAN's kind of generator: mirrored edges, so a one-coloured image stays one to the end."""
    torch.manual_seed(0)
    net = ResNet(c_in=3, c_out=3, ngf=4, blocks=blocks, norm="instance")
    return ImageTranslator(
        net, c_in=3, size=(size, size), source=IMAGE, target=IMAGE, statistics="per_sample"
    ).eval()


def case_of(generator: ImageTranslator, change: object = lambda *_: {}, samples: Tensors | None = None) -> Case:
    runner = TorchRunner(generator, generator.contract)
    conditions = samples or sample_conditions(generator.contract, None, None)
    return Case(
        target=SeededGenerator(Changed(runner, change)),  # type: ignore[arg-type]  # any function of both
        reference=SeededGenerator(runner),
        exact=SeededGenerator(TorchRunner(generator, generator.contract, mode=FP64)),
        live=None,
        samples=conditions,
        probes=probe_conditions(generator.contract, conditions),
        limits=Limits.of("fp32"),
    )


def test_every_image_condition_gets_every_kind_of_image() -> None:
    contract = EveryKind().contract
    samples = sample_conditions(contract, None, None)
    probes = probe_conditions(contract, samples)
    assert list(probes) == list(PROBES)
    assert {(*values, *{len(value) for value in values.values()}) for values in probes.values()} == {(*samples, 1)}
    flat, lines, labels, noise = (probes[kind]["content"][0] for kind in PROBES)
    assert np.ptp(flat, axis=(1, 2)).max() == 0
    assert len(np.unique(lines)) == 2
    assert 2 < len(np.unique(labels.reshape(3, -1).T, axis=0)) <= 13
    assert len(np.unique(noise)) > 100
    assert (probes[FLAT]["style"] == probes[LINES]["content"]).all(), "the second image is of the next kind"
    assert probe_conditions(Unconditional().contract, {}) == {}
    again = probe_conditions(contract, samples)
    assert all((again[kind][name] == value).all() for kind in PROBES for name, value in probes[kind].items())


@pytest.mark.parametrize("size", [(8, 8), (16, 64), (200, 136)])
def test_probes_have_the_size_of_the_samples(size: tuple[int, int]) -> None:
    contract = resnet().contract
    probes = probe_conditions(contract, {"condition": np.zeros((8, 3, *size), dtype=np.float32)})
    assert {values["condition"].shape for values in probes.values()} == {(1, 3, *size)}
    assert {values["condition"].dtype for values in probes.values()} == {np.dtype(np.float32)}


def test_an_error_on_drawings_alone_is_found() -> None:
    def bend(inputs: Tensors, answer: dict[str, Array]) -> dict[str, Array]:
        drawn = len(np.unique(inputs["condition"])) == 2
        return {"picture": answer["picture"] + np.float32(3e-4 if drawn else 0)}

    assert failed(gates.parity(case_of(resnet()))) == set()
    assert failed(gates.parity(case_of(resnet(), bend))) == {"probes_max_abs", "probes_psnr"}


def test_where_pytorch_itself_is_lost_nothing_is_compared_and_it_is_said() -> None:
    def elsewhere(inputs: Tensors, answer: dict[str, Array]) -> dict[str, Array]:
        flat = np.ptp(inputs["condition"], axis=(1, 2, 3)).max() < 2 and len(np.unique(inputs["condition"])) <= 3
        return {"picture": answer["picture"] * np.float32(-1 if flat else 1)}

    case = case_of(resnet(), elsewhere)
    assert [kind for kind in PROBES if not case.on_probe(kind).compared().defined[0]] == [FLAT]
    assert failed(gates.parity(case)) == set()
    assert undefined_on(case) == (FLAT,)
    samples = {"condition": np.concatenate([case.samples["condition"], case.probes[FLAT]["condition"]])}
    lost = case_of(resnet(), elsewhere, samples=samples)
    assert undefined_on(lost) == (FLAT, "1 of the 9 samples checked")
    assert failed(gates.parity(lost)) == set()


def test_a_generator_that_is_lost_on_every_sample_is_not_exported() -> None:
    generator = resnet()
    flat = drawn(generator.contract, FLAT, 64)
    with pytest.raises(CheckFailedError, match="name other images with --conditions"):
        export_generator(
            generator, generator.contract, {"condition": np.repeat(flat, 8, axis=0)}, name="toy", family="toy"
        )


def test_the_card_says_where_the_generator_is_undefined(tmp_path_factory: pytest.TempPathFactory) -> None:
    bundle = written(exported_toy(resnet()), tmp_path_factory.mktemp("card") / "toy")
    card = (bundle.path / "README.md").read_text()
    assert f"The generator is undefined on {FLAT}: " in card
    manifest = bundle.manifest
    plain = model_card("toy", "toy", manifest.contract, tuple(manifest.artifacts), provenance_of_toy())
    assert "undefined" not in plain


def test_a_free_size_is_checked_where_the_net_is_well_conditioned() -> None:
    """The smallest size of a ResNet leaves two pixels a side to normalise, and a sample of one colour there."""
    generator = resnet(blocks=6)
    free = sized(generator, generator.contract, SizeWish())
    assert free.sides is not None
    assert free.sides.min == 8
    samples = sample_conditions(generator.contract, None, None)
    assert np.ptp(samples["condition"][0, :, :8, :8], axis=(1, 2)).max() == 0
    exported = export_generator(generator, free, samples, name="toy", family="toy")
    assert exported.passed
    assert exported.figures["other_sizes_psnr"].value > 100


def drawn(contract: Contract, kind: str, size: int) -> Array:
    conditions = {"condition": np.zeros((1, 3, size, size), dtype=np.float32)}
    return probe_conditions(contract, conditions)[kind]["condition"]


@pytest.mark.parametrize("kind", [LINES, LABELS, NOISE])
def test_statistics_are_as_accurate_as_pytorchs_on_drawings(kind: str) -> None:
    """ONNX Runtime's own operator is 2e-4 off on the drawing at this size; the limit of the gate is 1e-4."""
    size = 256
    generator = resnet(size, blocks=6)
    contract = generator.contract
    plain = onnx_from_generator(generator, contract)
    accurate = onnx_from_generator(generator, contract)
    count = sum(node.op_type == "InstanceNormalization" for node in plain.graph.node)
    assert normalise_accurately(accurate) == count > 0
    conditions = {"condition": drawn(contract, kind, size)}
    reference = TorchRunner(generator, contract, mode=FP64).infer(conditions)["picture"]

    def error(model: bytes) -> float:
        answer = OnnxRuntimeRunner(model, contract).infer(conditions)["picture"]
        return float(np.abs(answer - reference).max())

    assert error(accurate.SerializeToString()) < 1e-5
    if kind == LINES:
        assert error(plain.SerializeToString()) > 5e-5, "the operator became accurate: is the rewrite still needed?"


def test_a_generator_with_a_type_of_its_own_is_one_sentence() -> None:
    class Fixed(Unconditional):
        def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return super().forward(*(value.float() for value in inputs))

    runner = TorchRunner(Fixed(), Fixed().contract, mode=FP64)
    with pytest.raises(CheckFailedError, match=r"cannot be computed in float64 .*in the dtype of its inputs"):
        runner.infer({"z": np.zeros((1, 6), dtype=np.float32)})


def test_float64_is_asked_under_the_seed_of_the_sample() -> None:
    """An artifact that is off by 0.7 of the limit is held to float64: the same z, so the same image."""
    runner = TorchRunner(Unconditional(), Unconditional().contract)
    case = Case(
        target=SeededGenerator(Changed(runner, lambda _, answer: {"picture": answer["picture"] + 7e-5})),
        reference=SeededGenerator(runner),
        exact=SeededGenerator(TorchRunner(Unconditional(), runner.contract, mode=FP64)),
        live=None,
        samples={},
        limits=Limits.of("fp32"),
    )
    assert all(case.compared().defined)
    figures = gates.parity(case)
    assert failed(figures) == set()
    assert figures["parity_max_abs"].value == pytest.approx(7e-5, rel=0.05)
