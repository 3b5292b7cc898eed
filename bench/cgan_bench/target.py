"""What is measured, in the forms at hand: every worker opens only the one its backend needs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from cgan_runtime.bundle import Bundle, read_bundle
from cgan_runtime.contract import Contract
from cgan_runtime.errors import BadInputError, UsageError
from cgan_runtime.runners import RUNNERS

from cgan_bench.sizes import Size, at_size, golden_size, image_size_of, size_words

__all__ = ["MAX_BATCH", "Precision", "Server", "Target", "target_of_bundle"]

Precision = Literal["fp32", "fp16", "bf16", "int8"]
PRECISIONS: Final[tuple[Precision, ...]] = ("fp32", "fp16", "bf16", "int8")
MAX_BATCH: Final = 64  # of a model that only a server knows, and of the reference


@dataclass(frozen=True, kw_only=True)
class Server:
    """A served model."""

    url: str
    model: str


@dataclass(frozen=True, kw_only=True)
class Target:
    """One generator in the forms at hand. A form that is None makes the backends that need it absent.

    Attributes:
        title: for the table.
        bundle: with its files checked.
        plain: the ONNX file as torch.onnx made it.
        checkpoint: the weights, for PyTorch.
        server: where the model is served.
        size: (height, width) of the images where the model leaves it free; None: `sizes.at_size` chooses.
        precisions: the bundle's artifacts that get a row; None: all of them.
    """

    title: str
    bundle: Bundle | None = None
    plain: Path | None = None
    checkpoint: Path | None = None
    server: Server | None = None
    size: Size | None = None
    precisions: tuple[str, ...] | None = None

    @property
    def contract(self) -> Contract | None:
        """What goes in and out; None where only a server knows."""
        return None if self.bundle is None else self.bundle.manifest.contract

    @property
    def measured_size(self) -> str | None:
        """``512x256``: of the images that it is measured at; None without images, and where only a server knows."""
        size = None if self.contract is None else image_size_of(at_size(self.contract, self.size))
        return None if size is None else size_words(size)

    @property
    def digest(self) -> str:
        """The model digest of the bundle; empty without one."""
        return "" if self.bundle is None else self.bundle.model_digest

    @property
    def measured(self) -> tuple[Precision, ...]:
        """Precisions of the bundle that get a row, FP32 first."""
        if self.bundle is None:
            return ("fp32",)
        here = sorted({a.precision for a in self.bundle.manifest.artifacts}, key=PRECISIONS.index)
        return tuple(name for name in here if self.precisions is None or name in self.precisions)

    @property
    def artifacts(self) -> tuple[tuple[str, Precision], ...]:
        """Backend and precision of what the bundle has for CPUs and gets a row, FP32 on ONNX Runtime first."""
        if self.bundle is None:
            return (("onnxruntime", "fp32"),)
        plain = [a for a in self.bundle.manifest.artifacts if a.plan is None and a.backend in RUNNERS]
        chosen = [(a.backend, a.precision) for a in plain if a.precision in self.measured]
        return tuple(sorted(chosen, key=lambda one: (one[0] != "onnxruntime", one[0], PRECISIONS.index(one[1]))))

    @property
    def max_batch(self) -> int:
        """Most rows that one call may hold."""
        if self.bundle is None:
            return MAX_BATCH
        # An engine that does not run a batch is named below the table: it limits nobody.
        plain = (a for a in self.bundle.manifest.artifacts if a.plan is None)
        return min(a.batch.max for a in plain if a.precision in self.measured)


def target_of_bundle(
    path: Path,
    *,
    checkpoint: Path | None = None,
    server: Server | None = None,
    size: Size | None = None,
    precisions: tuple[str, ...] | None = None,
    require_signature: Path | None = None,
) -> Target:
    """A bundle, checked whole; with `require_signature` also by `read_bundle` for the signature of this key.

    Raises:
        BundleError: damaged, incomplete or not a bundle; or not signed with the key.
        BadInputError: the checkpoint is not there.
        UsageError: the generator does not take the size, or the bundle has no such precision; or a key that cannot
            be read.
    """
    if checkpoint is not None and not checkpoint.is_file():
        raise BadInputError(f"{checkpoint} does not exist; name the checkpoint the bundle was exported from.")
    bundle = read_bundle(path, require_signature=require_signature)
    have = sorted({artifact.precision for artifact in bundle.manifest.artifacts})
    if missing := [name for name in precisions or () if name not in have]:
        raise UsageError(
            f"--precision {missing[0]} is not in {path}, which has {', '.join(have)}; export it with --precision."
        )
    chosen = size or golden_size(bundle)
    at_size(bundle.manifest.contract, chosen)
    return Target(
        title=f"model {bundle.manifest.name} ({bundle.model_digest[:16]})",
        bundle=bundle,
        checkpoint=checkpoint,
        server=server,
        size=chosen,
        precisions=precisions,
    )
