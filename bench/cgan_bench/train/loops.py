"""The training loops that are compared, as values that travel to worker processes. Nothing heavy is imported."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

__all__ = ["LOADER_WORKERS", "Loop", "Setup", "loops"]

# The plain loop reads its files in its own process or in so many others: the faster one is what counts.
LOADER_WORKERS: Final = 2


@dataclass(frozen=True, kw_only=True)
class Setup:
    """The networks and the images, the same for all.

    Attributes:
        data: a folder with side-by-side pairs in train/.
        cache: where cgan-train keeps the decoded pixels; None is the user's cache folder.
        size: side of the images.
        ngf: width of the generator.
        ndf: width of the discriminator.
        threads: of each process; 0 leaves the number to PyTorch.
    """

    data: Path
    cache: Path | None = None
    size: int = 256
    ngf: int = 64
    ndf: int = 64
    threads: int = 0


@dataclass(frozen=True, kw_only=True)
class Loop:
    """One row.

    Attributes:
        key: short name for JSON.
        title: name of the row.
        kind: the plain loop, or that of cgan-train.
        device: where it trains.
        loader_workers: processes that read the files of the plain loop; 0 is its own.
        precision: of cgan-train.
        compiled: cgan-train with --torch-compile.
        lambda_l1: weight of the L1 loss.
    """

    key: str
    title: str
    kind: Literal["plain", "ours"]
    device: Literal["cpu", "cuda"] = "cpu"
    loader_workers: int = 0
    precision: Literal["fp32", "bf16"] = "fp32"
    compiled: bool = False
    lambda_l1: float = 100.0

    @property
    def must_agree(self) -> bool:
        """Whether its step is held to the plain loop's, within FP32's rounding."""
        return self.kind == "ours" and self.precision == "fp32"


def loops(device: Literal["cpu", "cuda"]) -> tuple[Loop, ...]:
    """The rows on one device, the plain loop first."""
    rows = [
        Loop(key="plain", title="plain loop", kind="plain"),
        Loop(
            key="plain_workers",
            title=f"plain loop, {LOADER_WORKERS} loader processes",
            kind="plain",
            loader_workers=LOADER_WORKERS,
        ),
        Loop(key="ours", title="cgan-train, FP32", kind="ours"),
        Loop(key="ours_bf16", title="cgan-train, BF16", kind="ours", precision="bf16"),
    ]
    if device == "cpu":
        return tuple(rows)
    # On a CPU, compiling takes longer than it gives.
    rows.append(Loop(key="ours_compile", title="cgan-train, torch.compile", kind="ours", compiled=True))
    return tuple(replace(row, key=f"{row.key}_cuda", title=f"{row.title}, CUDA", device="cuda") for row in rows)
