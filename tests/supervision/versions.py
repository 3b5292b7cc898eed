"""Other versions of a bundle: the same contract, larger weights, golden samples of their own or of the first."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from cgan_runtime.bundle import Bundle, file_entry, read_bundle, write_manifest
from cgan_runtime.contract import ImageEncoding
from cgan_runtime.golden import golden_conditions
from cgan_runtime.images import pixels_from_tensor, png_bytes
from onnx import ModelProto

__all__ = ["heavier", "other_version", "unsound_versions"]


def heavier(model: bytes, factor: float) -> bytes:
    """The same model with larger weights in its last layer: as long, it loads, and it answers otherwise."""
    parsed = ModelProto.FromString(model)
    last = [node for node in parsed.graph.node if node.op_type in ("Conv", "ConvTranspose")][-1]
    (weight,) = (tensor for tensor in parsed.graph.initializer if tensor.name == last.input[1])
    weight.raw_data = (np.frombuffer(weight.raw_data, dtype=np.float32) * np.float32(factor)).tobytes()
    changed: bytes = parsed.SerializeToString()
    assert len(changed) == len(model)
    return changed


def other_version(first: Bundle, target: Path, factor: float, *, keeps_promise: bool = True) -> Path:
    """A bundle of the same name; one that does not keep its promise still has the golden samples of the first."""
    shutil.copytree(first.path, target)
    (artifact,) = first.manifest.artifacts
    (target / artifact.path).write_bytes(heavier(first.read(artifact), factor))
    manifest = first.manifest.model_copy(
        update={"artifacts": (artifact.model_copy(update=file_entry(target, artifact.path).model_dump()),)}
    )
    write_manifest(target, manifest)
    if keeps_promise:
        generator = read_bundle(target).generator()
        for golden, conditions in zip(manifest.golden, golden_conditions(first), strict=True):
            rows = {name: value[None] for name, value in conditions.items()}
            for output in manifest.contract.outputs:
                assert isinstance(output.encoding, ImageEncoding)
                value = generator.generate(rows, [golden.seed], [golden.draw])[output.name][0]
                path = target / golden.outputs[output.name]
                path.write_bytes(png_bytes(pixels_from_tensor(value, output.encoding)))
        generator.close()
        files = tuple(file_entry(target, file.path) for file in manifest.files)
        write_manifest(target, manifest.model_copy(update={"files": files}))
    return target


def unsound_versions(first: Bundle, root: Path) -> dict[str, Path]:
    """A damaged bundle, and a liar: one whose model does not give its golden samples."""
    found = {
        "damaged": other_version(first, root / "damaged", 3),
        "liar": other_version(first, root / "liar", 2.5, keeps_promise=False),
    }
    (artifact,) = first.manifest.artifacts
    model = found["damaged"] / artifact.path
    model.write_bytes(model.read_bytes()[:-1] + b"x")
    return found
