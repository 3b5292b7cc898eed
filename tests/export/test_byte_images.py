"""Engines whose images are bytes: the scaling and the rounding inside are those of the host."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from cgan_export.engines.builder import BuildOptions, build_plan
from cgan_export.engines.byte_images import with_byte_images
from cgan_export.engines.edge import Edge
from cgan_export.engines.flavours import flavour
from cgan_export.engines.lint import lint_for_tensorrt
from cgan_export.engines.profiles import parse_batches, profiles_for, shapes_of
from cgan_runtime.contract import Condition, Contract, ImageEncoding, Output
from cgan_runtime.errors import UsageError
from cgan_runtime.generator import SeededGenerator
from cgan_runtime.image_bytes import bytes_from_tensors, tensors_from_bytes
from cgan_runtime.runners.base import Array
from cgan_runtime.runners.onnxruntime import OnnxRuntimeRunner
from cgan_runtime.runners.tensorrt.flavours import TENSORRT
from cgan_runtime.runners.tensorrt.stages import PlanOnDevice
from onnx import TensorProto, helper

from tests.export.engines import KINDS, graph_of, translator
from tests.runtime.tensorrt.conftest import open_on_fakes
from tests.runtime.tensorrt.fake_cuda import FakeDriver
from tests.runtime.tensorrt.fake_tensorrt import FakeTensorRt, fake_plan, session_of

EDGE = Edge(byte_images=True)
ENCODINGS = {
    "usual": ImageEncoding(),
    "cut off": ImageEncoding(rounding="truncate"),
    "of ImageNet": ImageEncoding(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    "grey": ImageEncoding(color="L", mean=(0.0,), std=(1.0,)),
}


def pointwise(encoding: ImageEncoding) -> tuple[bytes, Contract]:
    """picture = 1.3 * condition, beyond white and black at both ends."""
    channels = len(encoding.color)
    axes: list[str | int | None] = ["batch", channels, "height", "width"]
    graph = helper.make_graph(
        [helper.make_node("Mul", ["condition", "f"], ["picture"], name="mul")],
        "pointwise",
        [helper.make_tensor_value_info("condition", TensorProto.FLOAT, axes)],
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, axes)],
        [helper.make_tensor("f", TensorProto.FLOAT, [], [1.3])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    contract = Contract(
        conditions=(Condition(name="condition", shape=(channels, 16, 48), encoding=encoding),),
        noise=(),
        outputs=(Output(name="picture", shape=(channels, 16, 48), encoding=encoding),),
        statistics="none",
    )
    return model.SerializeToString(), contract


def every_byte(contract: Contract, rows: int) -> Array:
    """uint8 [rows, H, W, C] in which each value is there, in another order in each row."""
    channels, height, width = map(int, contract.conditions[0].shape)
    values = np.arange(rows * height * width * channels) * 7 % 256
    return values.astype(np.uint8).reshape(rows, height, width, channels)


@pytest.mark.parametrize("name", ENCODINGS)
def test_the_graph_does_to_bytes_what_the_host_does(name: str) -> None:
    model, contract = pointwise(ENCODINGS[name])
    given = every_byte(contract, 3)
    ours = session_of(with_byte_images(model, contract)).run(None, {"condition": given})[0]
    values = tensors_from_bytes(given, ENCODINGS[name]) * np.float32(1.3)
    wanted = bytes_from_tensors(values, ENCODINGS[name])
    assert ours.dtype == np.uint8
    assert {0, 255} <= set(np.unique(wanted))
    np.testing.assert_array_equal(ours, wanted)


def test_a_generator_makes_the_same_bytes(rows: int = 3) -> None:
    model, contract = graph_of(translator())
    inside = session_of(with_byte_images(model, contract))
    given = every_byte(contract, rows)
    with OnnxRuntimeRunner(model, contract) as runner:
        noise = {item.name: np.full((rows, *map(int, item.shape)), 2.0, np.float32) for item in contract.noise}
        wanted = runner.infer({"condition": given, **noise}, as_bytes=True)["picture"]
    np.testing.assert_array_equal(inside.run(None, {"condition": given, **noise})[0], wanted)


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind", ["unet, batch norm", "resnet", "grey", "palette", "cdcgan", "every kind of tensor"]
)
def test_tensorrt_reads_bytes_with_channels_last(kind: str) -> None:
    model, contract = graph_of(KINDS[kind]())
    changed = with_byte_images(model, contract)
    profiles = profiles_for(contract, parse_batches(["1", "1..4..16"]))
    shapes = [shapes_of(contract, profile, EDGE) for profile in profiles]
    lint_for_tensorrt(changed, contract, shapes, edge=EDGE, unsupported=lambda _: set(), who="TensorRT")
    options = BuildOptions(targets=("sm86",))
    built = build_plan(flavour("tensorrt-rtx"), changed, contract, profiles, edge=EDGE, options=options)
    assert built.plan.byte_images
    seen = {tensor.name: (tensor.dtype, tensor.shape) for tensor in (*built.inputs, *built.outputs)}
    images = 0
    for tensor in (*contract.inputs, *contract.outputs):
        if isinstance(getattr(tensor, "encoding", None), ImageEncoding):
            images += 1
            channels, height, width = tensor.shape
            assert seen[tensor.name] == ("UINT8", (-1, height, width, channels))
        else:
            assert seen[tensor.name] == ("FLOAT" if tensor.dtype == "float32" else "INT64", (-1, *tensor.shape))
    assert images


@pytest.mark.slow
def test_a_free_size_stays_free() -> None:
    model, contract = graph_of(translator(net="resnet-6", norm="instance"), free=True)
    profiles = profiles_for(contract, parse_batches(["1..4"]), "64..128")
    built = build_plan(flavour("tensorrt-rtx"), with_byte_images(model, contract), contract, profiles, edge=EDGE)
    assert built.inputs[0].shape == (-1, -1, -1, 3)
    assert built.shapes[0]["condition"] == ((1, 64, 64, 3), (4, 128, 128, 3), (4, 128, 128, 3))


@pytest.mark.parametrize("rtx", [False, True], ids=["tensorrt", "rtx"])
def test_a_runner_of_bytes_gives_what_a_runner_of_floats_gives(rtx: bool) -> None:
    """Bytes or floats given, bytes or floats wanted, batches cut and filled up: the same images."""
    model, contract = graph_of(translator())
    edge_shapes = [shapes_of(contract, one, EDGE) for one in profiles_for(contract, parse_batches(["1", "2..4"]))]
    one = open_on_fakes(with_byte_images(model, contract), contract, edge_shapes, rtx=rtx)
    assert one.runner.byte_images == {"condition", "picture"}
    with one.runner, OnnxRuntimeRunner(model, contract) as reference:
        here, there = SeededGenerator(one.runner), SeededGenerator(reference)
        encoding = ImageEncoding()
        for rows in (1, 3, 6, 1, 3):
            given = every_byte(contract, rows)
            seeds, draws = list(range(rows)), [0] * rows
            wanted = there.generate({"condition": given}, seeds, draws, as_bytes=True)["picture"]
            assert wanted.dtype == np.uint8
            assert wanted.shape == (rows, 64, 64, 3)
            for condition in (given, tensors_from_bytes(given, encoding)):
                pixels = here.generate({"condition": condition}, seeds, draws, as_bytes=True)["picture"]
                np.testing.assert_array_equal(pixels, wanted)
                values = here.generate({"condition": condition}, seeds, draws)["picture"]
                np.testing.assert_array_equal(values, tensors_from_bytes(wanted, encoding))
    assert not one.driver.alive()


def test_the_stages_of_an_engine_of_bytes_give_the_contracts_values() -> None:
    model, contract = graph_of(translator())
    driver = FakeDriver()
    shapes = [shapes_of(contract, one, EDGE) for one in profiles_for(contract, parse_batches(["3"]))]
    measured = PlanOnDevice(
        fake_plan(with_byte_images(model, contract), shapes),
        contract,
        batch=3,
        driver=driver,
        flavour=TENSORRT,
        module=FakeTensorRt(driver),
    )
    given = every_byte(contract, 3)
    with OnnxRuntimeRunner(model, contract) as reference:
        wanted = SeededGenerator(reference).generate({"condition": given}, [1, 2, 3], [0] * 3, as_bytes=True)
    values = measured.generate({"condition": tensors_from_bytes(given, ImageEncoding())}, [1, 2, 3])
    np.testing.assert_array_equal(values["picture"], tensors_from_bytes(wanted["picture"], ImageEncoding()))
    measured.close()
    assert not driver.alive()


def test_the_device_gets_a_quarter_of_the_bytes() -> None:
    model, contract = graph_of(translator(dropout="off"))
    profiles = profiles_for(contract, parse_batches(["4"]))
    copied = {}
    for edge in (Edge(), EDGE):
        form = with_byte_images(model, contract) if edge.byte_images else model
        one = open_on_fakes(form, contract, [shapes_of(contract, profile, edge) for profile in profiles])
        with one.runner:
            SeededGenerator(one.runner).generate({"condition": every_byte(contract, 4)}, [1, 2, 3, 4], [0] * 4)
            copied[edge.byte_images] = one.driver.bytes_to_device
    assert copied[False] == 4 * copied[True]


def test_a_generator_without_images_is_refused() -> None:
    model, contract = graph_of(KINDS["no condition"]())
    outputs = tuple(output.model_copy(update={"encoding": None}) for output in contract.outputs)
    with pytest.raises(UsageError, match="--byte-images is for generators that take or give images"):
        with_byte_images(model, contract.model_copy(update={"outputs": outputs}))


def test_the_graph_stays_sound() -> None:
    """Each tensor has one source, and what is renamed is renamed everywhere, skip connections included."""
    model, contract = graph_of(KINDS["every kind of tensor"](), io="fp16")
    changed = onnx.load_from_string(with_byte_images(model, contract))
    onnx.checker.check_model(changed, full_check=True)
