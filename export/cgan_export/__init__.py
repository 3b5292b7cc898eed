"""Turn a checkpoint into a verified bundle.

The public names are loaded when they are first used, so that `import cgan_export` needs neither torch nor onnx:

>>> from cgan_export import export_checkpoint  # doctest: +SKIP
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

from cgan_runtime import __version__

if TYPE_CHECKING:
    from cgan_export.artifacts.artifacts import ArtifactOptions
    from cgan_export.bundle.compare import Comparison, compare_bundles
    from cgan_export.bundle.rebuild import rebuild_bundle
    from cgan_export.bundle.verify import verify_bundle
    from cgan_export.bundle.writer import provenance, write_bundle
    from cgan_export.export import Exported, export_checkpoint, export_generator, require_passed
    from cgan_export.fidelity.case import Case
    from cgan_export.fidelity.gates import run_gates
    from cgan_export.fidelity.limits import Limits
    from cgan_export.fidelity.samples import sample_conditions
    from cgan_export.precisions import parse_precisions
    from cgan_export.pytorch.runner import TorchRunner
    from cgan_export.size_wish import SizeWish, parse_size

__all__ = [
    "ArtifactOptions",
    "Case",
    "Comparison",
    "Exported",
    "Limits",
    "SizeWish",
    "TorchRunner",
    "__version__",
    "compare_bundles",
    "export_checkpoint",
    "export_generator",
    "parse_precisions",
    "parse_size",
    "provenance",
    "rebuild_bundle",
    "require_passed",
    "run_gates",
    "sample_conditions",
    "verify_bundle",
    "write_bundle",
]

_MODULES: Final = {
    "ArtifactOptions": "artifacts.artifacts",
    "Case": "fidelity.case",
    "Comparison": "bundle.compare",
    "Exported": "export",
    "Limits": "fidelity.limits",
    "SizeWish": "size_wish",
    "TorchRunner": "pytorch.runner",
    "compare_bundles": "bundle.compare",
    "export_checkpoint": "export",
    "export_generator": "export",
    "parse_precisions": "precisions",
    "parse_size": "size_wish",
    "provenance": "bundle.writer",
    "rebuild_bundle": "bundle.rebuild",
    "require_passed": "export",
    "run_gates": "fidelity.gates",
    "sample_conditions": "fidelity.samples",
    "verify_bundle": "bundle.verify",
    "write_bundle": "bundle.writer",
}


def __getattr__(name: str) -> Any:
    """A public name, from the module that defines it."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
