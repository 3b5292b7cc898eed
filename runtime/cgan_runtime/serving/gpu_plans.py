"""Which plans of a bundle NVIDIA's container serves, and up to which batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from cgan_runtime.bundle import Bundle
from cgan_runtime.errors import BundleError, UsageError
from cgan_runtime.manifest import Artifact, Plan, Profile
from cgan_runtime.serving.containers import Container, misfit

__all__ = ["BUILD", "GpuOptions", "largest_batch", "plans_of"]

BUILD: Final = "cgan-export rebuild {} --backend tensorrt"


@dataclass(frozen=True, kw_only=True)
class GpuOptions:
    """How the models run in the container.

    Attributes:
        backend: "tensorrt" for plans, "onnxruntime" for the ONNX file.
        precision: of the artifact; None takes that of the plans (FP16 before others), FP32 of ONNX files.
        max_batch: rows that one execution may hold; None takes what the plans allow, 8 of ONNX files.
        instances: of the core on each GPU.
        gpu: the one that is used; None for all.
        container: that will serve; None where it is not decided.
        noise: where it is drawn.
        accelerator: what runs an ONNX file.
    """

    backend: str = "tensorrt"
    precision: str | None = None
    max_batch: int | None = None
    instances: int = 1
    gpu: int | None = None
    container: Container | None = None
    noise: Literal["host", "device"] = "host"
    accelerator: Literal["cuda", "tensorrt"] = "cuda"


def plans_of(bundle: Bundle, options: GpuOptions) -> list[tuple[Artifact, Plan]]:
    """The plans that are served: of one precision, for the container, trusted.

    Raises:
        BundleError: there are none, and the message says how to have one; or they are of several TensorRTs.
    """
    where = bundle.path
    if options.backend != "tensorrt":
        raise UsageError(
            f"Triton in NVIDIA's container loads no {options.backend} artifact of ours; give --backend tensorrt or "
            "--backend onnxruntime."
        )
    built = [(a, a.plan) for a in bundle.manifest.artifacts if a.backend == "tensorrt" and a.plan is not None]
    # The front models speak the contract's floats; a plan that takes bytes is for callers in Python.
    found = [(artifact, plan) for artifact, plan in built if not plan.byte_images]
    if built and not found:
        raise BundleError(
            f"{where} has only plans whose images are bytes, which the models of the server do not send; build "
            f"one without --byte-images ({BUILD.format(where)})."
        )
    precisions = [artifact.precision for artifact, _ in found]
    wanted = options.precision or ("fp16" if "fp16" in precisions else next(iter(precisions), ""))
    plans = [(artifact, plan) for artifact, plan in found if artifact.precision == wanted]
    if not plans:
        is_rtx = any(artifact.backend == "tensorrt_rtx" for artifact in bundle.manifest.artifacts)
        only = ", only of TensorRT-RTX, which Triton cannot load" if is_rtx else ""
        raise BundleError(
            f"{where} has no TensorRT plan{f' in {wanted}' if wanted else ''}{only}; build one where the GPU is "
            f"({BUILD.format(where)}), or serve its ONNX file with --backend onnxruntime."
        )
    if options.container is not None:
        reasons = [misfit(plan, options.container) for _, plan in plans]
        if None not in reasons:
            raise BundleError(
                f"{where / plans[0][0].path} cannot be served: {reasons[0]}; build it with that one (pip install "
                f"tensorrt=={options.container.tensorrt}, then {BUILD.format(where)}), or give another --container."
            )
        plans = [one for one, reason in zip(plans, reasons, strict=True) if reason is None]
    versions = sorted({plan.version for _, plan in plans if not plan.version_compatible})
    if len(versions) > 1:
        raise BundleError(
            f"{where} has plans of TensorRT {' and '.join(versions)}, and a container has one; say which with "
            "--container YEAR.MONTH, or build them with the same."
        )
    if len({artifact.io for artifact, _ in plans}) > 1:
        raise BundleError(f"{where} has plans of FP16 and of FP32 inputs; build them again: {BUILD.format(where)}")
    if any(plan.profiles != plans[0][1].profiles for _, plan in plans):
        raise BundleError(
            f"{where} has plans of different profiles, and one configuration serves all; build them with the same "
            f"--batch and --sides: {BUILD.format(where)}"
        )
    for artifact, _ in plans:
        bundle.require_trusted(artifact)
    return plans


def largest_batch(bundle: Bundle, profiles: Sequence[Profile], wanted: int | None) -> int:
    """The largest batch up to which every batch has a profile: Triton sends any of them, and fills up none.

    Raises:
        BundleError: not even one row has a profile.
        UsageError: `wanted` is larger.
    """
    most = 0
    while any(profile.batch.min <= most + 1 <= profile.batch.max for profile in profiles):
        most += 1
    if not most:
        raise BundleError(
            f"{bundle.path} has a plan without a profile for one row, which Triton would send it; build it again: "
            f"{BUILD.format(bundle.path)} --batch 1,1..16"
        )
    if wanted is not None and wanted > most:
        raise UsageError(
            f"--max-batch {wanted} is too large: the plan of {bundle.path} has profiles for batches up to {most}."
        )
    return wanted or most
