"""Small generators of every kind as ONNX files, for the tests of engines: made as an export does, without gates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from cgan_export.artifacts.artifacts import feed_of
from cgan_export.artifacts.precision.fp16 import half_precision
from cgan_export.artifacts.precision.int8 import activation_ranges, quantizable_layers, quantized
from cgan_export.engines.symmetric import symmetric_int8
from cgan_export.fidelity.samples import sample_conditions
from cgan_export.graph.onnx_graph import onnx_from_generator
from cgan_export.graph.rewrites import FOR_ALL, FOR_INT8, rewrite
from cgan_export.graph.sizes import SizeWish, sized
from cgan_export.graph.statistics import with_statistics
from cgan_runtime.contract import Contract, ImageEncoding, Statistics
from cgan_trainer.families.cdcgan import CdcganGenerator
from cgan_trainer.families.class_conditional import image_encoding
from cgan_trainer.families.label_mlp import LabelMlpGenerator, TwoBranchGenerator
from cgan_trainer.families.pix2pix_networks import Pix2pixGenerator, Pix2pixOptions
from cgan_trainer.generator import Generator
from cgan_trainer.palette import Palette

from tests.export.toys import EveryKind, Unconditional
from tests.toys import LabelGenerator

Graph = tuple[bytes, Contract]
NAMES = ("cat", "dog", "owl")


def translator(**options: object) -> Pix2pixGenerator:
    return Pix2pixGenerator(Pix2pixOptions(**{"size": 64, "ngf": 2, **options}))  # type: ignore[arg-type]  # of any option


KINDS: dict[str, Callable[[], Generator]] = {
    "unet, batch norm": translator,
    "unet, instance norm": lambda: translator(norm="instance"),
    "unet, resize convolutions": lambda: translator(norm="instance", upsample="resize"),
    "unet, no dropout": lambda: translator(dropout="off"),
    "resnet": lambda: translator(net="resnet-6", norm="instance"),
    "grey": lambda: translator(in_channels=1, out_channels=1),
    "palette": lambda: translator(palette=Palette(names=("sky", "sea"), colors=((0, 0, 255), (0, 255, 0)))),
    "cgan, mlp": lambda: LabelMlpGenerator(
        names=NAMES, embedding=4, latent=6, widths=(8, 16), image=(1, 8, 8), eps=1e-5, encoding=encoding()
    ),
    "cgan, of the paper": lambda: TwoBranchGenerator(names=NAMES, latent=6, shape=(1, 8, 8)),
    "cdcgan": lambda: CdcganGenerator(names=NAMES, latent=6, channels=3, width=2),
    "two noise inputs": LabelGenerator,
    "every kind of tensor": EveryKind,
    "no condition": Unconditional,
}


def encoding() -> ImageEncoding:
    return image_encoding(1, (-1.0, 1.0))


def graph_of(
    generator: Generator,
    precision: Literal["fp16", "int8"] = "fp16",
    *,
    io: Literal["fp32", "fp16"] = "fp32",
    free: bool = False,
    statistics: Statistics | None = None,
) -> Graph:
    """The ONNX file of a generator and its contract, made as an export makes them."""
    contract = sized(generator.eval(), generator.contract, SizeWish()) if free else generator.contract
    generator, contract = with_statistics(generator, contract, statistics)
    plain = onnx_from_generator(generator, contract)
    rewrite(plain, FOR_ALL)
    if precision == "fp16":
        return half_precision(plain, io_fp16=io == "fp16").SerializeToString(), contract
    rewrite(plain, FOR_INT8["onnxruntime"])
    layers = quantizable_layers(plain)
    samples = sample_conditions(contract, None, None)
    ranges = activation_ranges(plain, layers, [feed_of(contract, samples, 0)])
    return symmetric_int8(quantized(plain, layers, ranges).SerializeToString()), contract
