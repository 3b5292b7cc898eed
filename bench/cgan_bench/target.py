"""What is measured, as files: every worker opens only the ones its backend needs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cgan_runtime.bundle import read_bundle
from cgan_runtime.contract import Contract
from cgan_runtime.errors import BadInputError

__all__ = ["Server", "Target", "target_of_bundle"]


@dataclass(frozen=True, kw_only=True)
class Server:
    """A served model and how many clients ask it at once."""

    url: str
    model: str
    concurrency: int = 1


@dataclass(frozen=True, kw_only=True)
class Target:
    """One generator in the forms at hand. A form that is None makes the backends that need it absent.

    Attributes:
        title: for the table.
        contract: what goes in and out; None when only a server knows.
        bundle: the ONNX file of the bundle.
        plain: the ONNX file as torch.onnx made it.
        checkpoint: the weights, for PyTorch.
        server: where the model is served.
        digest: of the bundle, empty for the reference model.
        max_batch: most rows that one call may hold.
    """

    title: str
    contract: Contract | None = None
    bundle: Path | None = None
    plain: Path | None = None
    checkpoint: Path | None = None
    server: Server | None = None
    digest: str = ""
    max_batch: int = 64


def target_of_bundle(
    path: Path, *, checkpoint: Path | None = None, plain: Path | None = None, server: Server | None = None
) -> Target:
    """A bundle, checked whole.

    Raises:
        BundleError: damaged, incomplete or not a bundle.
        BadInputError: the checkpoint is not there.
    """
    if checkpoint is not None and not checkpoint.is_file():
        raise BadInputError(f"{checkpoint} does not exist; name the checkpoint the bundle was exported from.")
    bundle = read_bundle(path)
    artifact = bundle.artifact()
    return Target(
        title=f"bundle {bundle.manifest.name} ({bundle.digest[:16]})",
        contract=bundle.manifest.contract,
        bundle=path / artifact.path,
        plain=plain,
        checkpoint=checkpoint,
        server=server,
        digest=bundle.digest,
        max_batch=artifact.batch.max,
    )
