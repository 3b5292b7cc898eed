"""A bundle as a Triton model repository: `<name>`, `<name>_png` and `<name>_core`.

Every model folder is complete in itself (the runtime package lies beside `model.py`), so the repository can be
copied to another machine or into a container whose Python has the packages of `environment.MODEL_PACKAGES`.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cgan_runtime
from cgan_runtime.bundle import Bundle
from cgan_runtime.contract import Condition, NoiseInput, Output, Tensor

__all__ = ["RepositoryOptions", "model_names", "write_repository"]

TRITON_TYPES: Final = {"float32": "TYPE_FP32", "int64": "TYPE_INT64"}
FRONT_INSTANCES: Final = 2  # one prepares the next batch while the other waits for the engine
# What the models import; the commands and the launcher stay behind.
PACKAGE_FILES: Final = (
    "__init__.py",
    "axes.py",
    "contract.py",
    "errors.py",
    "generator.py",
    "noise.py",
    "onnx_file.py",
    "pictures.py",
    "runners/__init__.py",
    "runners/base.py",
    "runners/onnxruntime.py",
    "serving/__init__.py",
    "serving/models.py",
)


@dataclass(frozen=True, kw_only=True)
class RepositoryOptions:
    """How the models run.

    Attributes:
        max_batch: rows that one execution may hold.
        threads: ONNX Runtime threads of the engine; 0 lets it choose.
        precision: which ONNX artifact of the bundle to serve.
        link: link the ONNX file instead of copying it (for a repository that lives beside its bundle).
    """

    max_batch: int = 8
    threads: int = 0
    precision: str = "fp32"
    link: bool = False


def model_names(bundle: Bundle) -> tuple[str, ...]:
    """Models of the bundle, the engine first: the others call it."""
    name, contract = bundle.manifest.name, bundle.manifest.contract
    pictures = contract.image_condition is not None and contract.image_output is not None
    return (f"{name}_core", name, *((f"{name}_png",) if pictures else ()))


def write_repository(root: Path, bundle: Bundle, options: RepositoryOptions) -> tuple[str, ...]:
    """Add the bundle's models to the repository folder `root`; returns their names, the engine first."""
    names = model_names(bundle)
    for name, kind in zip(names, ("CoreModel", "SeededModel", "PngModel"), strict=False):
        version = root / name / "1"
        version.mkdir(parents=True)
        _copy_package(version / "cgan_runtime")
        code = f"from cgan_runtime.serving.models import {kind} as TritonPythonModel\n"
        (version / "model.py").write_text(code, encoding="utf-8")
        (root / name / "config.pbtxt").write_text(_config(name, kind, bundle, options), encoding="utf-8")
    artifact = bundle.artifact(precision=options.precision)
    _place(bundle.path / artifact.path, root / names[0] / "1" / "model.onnx", link=options.link)
    return names


def _config(name: str, kind: str, bundle: Bundle, options: RepositoryOptions) -> str:
    contract = bundle.manifest.contract
    seed = ['{ name: "seed" data_type: TYPE_UINT64 dims: [ 1 ] }']
    optional = [
        '{ name: "seed" data_type: TYPE_UINT64 dims: [ 1 ] optional: true }',
        '{ name: "draw" data_type: TYPE_UINT32 dims: [ 1 ] optional: true }',
    ]
    if kind == "CoreModel":
        inputs, outputs = [_tensor(t) for t in contract.inputs], [_tensor(t) for t in contract.outputs]
    elif kind == "SeededModel":
        inputs = [*(_tensor(c) for c in contract.conditions), *optional]
        outputs = [*(_tensor(o) for o in contract.outputs), *seed]
    else:
        image, picture = contract.image_condition, contract.image_output
        others = [_tensor(c) for c in contract.conditions if c is not image]
        inputs = [*others, '{ name: "image" data_type: TYPE_STRING dims: [ 1 ] }', *optional]
        outputs = [f'{{ name: "{picture.name if picture else ""}" data_type: TYPE_STRING dims: [ 1 ] }}', *seed]
    settings = {
        "contract": json.dumps(contract.model_dump(mode="json"), separators=(",", ":")),
        "name": bundle.manifest.name,
        "bundle": bundle.digest,
        "core": f"{bundle.manifest.name}_core",
        "threads": str(options.threads),
    }
    parameters = "\n".join(
        f"parameters {{ key: {json.dumps(key)} value: {{ string_value: {json.dumps(value)} }} }}"
        for key, value in settings.items()
    )
    # No queue policy: any of them makes Triton stall for about half a second under bursts.
    return f"""name: "{name}"
backend: "python"
max_batch_size: {options.max_batch}
input [
  {_indented(inputs)}
]
output [
  {_indented(outputs)}
]
instance_group [ {{ kind: KIND_CPU count: {1 if kind == "CoreModel" else FRONT_INSTANCES} }} ]
dynamic_batching {{ }}
version_policy {{ latest {{ num_versions: 1 }} }}
{parameters}
"""


def _tensor(tensor: Tensor | Condition | NoiseInput | Output) -> str:
    """A tensor as Triton declares it; a scalar per row is [1] on the wire and [] inside."""
    dims = ", ".join(str(axis) if isinstance(axis, int) else "-1" for axis in tensor.shape) or "1"
    scalar = "" if tensor.shape else " reshape: { shape: [ ] }"
    return f'{{ name: "{tensor.name}" data_type: {TRITON_TYPES[tensor.dtype]} dims: [ {dims} ]{scalar} }}'


def _indented(items: list[str]) -> str:
    return ",\n  ".join(items)


def _copy_package(target: Path) -> None:
    source = Path(cgan_runtime.__file__).parent
    for name in PACKAGE_FILES:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, target / name)


def _place(source: Path, target: Path, *, link: bool) -> None:
    if link:
        target.symlink_to(source.resolve())
    else:
        shutil.copyfile(source, target)
