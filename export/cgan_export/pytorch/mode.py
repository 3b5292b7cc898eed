"""How PyTorch runs a network: precision, memory layout, compiler, CUDA graph. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["EAGER", "FP64", "GPU_MODES", "TorchMode"]


@dataclass(frozen=True, kw_only=True)
class TorchMode:
    """One way of PyTorch to run a network.

    Attributes:
        precision: of weights and values. FP32 on a GPU is without TF32.
        channels_last: keep images as [N, H, W, C] in memory, which the tensor cores take as it is.
        compiled: the mode of torch.compile; empty: not compiled.
        graph: launch everything as one CUDA graph, recorded once for each set of shapes.
    """

    precision: Literal["fp16", "fp32", "fp64"] = "fp32"
    channels_last: bool = False
    compiled: Literal["", "default", "max-autotune-no-cudagraphs"] = ""
    graph: bool = False

    @property
    def words(self) -> str:
        """``FP16 NHWC graph``; ``FP32 eager``."""
        parts = [
            *["NHWC"] * self.channels_last,
            *["compiled" if self.compiled == "default" else "max-autotune"] * bool(self.compiled),
            *["graph"] * self.graph,
        ]
        return " ".join((self.precision.upper(), *(parts or ["eager"])))


EAGER: Final = TorchMode()
FP64: Final = TorchMode(precision="fp64")
# What is measured on a GPU, the reference first.
GPU_MODES: Final = (
    EAGER,
    TorchMode(precision="fp16", channels_last=True),
    TorchMode(precision="fp16", channels_last=True, graph=True),
    TorchMode(precision="fp16", channels_last=True, compiled="max-autotune-no-cudagraphs", graph=True),
)
