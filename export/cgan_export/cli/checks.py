"""What cgan-export refuses before torch is loaded: places, names and words that cannot be used."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from cgan_runtime.errors import BadInputError, CganError, UsageError

from cgan_export.precisions import CpuBackend, Precision, artifacts_for
from cgan_export.source_flags import SourceFlags, read_palette

if TYPE_CHECKING:
    from cgan_export.engine_flags import EngineFlags
    from cgan_export.engines.engines import EngineWish

__all__ = [
    "check_artifacts",
    "check_key",
    "check_palette",
    "check_target",
    "checked_name",
    "checked_wish",
    "require_torch",
    "target_for",
]


def check_target(target: Path, checkpoint: Path, *, force: bool) -> None:
    """Refuse to write over anything but a bundle, and over a bundle unless --force is given."""
    from cgan_runtime.bundle import require_replaceable

    if not target.exists():
        _check_writable(target)
        return
    if not force:
        raise UsageError(f"{target} exists already; choose another name with -o or add --force to replace it.")
    _check_writable(target)
    if checkpoint.resolve().is_relative_to(target.resolve()):
        raise UsageError(f"{checkpoint} lies in {target}, which --force would remove; choose another name with -o.")
    require_replaceable(target)


def target_for(name: str, checkpoint: Path) -> Path:
    """The folder for a bundle of this name, here; another one where that is the checkpoint's own folder."""
    beside = checkpoint.resolve().is_relative_to(Path(name).resolve())
    return Path(f"{name}-bundle" if beside else name)


def _check_writable(target: Path) -> None:
    """Refuse a place where no folder can be made, which would otherwise be found after the whole export."""
    place = next(parent for parent in target.absolute().parents if parent.exists())
    try:
        Path(tempfile.mkdtemp(prefix=".cgan-", dir=place)).rmdir()
    except OSError as error:
        raise CganError(
            f"{target} cannot be written: {place} takes no new folder ({error.strerror or error}); choose another "
            "place with -o."
        ) from error


def check_artifacts(
    precisions: Sequence[Precision],
    backends: Sequence[CpuBackend],
    io_type: str,
    *,
    conditions: Path | None,
    calibrate: Path | None,
) -> None:
    """Refuse what cannot be made here, options that would do nothing, and folders that are not there."""
    from cgan_runtime.bundle import DEFAULT_BACKEND
    from cgan_runtime.runners import runner_kind

    for backend, precision in artifacts_for(precisions, backends):
        if backend == DEFAULT_BACKEND:  # it is installed with us, and takes a while to import
            continue
        kind = runner_kind(backend)
        if (reason := kind.absence() or kind.lack(precision)) is not None:
            raise CganError(reason)
        if precision == "int8" and find_spec("nncf") is None:
            raise CganError('NNCF is not installed; run: pip install "cgan-deploy[openvino]"')
    if io_type == "fp16" and "fp16" not in precisions:
        raise UsageError("--io-type is for the FP16 file; ask for one with --precision fp32,fp16.")
    if calibrate is not None and "int8" not in precisions:
        raise UsageError("--calibrate is for INT8; ask for it with --precision fp32,int8.")
    for option, folder in (("--conditions", conditions), ("--calibrate", calibrate)):
        if folder is not None and not folder.is_dir():
            what = "is no folder" if folder.exists() else "does not exist"
            raise BadInputError(f"{option} {folder} {what}: name a folder of images.")


def check_key(key: Path | None) -> None:
    """Refuse a key that cannot sign."""
    if key is not None:
        from cgan_runtime.signing import require_private_key

        require_private_key(key)


def check_palette(flags: SourceFlags | None) -> None:
    """Refuse a palette that cannot be read."""
    if flags is not None and flags.palette is not None:
        read_palette(flags.palette)


def checked_wish(flags: EngineFlags) -> EngineWish | None:
    """The engine that is asked for, once it is known that it can be built here; None where none is."""
    wish = flags.wish()
    if wish is not None:
        from cgan_export.engines.builder import require_targets
        from cgan_export.engines.engines import gpu_for

        require_targets(wish.flavour, wish.options.targets)
        gpu_for(wish.flavour)
    return wish


def checked_name(name: str) -> str:
    """The name, if it can be that of a model."""
    from cgan_runtime.manifest import MODEL_NAME

    if not re.fullmatch(MODEL_NAME, name):
        raise UsageError(f"--name {name!r} cannot be used: give 1 to 64 letters a-z, A-Z, digits, - and _.")
    return name


def require_torch() -> None:
    """Say what to install where an export cannot begin."""
    try:
        import onnxscript  # noqa: F401 - torch.onnx imports it later, deep inside
        import torch  # noqa: F401 - the first of the heavy imports
    except ImportError as error:
        raise CganError(f'{error.name} is not installed; run: pip install "cgan-deploy[export]"') from error
