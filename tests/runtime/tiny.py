"""Bundles made by hand, a few kilobytes each, whose formulas are known: what no real family needs together.

shoes    a label (names) -> a grey image
clouds   no condition at all -> an image and a score
blends   two images and a vector -> an image, a heatmap, a score with a threshold and a raw tensor
logs     an image -> its logarithm, which is no finite number where a channel is 127 or less, and a raw tensor
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from cgan_runtime.atomic import atomic_folder
from cgan_runtime.bundle import Bundle, file_entry, read_bundle, write_manifest
from cgan_runtime.contract import (
    Condition,
    Contract,
    HeatmapEncoding,
    ImageEncoding,
    LabelEncoding,
    NoiseInput,
    Output,
    ScoreEncoding,
    VectorEncoding,
)
from cgan_runtime.manifest import Artifact, Batch, Manifest, Provenance
from cgan_runtime.noise import noise
from onnx import TensorProto, helper, numpy_helper

Array = npt.NDArray[Any]
SIDE = 16
CLASSES = ("boot", "sneaker", "bag")
GREY = ImageEncoding(color="L", mean=(0.0,), std=(1.0,))
RNG = np.random.default_rng(3)
W = {
    "classes": RNG.normal(size=(len(CLASSES), 8)).astype(np.float32),
    "z8": RNG.normal(size=(4, 8)).astype(np.float32) * np.float32(0.5),
    "grow": RNG.normal(size=(8, SIDE * SIDE)).astype(np.float32),
    "clouds": RNG.normal(size=(4, 3 * SIDE * SIDE)).astype(np.float32) * np.float32(0.5),
    "code": RNG.normal(size=(4, 3)).astype(np.float32),
    "z3": RNG.normal(size=(4, 3)).astype(np.float32) * np.float32(0.2),
}
Z = NoiseInput(name="z", index=0, distribution="normal", shape=(4,))


def shoes(root: Path) -> Bundle:
    contract = Contract(
        conditions=(Condition(name="label", shape=(), dtype="int64", encoding=LabelEncoding(names=CLASSES)),),
        noise=(Z,),
        outputs=(Output(name="picture", shape=(1, SIDE, SIDE), range=(0.0, 1.0), encoding=GREY),),
        statistics="none",
    )
    nodes = [
        helper.make_node("Gather", ["classes", "label"], ["class"]),
        helper.make_node("MatMul", ["z", "z8"], ["drawn"]),
        helper.make_node("Add", ["class", "drawn"], ["both"]),
        helper.make_node("MatMul", ["both", "grow"], ["flat"]),
        helper.make_node("Sigmoid", ["flat"], ["bounded"]),
        helper.make_node("Reshape", ["bounded", "image_shape"], ["picture"]),
    ]
    return _write(root, "shoes", contract, nodes, ["classes", "z8", "grow"], image_shape=[0, 1, SIDE, SIDE])


def shoes_formula(label: int, seed: int, draw: int = 0) -> Array:
    """image [1, 16, 16] in float64."""
    both = W["classes"][label] + _z(seed, draw) @ W["z8"].astype(np.float64)
    image: Array = 1 / (1 + np.exp(-(both @ W["grow"].astype(np.float64))))
    return image.reshape(1, SIDE, SIDE)


def clouds(root: Path) -> Bundle:
    contract = Contract(
        conditions=(),
        noise=(Z,),
        outputs=(
            Output(name="picture", shape=(3, SIDE, SIDE), range=(-1.0, 1.0), encoding=ImageEncoding()),
            Output(name="score", shape=(), encoding=ScoreEncoding()),
        ),
        statistics="none",
    )
    nodes = [
        helper.make_node("MatMul", ["z", "clouds"], ["flat"]),
        helper.make_node("Tanh", ["flat"], ["bounded"]),
        helper.make_node("Reshape", ["bounded", "image_shape"], ["picture"]),
        helper.make_node("ReduceMean", ["picture", "all_axes"], ["score"], keepdims=0),
    ]
    return _write(root, "clouds", contract, nodes, ["clouds"], image_shape=[0, 3, SIDE, SIDE], all_axes=[1, 2, 3])


def clouds_formula(seed: int, draw: int = 0) -> dict[str, Array]:
    """Both outputs in float64."""
    image = np.tanh(_z(seed, draw) @ W["clouds"].astype(np.float64)).reshape(3, SIDE, SIDE)
    return {"picture": image, "score": image.mean()}


def blends(root: Path) -> Bundle:
    contract = Contract(
        conditions=(
            Condition(name="content", shape=(3, SIDE, SIDE), encoding=ImageEncoding()),
            Condition(name="style", shape=(3, SIDE, SIDE), encoding=ImageEncoding()),
            Condition(name="style_code", shape=(4,), encoding=VectorEncoding()),
        ),
        noise=(Z,),
        outputs=(
            Output(name="picture", shape=(3, SIDE, SIDE), range=(-1.0, 1.0), encoding=ImageEncoding()),
            Output(name="change", shape=(1, SIDE, SIDE), range=(0.0, 2.0), encoding=HeatmapEncoding()),
            Output(name="score", shape=(), encoding=ScoreEncoding(threshold=0.25, positive="changed")),
            Output(name="features", shape=(3,)),
        ),
        statistics="none",
    )
    nodes = [
        helper.make_node("MatMul", ["style_code", "code"], ["tint"]),
        helper.make_node("MatMul", ["z", "z3"], ["drawn"]),
        helper.make_node("ReduceMean", ["style", "pixel_axes"], ["mood"], keepdims=0),
        helper.make_node("Sum", ["tint", "drawn", "mood"], ["features"]),
        helper.make_node("Reshape", ["features", "channel_shape"], ["shift"]),
        helper.make_node("Add", ["content", "shift"], ["shifted"]),
        helper.make_node("Tanh", ["shifted"], ["picture"]),
        helper.make_node("Sub", ["content", "picture"], ["apart"]),
        helper.make_node("Abs", ["apart"], ["far"]),
        helper.make_node("ReduceMean", ["far", "channel_axes"], ["change"], keepdims=1),
        helper.make_node("ReduceMean", ["far", "all_axes"], ["score"], keepdims=0),
    ]
    shapes = {"channel_shape": [0, 3, 1, 1], "pixel_axes": [2, 3], "channel_axes": [1], "all_axes": [1, 2, 3]}
    return _write(root, "blends", contract, nodes, ["code", "z3"], **shapes)


def blends_formula(content: Array, style: Array, code: Array, seed: int, draw: int = 0) -> dict[str, Array]:
    """Every output of one sample in float64; content and style [3, 16, 16], code [4]."""
    features = code.astype(np.float64) @ W["code"] + _z(seed, draw) @ W["z3"] + style.mean(axis=(1, 2))
    image = np.tanh(content + features[:, None, None])
    far = np.abs(content - image)
    return {
        "picture": image,
        "change": far.mean(axis=0, keepdims=True),
        "score": far.mean(),
        "features": features,
    }


def logs(root: Path) -> Bundle:
    contract = Contract(
        conditions=(Condition(name="condition", shape=(3, SIDE, SIDE), encoding=ImageEncoding()),),
        noise=(),
        outputs=(
            Output(name="picture", shape=(3, SIDE, SIDE), encoding=ImageEncoding()),
            Output(name="features", shape=(3, SIDE, SIDE)),
        ),
        statistics="none",
    )
    nodes = [
        helper.make_node("Log", ["condition"], ["picture"]),
        helper.make_node("Identity", ["condition"], ["features"]),
    ]
    return _write(root, "logs", contract, nodes, [])


def _z(seed: int, draw: int) -> Array:
    return noise("normal", (4,), seed=seed, tensor=0, draw=draw).astype(np.float64)


def _write(
    root: Path, name: str, contract: Contract, nodes: list[Any], weights: list[str], **constants: list[int]
) -> Bundle:
    types = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64}
    inputs, outputs = (
        [helper.make_tensor_value_info(t.name, types[t.dtype], ["batch", *t.shape]) for t in tensors]
        for tensors in (contract.inputs, contract.outputs)
    )
    arrays = {key: W[key] for key in weights} | {k: np.array(v, dtype=np.int64) for k, v in constants.items()}
    values = [numpy_helper.from_array(array, key) for key, array in arrays.items()]
    graph = helper.make_graph(nodes, name, inputs, outputs, values)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    with atomic_folder(root / name) as folder:
        (folder / "model.onnx").write_bytes(model.SerializeToString())
        entry = file_entry(folder, "model.onnx")
        artifact = Artifact(
            **entry.model_dump(), backend="onnxruntime", precision="fp32", batch=Batch(), size=(SIDE, SIDE)
        )
        manifest = Manifest(
            name=name,
            family="tiny",
            contract=contract,
            artifacts=(artifact,),
            golden=(),
            files=(),
            provenance=Provenance(
                checkpoint="none.pt", checkpoint_sha256="0" * 64, created="", versions={}, command="tests"
            ),
        )
        write_manifest(folder, manifest)
    return read_bundle(root / name)
