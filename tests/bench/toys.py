"""A small family with a label, a vector and z, an image and a score out; and bundles of it, written by hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from cgan_export.graph.onnx_graph import onnx_from_generator
from cgan_runtime.bundle import file_entry, write_manifest
from cgan_runtime.contract import (
    Condition,
    Contract,
    ImageEncoding,
    LabelEncoding,
    NoiseInput,
    Output,
    ScoreEncoding,
    VectorEncoding,
)
from cgan_runtime.manifest import Artifact, Batch, Manifest, Provenance
from cgan_trainer.generator import Generator
from torch import Tensor, nn

IMAGE = Output(
    name="picture", shape=(1, 8, 8), range=(-1.0, 1.0), encoding=ImageEncoding(color="L", mean=(0.5,), std=(0.5,))
)
SCORE = Output(name="score", shape=(), encoding=ScoreEncoding(threshold=100.0, positive="odd"))
LABEL = Condition(name="label", shape=(), dtype="int64", encoding=LabelEncoding(names=("cat", "dog", "owl")))
STYLE = Condition(name="style", shape=(5,), encoding=VectorEncoding())


class TwoOutputs(Generator):
    """Label, style and z to an image of 8x8 and a score around 6000, or z alone to the same."""

    def __init__(self, *, conditions: bool = True, score_factor: float = 1.0) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.conditions = (LABEL, STYLE) if conditions else ()
        self.score_factor = score_factor
        self.embedding = nn.Embedding(3, 4)
        self.image = nn.Linear(6 + 4 + 5 if conditions else 6, 64)

    @property
    def contract(self) -> Contract:
        return Contract(
            conditions=self.conditions,
            noise=(NoiseInput(name="z", index=0, distribution="normal", shape=(6,)),),
            outputs=(IMAGE, SCORE),
            statistics="none",
        )

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        code = inputs[-1]
        if self.conditions:
            label, style, z = inputs
            code = torch.cat([z, self.embedding(label), style], dim=1)
        image = torch.tanh(self.image(code))
        return image.view(-1, 1, 8, 8), (6000 + image.sum(dim=1)) * self.score_factor


def write_toy_bundle(root: Path, artifacts: Mapping[str, Generator]) -> Path:
    """A bundle whose artifact of each precision is the FP32 graph of another generator."""
    root.mkdir()
    entries = []
    for precision, generator in artifacts.items():
        name = "model.onnx" if precision == "fp32" else f"model.{precision}.onnx"
        model = onnx_from_generator(generator.eval(), generator.contract)
        (root / name).write_bytes(model.SerializeToString())
        file = file_entry(root, name).model_dump()
        entries.append(
            Artifact(**file, backend="onnxruntime", precision=precision, batch=Batch(max=16), size=(8, 8))  # type: ignore[arg-type]  # a key of the mapping
        )
    origin = Provenance(
        checkpoint="toy.pt", checkpoint_sha256="0" * 64, created="2026-01-01", versions={}, command="by hand"
    )
    manifest = Manifest(
        name="toy",
        family="toy",
        contract=artifacts["fp32"].contract,
        artifacts=tuple(entries),
        golden=(),
        files=(),
        provenance=origin,
    )
    write_manifest(root, manifest)
    return root
