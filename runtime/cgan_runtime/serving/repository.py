"""A bundle as a Triton model repository: `<name>`, `<name>_png` and `<name>_core`.

Every model folder of ours is complete in itself (the runtime package lies beside `model.py`), so the repository can
be copied to another machine or into a container whose Python has the packages that the models import.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import cgan_runtime
from cgan_runtime.bundle import Bundle
from cgan_runtime.errors import BundleError, UsageError
from cgan_runtime.manifest import Artifact
from cgan_runtime.plain_file import open_plain
from cgan_runtime.serving.config import core_config, png_config, tensor_config
from cgan_runtime.serving.core import Core, RepositoryOptions, embedded_core
from cgan_runtime.serving.wire import png_model_exists

__all__ = [
    "RepositoryOptions",
    "model_names",
    "package_files",
    "require_distinct_models",
    "write_models",
    "write_repository",
]

# What the models import; the commands and the launcher stay behind. A folder stands for the files in it.
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
    "image_bytes.py",
    "image_formats.py",
    "image_values.py",
    "images.py",
    "plain_file.py",
    "runners/",
    "runners/onnxruntime/",
    "serving/__init__.py",
    "serving/core_call.py",
    "serving/models.py",
    "serving/stage_times.py",
    "serving/wire.py",
)


def package_files(*parts: str) -> tuple[str, ...]:
    """The files of `PACKAGE_FILES`, and of more parts like them, relative to the package."""
    root = Path(cgan_runtime.__file__).parent
    found = [
        sorted(path for path in (root / name).iterdir() if path.is_file()) if name.endswith("/") else [root / name]
        for name in (*PACKAGE_FILES, *parts)
    ]
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
    """Add the bundle's models for the embedded server to the folder `root`; returns their names, the engine first.

    Raises:
        BundleError: the bundle has no artifact of this backend and precision, it changed since it was read, or the
            artifact may hold program code and no signature was required.
        CganError: this release has no runner for the backend.
    """
    return write_models(root, bundle, embedded_core(bundle, options))


def write_models(root: Path, bundle: Bundle, core: Core, names: tuple[str, ...] | None = None) -> tuple[str, ...]:
    """Write the bundle's models to the repository folder `root`, or write again what changed there.

    Args:
        root: the folder; whatever else is in it stays.
        bundle: of the models.
        core: how the engine runs.
        names: of the models, the engine first; `model_names` by default.

    Returns:
        The names.

    Raises:
        BundleError: the bundle changed since it was read, and the folder does not hold the artifacts yet.
    """
    names, contract = names or model_names(bundle), bundle.manifest.contract
    settings = {
        "contract": json.dumps(contract.model_dump(mode="json"), separators=(",", ":")),
        "name": bundle.manifest.name,
        "model_digest": bundle.model_digest,
        "bundle": bundle.digest,
        "core": names[0],
        **core.settings,
    }
    batch = core.max_batch
    configs = [
        core_config(names[0], contract, engine=core.engine, io=core.io, max_batch=batch, settings=settings),
        tensor_config(names[1], contract, max_batch=batch, settings=settings),
        *(png_config(name, contract, max_batch=batch, settings=settings) for name in names[2:]),
    ]
    for name, kind, config in zip(names, ("CoreModel", "TensorModel", "PngModel"), configs, strict=False):
        version = root / name / "1"
        version.mkdir(parents=True, exist_ok=True)
        (root / name / "config.pbtxt").write_text(config, encoding="utf-8")
        if kind != "CoreModel" or core.in_python:
            _copy_package(version / "cgan_runtime", core.parts)
            code = f"from cgan_runtime.serving.models import {kind} as TritonPythonModel\n"
            (version / "model.py").write_text(code, encoding="utf-8")
    for name, artifact in core.files.items():
        # A copy: what happens to the bundle later changes no answer.
        target = root / names[0] / "1" / name
        if not _holds(target, artifact):
            target.unlink(missing_ok=True)
            target.write_bytes(bundle.read(artifact))
    return names


def _holds(path: Path, artifact: Artifact) -> bool:
    try:
        with open_plain(path) as (stream, size):
            return size == artifact.bytes and hashlib.file_digest(stream, "sha256").hexdigest() == artifact.sha256
    except BundleError:
        return False


def _copy_package(target: Path, parts: Sequence[str]) -> None:
    source = Path(cgan_runtime.__file__).parent
    for name in package_files(*parts):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source / name, target / name)  # with its time, by which compiled code is recognised
