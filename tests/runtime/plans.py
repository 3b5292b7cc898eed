"""Bundles with TensorRT plans that nothing reads: what their manifests say is what counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
from cgan_export.graph.sizes import SizeWish, sized
from cgan_runtime.atomic import atomic_folder
from cgan_runtime.bundle import Bundle, file_entry, read_bundle, write_manifest
from cgan_runtime.contract import Contract
from cgan_runtime.errors import CganError
from cgan_runtime.manifest import Artifact, Batch, Manifest, Plan, Profile, Provenance
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as proto

from tests.export.engines import KINDS, translator

VERSION = "11.1.0.106"
PROFILES = (Profile(batch=Batch(min=1, opt=1, max=1)), Profile(batch=Batch(min=1, opt=8, max=16)))


def plan(*targets: str, version: str = VERSION, profiles: tuple[Profile, ...] = PROFILES, **more: object) -> Plan:
    return Plan.model_validate({"version": version, "targets": targets or ("sm86",), "profiles": profiles, **more})


def batches(*ranges: tuple[int, int, int]) -> tuple[Profile, ...]:
    """Profiles of (smallest, tuned, largest) batches."""
    return tuple(Profile(batch=Batch(min=low, opt=best, max=high)) for low, best, high in ranges)


def bundle_with_plans(
    root: Path,
    contract: Contract,
    plans: Mapping[str, Plan],
    *,
    name: str = "net",
    model: bytes = b"an ONNX file",
    io: Literal["fp32", "fp16"] = "fp16",
    precision: Literal["fp16", "int8"] = "fp16",
    backend: str = "tensorrt",
    signed: bool = True,
) -> Bundle:
    """A bundle with an FP32 file, an FP16 one (`model`), and a plan for each entry by file name."""
    with atomic_folder(root / name) as folder:
        if plans:
            (folder / "engines").mkdir()
        files: dict[str, tuple[bytes, str, str, Plan | None]] = {
            "model.onnx": (b"FP32", "onnxruntime", "fp32", None),
            "model.fp16.onnx": (model, "onnxruntime", "fp16", None),
        }
        for file, one in plans.items():
            files[f"engines/{file}"] = (f"{file} of {one.version}".encode(), backend, precision, one)
        artifacts = []
        for path, (data, of, in_precision, built) in files.items():
            (folder / path).write_bytes(data)
            artifacts.append(
                Artifact.model_validate(
                    {
                        **file_entry(folder, path).model_dump(),
                        "backend": of,
                        "precision": in_precision,
                        "batch": Batch(max=16),
                        "size": None,
                        "io": "fp32" if in_precision == "fp32" else io,
                        "plan": built,
                    }
                )
            )
        manifest = Manifest(
            name=name,
            family="tests",
            contract=contract,
            artifacts=tuple(artifacts),
            golden=(),
            files=(),
            provenance=Provenance(
                checkpoint="none.pt", checkpoint_sha256="0" * 64, created="", versions={}, command="tests"
            ),
        )
        write_manifest(folder, manifest)
    return replace(read_bundle(root / name), is_signed=signed)


def contract_of(kind: str) -> Contract:
    if kind != "free size":
        return KINDS[kind]().contract
    generator = translator().eval()
    return sized(generator, generator.contract, SizeWish())


def config_of(root: Path, model: str) -> Any:
    return text_format.Parse((root / model / "config.pbtxt").read_text(), proto.ModelConfig())


def refusal(action: Callable[[], object], kind: type[CganError]) -> str:
    with pytest.raises(kind) as caught:
        action()
    return str(caught.value)
