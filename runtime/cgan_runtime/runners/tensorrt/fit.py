"""Does a plan suit the GPU and the TensorRT here? Asked before it is loaded, so that the answer is ours."""

from __future__ import annotations

from typing import Final

from cgan_runtime.manifest import Plan

__all__ = ["misfit_of"]

AMPERE: Final = 80


def misfit_of(plan: Plan, *, name: str, version: str, target: str) -> str | None:
    """Why a plan cannot run; None where it can.

    Args:
        plan: what it was built with.
        name: of the TensorRT: "TensorRT-RTX".
        version: of the one that is here: "10.16.1.11".
        target: compute capability of the GPU that is here: "sm90".

    Returns:
        "this plan was built for sm86 with TensorRT 11.4.0.106; here are sm90 and 10.16.1.11".
    """
    if _takes_target(plan, target) and _takes_version(plan, version):
        return None
    also = " and newer" if plan.hardware == "ampere_plus" else ""
    targets = ", ".join(plan.targets)
    return f"this plan was built for {targets}{also} with {name} {plan.version}; here are {target} and {version}"


def _takes_target(plan: Plan, target: str) -> bool:
    newer = plan.hardware == "ampere_plus" and int(target.removeprefix("sm")) >= AMPERE
    return newer or target in plan.targets


def _takes_version(plan: Plan, version: str) -> bool:
    if plan.version_compatible:
        return _major(plan.version) == _major(version)
    return plan.version == version


def _major(version: str) -> str:
    return version.partition(".")[0]
