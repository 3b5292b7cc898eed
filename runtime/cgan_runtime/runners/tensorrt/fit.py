"""Does a plan suit the GPU and the TensorRT here? Asked before it is loaded, so that the answer is ours."""

from __future__ import annotations

from typing import Final

from cgan_runtime.manifest import Plan

__all__ = ["misfit_of"]

AMPERE: Final = 80
# Versions run version compatible plans of older ones of their own major number. From one major number to the next
# it is so for this pair alone, of those that are supported here (TensorRT 11.4.1, support matrix).
NEXT_MAJOR: Final = {(10, 11)}


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
    if not plan.version_compatible:
        return plan.version == version
    built, here = (tuple(map(int, text.split("."))) for text in (plan.version, version))
    return here >= built and (built[0] == here[0] or (built[0], here[0]) in NEXT_MAJOR)
