"""Measure runners side by side.

The public names are imported when they are first used, so that importing the package costs nothing and needs
nothing: `gpu_check` runs where most dependencies are missing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from cgan_runtime import __version__

    from cgan_bench.backends import Backend, local_backends, server_backends
    from cgan_bench.fidelity import Agreement, compare_answers
    from cgan_bench.reference import reference_target
    from cgan_bench.report import Report
    from cgan_bench.rounds import Block, Plan, measure
    from cgan_bench.rows import Absent, Ratio, Row
    from cgan_bench.target import Server, Target, target_of_bundle

__all__ = [
    "Absent",
    "Agreement",
    "Backend",
    "Block",
    "Plan",
    "Ratio",
    "Report",
    "Row",
    "Server",
    "Target",
    "__version__",
    "compare_answers",
    "local_backends",
    "measure",
    "reference_target",
    "server_backends",
    "target_of_bundle",
]

MODULES: Final = {
    "cgan_bench.backends": (
        "Backend",
        "local_backends",
        "server_backends",
    ),
    "cgan_bench.fidelity": (
        "Agreement",
        "compare_answers",
    ),
    "cgan_bench.reference": ("reference_target",),
    "cgan_bench.report": ("Report",),
    "cgan_bench.rounds": (
        "Block",
        "Plan",
        "measure",
    ),
    "cgan_bench.rows": (
        "Absent",
        "Ratio",
        "Row",
    ),
    "cgan_bench.target": (
        "Server",
        "Target",
        "target_of_bundle",
    ),
    "cgan_runtime": ("__version__",),
}
HOMES: Final = {name: module for module, names in MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
