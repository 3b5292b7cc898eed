"""The flags for TensorRT engines. Needs no torch, so that --help does not."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

from cgan_runtime.errors import UsageError
from cyclopts import Parameter

if TYPE_CHECKING:
    from cgan_export.engines.engines import EngineWish
    from cgan_export.precisions import CpuBackend

__all__ = ["TARGETS", "EngineFlags"]

TARGETS: Final = re.compile(r"^sm[0-9]{2,3}(,sm[0-9]{2,3})*$")
UNITS: Final = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class EngineFlags:
    """Other backends than ONNX Runtime: OpenVINO, or a TensorRT engine beside the ONNX files.

    Args:
        backend: openvino makes and measures every precision for OpenVINO too. tensorrt builds an engine for the GPU
            of this machine, tensorrt-rtx for others, anywhere.
        target_gpu: For tensorrt-rtx, compute capabilities: sm86,sm89,sm120. `--target` takes them too.
            [default: those TensorRT-RTX takes by itself]
        batch: Batch sizes that it is tuned for, a profile each: 1,1..16. May be given several times. [default:
            1,1..16]
        sides: With a free size, heights and widths that it takes: 64..512, or 64..256..512 to tune for 256.
            [default: the smallest to 1024]
        byte_images: Images go in and out of the engine as bytes, height x width x channels, scaled and rounded
            inside: a quarter of the bytes to copy.
        workspace: Most working memory while building and running, as 512M or 4G. [default: TensorRT's]
        hardware_compatible: For tensorrt, runs on other GPUs too: ampere_plus, same_compute_capability.
        version_compatible: For tensorrt, runs under newer versions too.
        refit: Weights can be replaced later.
        timing_cache: For tensorrt, file of measurements that shorten the next build, or off. [default: one for
            each GPU, driver and TensorRT in the user's cache folder]
    """

    backend: Literal["openvino", "tensorrt", "tensorrt-rtx"] | None = None
    target_gpu: str | None = None
    batch: Annotated[list[str] | None, Parameter(negative="")] = None
    sides: str | None = None
    byte_images: Annotated[bool, Parameter(negative="")] = False
    workspace: str | None = None
    hardware_compatible: Literal["ampere_plus", "same_compute_capability"] | None = None
    version_compatible: Annotated[bool, Parameter(negative="")] = False
    refit: Annotated[bool, Parameter(negative="")] = False
    timing_cache: str | None = None

    @property
    def cpu_backends(self) -> tuple[CpuBackend, ...]:
        """What executes artifacts on a CPU, ONNX Runtime first."""
        return ("onnxruntime", "openvino") if self.backend == "openvino" else ("onnxruntime",)

    def wish(self) -> EngineWish | None:
        """The engine that is to be built; None without a --backend that has engines.

        Raises:
            UsageError: an option without --backend, or one that this backend does not have; a word that is not
                understood.
        """
        if self.backend in (None, "openvino"):
            names = [field.name for field in fields(self) if field.name != "backend"]
            if (given := self._given(*names)) is not None:
                raise UsageError(f"{given} is for an engine; ask for one with --backend tensorrt or tensorrt-rtx.")
            return None
        wrong = self._given("hardware_compatible", "version_compatible", "timing_cache")
        if self.backend == "tensorrt-rtx" and wrong is not None:
            raise UsageError(f"{wrong} is for --backend tensorrt; TensorRT-RTX does not have it: leave it out.")
        if self.backend == "tensorrt" and self.target_gpu is not None:
            raise UsageError(
                "--target is for --backend tensorrt-rtx; TensorRT builds for the GPU it sits on: leave it out."
            )
        from cgan_export.engines.builder import BuildOptions
        from cgan_export.engines.engines import EngineWish
        from cgan_export.engines.flavours import flavour
        from cgan_export.engines.profiles import DEFAULT_BATCHES, parse_batches

        cache = self.timing_cache
        return EngineWish(
            flavour=flavour(self.backend),
            batches=parse_batches(self.batch or [DEFAULT_BATCHES]),
            sides=self.sides,
            byte_images=self.byte_images,
            options=BuildOptions(
                targets=_targets(self.target_gpu),
                workspace=_bytes(self.workspace),
                hardware=self.hardware_compatible or "none",
                version_compatible=self.version_compatible,
                refit=self.refit,
            ),
            timing_cache=None if cache is None else "off" if cache == "off" else Path(cache),
        )

    def _given(self, *names: str) -> str | None:
        """The first of these that was given, as people type it."""
        found = [name for name in names if getattr(self, name) not in (None, False)]
        return f"--{found[0].replace('_', '-')}" if found else None


def _targets(text: str | None) -> tuple[str, ...]:
    """Ascending and without repetition, as the plan's header has them."""
    if text is None:
        return ()
    if not TARGETS.match(text):
        raise UsageError(f"--target {text} is not understood; give compute capabilities, such as sm86,sm89,sm120.")
    return tuple(sorted(set(text.split(",")), key=lambda target: int(target[2:])))


def _bytes(text: str | None) -> int | None:
    if text is None:
        return None
    match = re.match(r"^([1-9][0-9]{0,11})([kmg]?)(i?b)?$", text.lower())
    if match is None:
        raise UsageError(f"--workspace {text} is not understood; give bytes, or 512M, or 4G.")
    return int(match[1]) * UNITS[match[2]]
