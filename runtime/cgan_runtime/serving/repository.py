"""A bundle as a Triton model repository: `<name>`, `<name>_png` and `<name>_core`.

Every model folder is complete in itself (the runtime package lies beside `model.py`), so the repository can be
copied to another machine or into a container whose Python has the packages of `environment.MODEL_PACKAGES`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cgan_runtime
from cgan_runtime.bundle import DEFAULT_BACKEND, DEFAULT_PRECISION, Bundle
from cgan_runtime.contract import Condition, NoiseInput, Output, Tensor
from cgan_runtime.errors import UsageError
from cgan_runtime.serving.wire import image_outputs, png_inputs, png_model_exists, travels_as_bytes

__all__ = ["RepositoryOptions", "model_names", "package_files", "require_distinct_models", "write_repository"]

TRITON_TYPES: Final = {"float32": "TYPE_FP32", "int64": "TYPE_INT64"}
SEED: Final = '{ name: "seed" data_type: TYPE_UINT64 dims: [ 1 ] }'
OPTIONAL: Final = (
    '{ name: "seed" data_type: TYPE_UINT64 dims: [ 1 ] optional: true }',
    '{ name: "draw" data_type: TYPE_UINT32 dims: [ 1 ] optional: true }',
)
BASE64: Final = '{ name: "base64" data_type: TYPE_BOOL dims: [ 1 ] optional: true }'
FRONT_INSTANCES: Final = 2  # one prepares the next batch while the other waits for the engine
# What the models import; the commands and the launcher stay behind. A folder stands for the modules in it.
PACKAGE_FILES: Final = (
    "__init__.py",
    "axes.py",
    "contract.py",
    "encodings/",
    "errors.py",
    "generator.py",
    "limits.py",
    "noise.py",
    "noise_tensors.py",
    "npy.py",
    "onnx_file.py",
    "image_formats.py",
    "image_values.py",
    "images.py",
    "plain_file.py",
    "runners/",
    "serving/__init__.py",
    "serving/models.py",
    "serving/wire.py",
)


@dataclass(frozen=True, kw_only=True)
class RepositoryOptions:
    """How the models run.

    Attributes:
        max_batch: rows that one execution may hold.
        threads: CPU threads of the engine; 0 lets the backend choose.
        precision: precision of the artifact to serve.
        backend: backend of the artifact to serve, a name of `RUNNERS`.
        device: where the engine runs; the backend's own choice if None.
    """

    max_batch: int = 8
    threads: int = 0
    precision: str = DEFAULT_PRECISION
    backend: str = DEFAULT_BACKEND
    device: str | None = None


def package_files() -> tuple[str, ...]:
    """The files of `PACKAGE_FILES`, relative to the package."""
    root = Path(cgan_runtime.__file__).parent
    found = [sorted(root.glob(f"{name}*.py")) if name.endswith("/") else [root / name] for name in PACKAGE_FILES]
    return tuple(path.relative_to(root).as_posix() for paths in found for path in paths)


def model_names(bundle: Bundle) -> tuple[str, ...]:
    """Models of the bundle, the engine first: the others call it."""
    name = bundle.manifest.name
    return (f"{name}_core", name, *((f"{name}_png",) if png_model_exists(bundle.manifest.contract) else ()))


def require_distinct_models(bundles: Sequence[Bundle]) -> None:
    """Refuse bundles whose models would have the same name.

    Raises:
        UsageError: names both bundles and the model.
    """
    owners: dict[str, Bundle] = {}
    for bundle in bundles:
        for name in model_names(bundle):
            if name in owners:
                raise UsageError(
                    f"{owners[name].path} and {bundle.path} would both serve a model {name}; "
                    "export one of them again with another --name."
                )
            owners[name] = bundle


def write_repository(root: Path, bundle: Bundle, options: RepositoryOptions) -> tuple[str, ...]:
    """Add the bundle's models to the repository folder `root`; returns their names, the engine first.

    Raises:
        BundleError: the bundle has no artifact of this backend and precision, it changed since it was read, or the
            artifact may hold program code and no signature was required.
        CganError: this release has no runner for the backend.
    """
    names, artifact = model_names(bundle), bundle.artifact(options.backend, options.precision)
    bundle.require_trusted(artifact)  # raises where the server could not run it either
    for name, kind in zip(names, ("CoreModel", "TensorModel", "PngModel"), strict=False):
        version = root / name / "1"
        version.mkdir(parents=True)
        _copy_package(version / "cgan_runtime")
        code = f"from cgan_runtime.serving.models import {kind} as TritonPythonModel\n"
        (version / "model.py").write_text(code, encoding="utf-8")
        (root / name / "config.pbtxt").write_text(_config(name, kind, bundle, options), encoding="utf-8")
    target = root / names[0] / "1" / f"model{Path(artifact.path).suffix}"
    target.write_bytes(bundle.read(artifact))  # a copy: what happens to the bundle later changes no answer
    return names


def _config(name: str, kind: str, bundle: Bundle, options: RepositoryOptions) -> str:
    contract, artifact = bundle.manifest.contract, bundle.artifact(options.backend, options.precision)
    if kind == "CoreModel":
        inputs, outputs = [_tensor(t) for t in contract.inputs], [_tensor(t) for t in contract.outputs]
    elif kind == "TensorModel":
        inputs = [*(_tensor(c) for c in contract.conditions), *OPTIONAL]
        outputs = [*(_tensor(o) for o in contract.outputs), SEED]
    else:
        files = image_outputs(contract)
        inputs = [
            *(_bytes(name) if travels_as_bytes(c) else _tensor(c) for name, c in png_inputs(contract).items()),
            *OPTIONAL,
            BASE64,
        ]
        outputs = [*(_bytes(o.name) if o in files else _tensor(o) for o in contract.outputs), SEED]
    settings = {
        "contract": json.dumps(contract.model_dump(mode="json"), separators=(",", ":")),
        "name": bundle.manifest.name,
        "model_digest": bundle.model_digest,
        "bundle": bundle.digest,
        "core": f"{bundle.manifest.name}_core",
        "backend": options.backend,
        "device": options.device or "",
        "threads": str(options.threads),
        "sha256": artifact.sha256,
        "bytes": str(artifact.bytes),
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


def _bytes(name: str) -> str:
    return f'{{ name: "{name}" data_type: TYPE_STRING dims: [ 1 ] }}'


def _tensor(tensor: Tensor | Condition | NoiseInput | Output) -> str:
    """A tensor as Triton declares it; a scalar per row is [1] on the wire and [] inside."""
    dims = ", ".join(str(axis) if isinstance(axis, int) else "-1" for axis in tensor.shape) or "1"
    scalar = "" if tensor.shape else " reshape: { shape: [ ] }"
    return f'{{ name: "{tensor.name}" data_type: {TRITON_TYPES[tensor.dtype]} dims: [ {dims} ]{scalar} }}'


def _indented(items: list[str]) -> str:
    return ",\n  ".join(items)


def _copy_package(target: Path) -> None:
    source = Path(cgan_runtime.__file__).parent
    for name in package_files():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, target / name)
