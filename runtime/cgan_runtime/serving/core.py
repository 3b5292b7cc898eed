"""How `<name>_core` is executed: what repository.py writes for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cgan_runtime.bundle import DEFAULT_BACKEND, DEFAULT_PRECISION, Bundle
from cgan_runtime.manifest import Artifact
from cgan_runtime.serving.config import Io

__all__ = ["Core", "RepositoryOptions", "embedded_core"]


@dataclass(frozen=True, kw_only=True)
class RepositoryOptions:
    """How the models run in the embedded server.

    Attributes:
        max_batch: rows that one execution may hold.
        threads: CPU threads of the engine; 0 lets the backend choose.
        precision: precision of the artifact to serve.
        backend: backend of the artifact to serve, a name of `RUNNERS`.
        device: where the engine runs; the backend's own choice if None.
    """

    max_batch: int = 8
    threads: int = 0
    precision: str = DEFAULT_PRECISION
    backend: str = DEFAULT_BACKEND
    device: str | None = None


@dataclass(frozen=True, kw_only=True)
class Core:
    """One engine.

    Attributes:
        files: of its version folder, by name.
        engine: the lines of config.pbtxt about what executes them, and how.
        max_batch: rows that one execution may hold, of all models of the bundle.
        settings: parameters of all models of the bundle, beside those that every bundle has.
        io: type of its float tensors.
        in_python: it is `CoreModel`, which speaks the contract's types.
        parts: folders and files of this package that the models need beside the usual ones.
    """

    files: Mapping[str, Artifact]
    engine: str
    max_batch: int
    settings: Mapping[str, str]
    io: Io = "fp32"
    in_python: bool = False
    parts: tuple[str, ...] = field(default=())


def embedded_core(bundle: Bundle, options: RepositoryOptions) -> Core:
    """A Python model that runs the artifact with one of our runners.

    Raises:
        BundleError: the bundle has no artifact of this backend and precision, or it may hold program code and no
            signature was required.
        CganError: this release has no runner for the backend.
    """
    artifact = bundle.artifact(options.backend, options.precision)
    bundle.require_trusted(artifact)  # raises where the server could not run it either
    settings = {
        "target": "embedded",
        "backend": options.backend,
        "precision": options.precision,
        "device": options.device or "",
        "threads": str(options.threads),
        "sha256": artifact.sha256,
        "bytes": str(artifact.bytes),
    }
    return Core(
        files={f"model{Path(artifact.path).suffix}": artifact},
        engine='backend: "python"\ninstance_group [ { kind: KIND_CPU count: 1 } ]\ndynamic_batching { }',
        max_batch=options.max_batch,
        settings=settings,
        in_python=True,
        parts=() if artifact.plan is None else ("manifest.py", "cuda/", "runners/tensorrt/"),
    )
