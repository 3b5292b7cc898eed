"""Whether an artifact can run here. Needs neither onnx nor TensorRT: `cgan-export verify` asks it too."""

from __future__ import annotations

from cgan_runtime.manifest import Plan
from cgan_runtime.runners import RUNNERS

__all__ = ["why_not_run"]


def why_not_run(backend: str, plan: Plan | None, precision: str = "fp32") -> str | None:
    """Why an artifact cannot run here, in a few words; None where it can."""
    if backend not in RUNNERS:
        return f"this release has no runner for {backend}"
    kind = RUNNERS[backend]
    return kind.absence() or kind.lack(precision) or (None if plan is None else kind.misfit(plan))
