"""`<name>_core` on a GPU, in NVIDIA's container: a TensorRT plan, or the ONNX file in Triton's own ONNX Runtime."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Final

from cgan_runtime.axes import nearest_size, shape_of
from cgan_runtime.bundle import Bundle
from cgan_runtime.contract import Contract, Tensor
from cgan_runtime.cuda.device_noise import ON_DEVICE
from cgan_runtime.errors import UsageError
from cgan_runtime.manifest import Artifact, Plan, Profile
from cgan_runtime.serving.config import Io, dims_of, triton_type
from cgan_runtime.serving.core import Core
from cgan_runtime.serving.gpu_plans import BUILD, GpuOptions, largest_batch, plans_of

__all__ = ["gpu_core"]

DEFAULT_MAX_BATCH: Final = 8  # where no plan says it
USUAL_SIDE: Final = 256  # that a free size is warmed up with, where no plan says it

Shapes = Mapping[int, Mapping[str, tuple[int, ...]]]  # batch -> input -> shape of one sample


def gpu_core(bundle: Bundle, options: GpuOptions) -> Core:
    """The core of a bundle for the container.

    Raises:
        BundleError: no artifact that the container can run, or one that may hold program code while no signature
            was required.
        UsageError: a backend that the container does not have, a batch beyond the plan's, noise that no device
            draws, or an accelerator that needs a fixed size.
    """
    contract = bundle.manifest.contract
    if options.noise == "device" and not any(item.distribution in ON_DEVICE for item in contract.noise):
        raise UsageError(f"{bundle.path} has no noise that is drawn on a device; leave out --noise device.")
    if options.backend == "onnxruntime":
        return _onnx_core(bundle, options)
    plans = plans_of(bundle, options)
    artifact, profiles = plans[0][0], plans[0][1].profiles
    batch = largest_batch(bundle, profiles, options.max_batch)
    # Triton gives each of the profiles a context for its largest batch, and fails where that is below the smallest.
    usable = [number for number, profile in enumerate(profiles) if profile.batch.min <= batch]
    served = sorted({1, *(min(profiles[number].batch.opt, batch) for number in usable)})
    shapes = {size: _shapes(contract, _sizes(profiles, size)) for size in served}
    return Core(
        files={PurePosixPath(one.path).name: one for one, _ in plans},
        engine=_plan_lines(contract, plans, options, usable, shapes),
        max_batch=batch,
        settings=_settings(options, artifact.io, batch) | _sides(profiles),
        io=artifact.io,
        parts=_parts(options),
    )


def _plan_lines(
    contract: Contract,
    plans: Sequence[tuple[Artifact, Plan]],
    options: GpuOptions,
    profiles: Sequence[int],
    shapes: Shapes,
) -> str:
    names = [(PurePosixPath(artifact.path).name, plan) for artifact, plan in plans]
    capabilities: dict[str, str] = {}
    for name, plan in names:
        for target in plan.targets:
            capabilities.setdefault(_capability(target), name)
    # For any other GPU: a plan that newer ones run, or one that TensorRT refuses with the two capabilities.
    default = next((name for name, plan in names if plan.hardware == "ampere_plus"), names[0][0])
    by_gpu = ", ".join(f'{{ key: "{key}" value: "{name}" }}' for key, name in capabilities.items())
    larger = [str(size) for size in shapes if size > 1]  # 1 would split every batch that has no preferred size
    preferred = f"preferred_batch_size: [ {', '.join(larger)} ]" if larger else ""
    graphs = ",\n      ".join(_graph(size, of) for size, of in shapes.items())
    return f"""platform: "tensorrt_plan"
default_model_filename: "{default}"
cc_model_filenames [ {by_gpu} ]
{_instances(options, profiles)}
dynamic_batching {{ {preferred} }}
optimization {{
  input_pinned_memory {{ enable: true }}
  output_pinned_memory {{ enable: true }}
  cuda {{
    graphs: true
    graph_spec [
      {graphs}
    ]
  }}
}}
{_warmup(contract, shapes, plans[0][0].io)}"""


def _onnx_core(bundle: Bundle, options: GpuOptions) -> Core:
    contract, artifact = bundle.manifest.contract, bundle.artifact("onnxruntime", options.precision or "fp32")
    bundle.require_trusted(artifact)
    batch = options.max_batch or DEFAULT_MAX_BATCH
    rule = contract.sides
    if rule is not None and options.accelerator == "tensorrt":
        raise UsageError(
            f"{bundle.path} takes images of any size, for which ONNX Runtime would build engine after engine; take "
            f"--accelerator cuda, or build a plan: {BUILD.format(bundle.path)}"
        )
    sizes = {} if rule is None else dict.fromkeys("hw", nearest_size(USUAL_SIDE, rule))
    shapes = {size: _shapes(contract, sizes) for size in sorted({1, batch})}
    accelerator = '{ name: "cuda" }' if options.accelerator == "cuda" else _tensorrt(artifact, shapes)
    engine = f"""backend: "onnxruntime"
default_model_filename: "model.onnx"
{_instances(options)}
dynamic_batching {{ }}
optimization {{
  input_pinned_memory {{ enable: true }}
  output_pinned_memory {{ enable: true }}
  execution_accelerators {{
    gpu_execution_accelerator [
      {accelerator}
    ]
  }}
}}
{_warmup(contract, shapes, artifact.io)}"""
    return Core(
        files={"model.onnx": artifact},
        engine=engine,
        max_batch=batch,
        settings=_settings(options, artifact.io, batch),
        io=artifact.io,
        parts=_parts(options),
    )


def _tensorrt(artifact: Artifact, shapes: Shapes) -> str:
    """ONNX Runtime's TensorRT provider: it builds an engine for its GPU when the model is loaded."""
    smallest, largest = min(shapes), max(shapes)
    options = {"precision_mode": artifact.precision.upper()}
    for name, size in (("min", smallest), ("opt", largest), ("max", largest)):
        sides = (f"{key}:{'x'.join(map(str, (size, *shape)))}" for key, shape in shapes[size].items())
        options[f"trt_profile_{name}_shapes"] = ",".join(sides)
    parameters = " ".join(f'parameters {{ key: "{key}" value: "{value}" }}' for key, value in options.items())
    return f'{{ name: "tensorrt" {parameters} }}'


def _settings(options: GpuOptions, io: Io, batch: int) -> dict[str, str]:
    return {
        "target": "ngc",
        "backend": options.backend,
        "io": io,
        "noise": options.noise,
        "gpu": str(options.gpu or 0),
        "rows": str(batch),
    }


def _sides(profiles: Sequence[Profile]) -> dict[str, str]:
    """The smallest and the largest (height, width) that some profile takes, where sizes are free."""
    smallest = [profile.min for profile in profiles if profile.min is not None]
    largest = [profile.max for profile in profiles if profile.max is not None]
    if not smallest or not largest:
        return {}
    low = [min(size[axis] for size in smallest) for axis in (0, 1)]
    high = [max(size[axis] for size in largest) for axis in (0, 1)]
    return {"sides": json.dumps([low, high])}


def _parts(options: GpuOptions) -> tuple[str, ...]:
    """What drawing on the device needs beside the usual files."""
    return ("cuda/", "serving/device_inputs.py", "serving/dlpack.py") if options.noise == "device" else ()


def _instances(options: GpuOptions, profiles: Sequence[int] = ()) -> str:
    gpus = "" if options.gpu is None else f" gpus: [ {options.gpu} ]"
    numbers = ", ".join(f'"{number}"' for number in profiles)
    of_profiles = f" profile: [ {numbers} ]" if profiles else ""
    return f"instance_group [ {{ kind: KIND_GPU count: {options.instances}{gpus}{of_profiles} }} ]"


def _sizes(profiles: Sequence[Profile], batch: int) -> dict[str, int]:
    """The free sizes that the narrowest profile for a batch is tuned for."""
    able = [profile for profile in profiles if profile.batch.min <= batch <= profile.batch.max]
    best = min(able, key=lambda profile: profile.batch.max - profile.batch.min)
    return {} if best.opt is None else dict(zip("hw", best.opt, strict=True))


def _shapes(contract: Contract, sizes: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
    """Of one sample of every input."""
    return {tensor.name: shape_of(tensor.shape, sizes) for tensor in contract.inputs}


def _graph(batch: int, shapes: Mapping[str, tuple[int, ...]]) -> str:
    """A CUDA graph; shapes as the engine has them, so that a scalar per row has no axis."""
    inputs = " ".join(
        f'input {{ key: "{name}" value {{ {f"dim: {dims_of(shape)}" if shape else ""} }} }}'
        for name, shape in shapes.items()
    )
    return f"{{ batch_size: {batch} {inputs} }}"


def _warmup(contract: Contract, shapes: Shapes, io: Io) -> str:
    """One request of zeros for each batch size: 0 is a class, and random bytes may be none and no number."""
    return "\n".join(
        f'model_warmup [ {{ name: "batch {size}" batch_size: {size} '
        + " ".join(_warm(tensor, shapes[size][tensor.name], io) for tensor in contract.inputs)
        + " } ]"
        for size in shapes
    )


def _warm(tensor: Tensor, shape: tuple[int, ...], io: Io) -> str:
    kind = f"data_type: {triton_type(tensor, io)} dims: {dims_of(shape or (1,))} zero_data: true"
    return f'inputs {{ key: "{tensor.name}" value {{ {kind} }} }}'


def _capability(target: str) -> str:
    """As Triton writes them: "8.6" of "sm86", "12.0" of "sm120"."""
    digits = target.removeprefix("sm")
    return f"{digits[:-1]}.{digits[-1]}"
