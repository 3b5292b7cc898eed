"""Write a verified export as a bundle folder: model, golden samples, model card, manifest. All of it or nothing."""

from __future__ import annotations

import datetime
import hashlib
import importlib.metadata
import os
import platform
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
from cgan_runtime.atomic import atomic_folder, write_atomic
from cgan_runtime.bundle import file_entry, require_replaceable
from cgan_runtime.contract import ConditionEncoding, Contract, ImageEncoding, OutputEncoding, image_size
from cgan_runtime.errors import UsageError
from cgan_runtime.images import Pixels, pixels_from_tensor, png_bytes
from cgan_runtime.manifest import Artifact, Batch, Golden, Manifest, Provenance
from cgan_runtime.runners import runner_kind
from cgan_runtime.runners.base import Array
from cgan_trainer.readers import Loaded

from cgan_export.artifacts.artifacts import BuiltArtifact
from cgan_export.bundle.image_grid import image_grid
from cgan_export.bundle.model_card import model_card
from cgan_export.bundle.seal import seal
from cgan_export.engines.engines import Engine
from cgan_export.export import Exported, opset
from cgan_export.fidelity.heatmap import condition_pixels, has_pixels
from cgan_export.report.diagnostics import gather
from cgan_export.report.page import failed_report_name, report_html

__all__ = ["artifact_of", "provenance", "provenance_of", "write_bundle", "write_failed_report"]

GOLDEN_SEEDS: Final = (7, 8, 2**64 - 1)
PACKAGES: Final = ("cgan-deploy", "torch", "onnx", "onnxscript", "onnxruntime", "numpy", "pillow")


def write_bundle(
    path: Path,
    exported: Exported,
    *,
    name: str,
    family: str,
    origin: Provenance,
    engines: tuple[Engine, ...] = (),
    replace: bool = False,
    sign_with: Path | None = None,
) -> tuple[Manifest, str]:
    """Write the bundle atomically; returns the manifest and its digest.

    Args:
        path: the folder to write.
        exported: what passed the gates.
        name: of the model, for clients.
        family: that trained it.
        origin: what it was made from.
        engines: built from the artifacts of `exported`.
        replace: another bundle at `path` is replaced.
        sign_with: the private key (PEM) of a signature over all files.

    Raises:
        UsageError: `path` exists and `replace` is false, or it is no bundle; or a key that cannot be used.
        OSError: no room or no permission; nothing is left behind.
    """
    with atomic_folder(path, replace=require_replaceable if replace else None) as root:
        for name_in_bundle, data in [
            *((built.path, built.model) for built in exported.artifacts),
            *((engine.artifact.path, engine.data) for engine in engines),
        ]:
            (root / name_in_bundle).parent.mkdir(exist_ok=True)
            (root / name_in_bundle).write_bytes(data)
        (root / "golden").mkdir()
        golden = tuple(_golden(root, exported, i, seed) for i, seed in enumerate(GOLDEN_SEEDS))
        if any(has_pixels(output) for output in exported.contract.outputs):
            (root / "golden" / "grid.png").write_bytes(image_grid(exported))
        artifacts = (
            *(artifact_of(built, exported.contract) for built in exported.artifacts),
            *(engine.artifact for engine in engines),
        )
        card = model_card(name, family, exported.contract, artifacts, origin, undefined=exported.undefined)
        (root / "README.md").write_text(card, encoding="utf-8")
        (root / "report.html").write_text(_report(name, exported, origin), encoding="utf-8")
        listed = {root / artifact.path for artifact in artifacts}
        others = sorted(p for p in root.rglob("*") if p.is_file() and p not in listed)
        manifest = Manifest(
            name=name,
            family=family,
            contract=exported.contract,
            artifacts=artifacts,
            golden=golden,
            files=tuple(file_entry(root, p.relative_to(root).as_posix()) for p in others),
            provenance=origin,
        )
        digest = seal(root, manifest, sign_with)
    return manifest, digest


def write_failed_report(target: Path, exported: Exported, *, name: str, origin: Provenance) -> Path:
    """What the gates found, beside the place where the bundle would have been; returns the file."""
    path = target.with_name(failed_report_name(target.name))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, _report(name, exported, origin).encode())
    return path


def provenance(
    checkpoint: Path,
    sha256: str,
    *,
    options: dict[str, object],
    training: dict[str, object],
    assumed: tuple[str, ...] = (),
    graph: str = "main",
) -> Provenance:
    """Where and with what this export is made, now. Folder names of this machine are left out.

    The time is that of SOURCE_DATE_EPOCH where it is set (reproducible-builds.org): the same command then writes
    the same bytes, the bundle's digest included.

    Args:
        checkpoint: the file.
        sha256: its hex digest.
        options: plain values that describe the network.
        training: what the file says of its training.
        assumed: what no file says and nobody chose.
        graph: which graph of the checkpoint the bundle is.

    Raises:
        UsageError: SOURCE_DATE_EPOCH is no number of seconds.
    """
    words = [Path(sys.argv[0]).name, *(Path(w).name if Path(w).is_absolute() else w for w in sys.argv[1:])]
    versions = {"python": platform.python_version()}
    versions.update({package: importlib.metadata.version(package) for package in PACKAGES})
    return Provenance(
        checkpoint=checkpoint.name,
        checkpoint_sha256=sha256,
        graph=graph,
        options=options,
        training=training,
        assumed=assumed,
        created=_time_of_export().isoformat(timespec="seconds"),
        versions=versions,
        command=shlex.join(words),
    )


def provenance_of(path: Path, checkpoint: Loaded, assumed: tuple[str, ...]) -> Provenance:
    """`provenance` of a checkpoint that was read from `path`."""
    return provenance(
        path,
        checkpoint.file_sha256,
        options=checkpoint.options,
        training=checkpoint.provenance,
        assumed=assumed,
        graph=checkpoint.graph,
    )


def _time_of_export() -> datetime.datetime:
    text = os.environ.get("SOURCE_DATE_EPOCH")
    if text is None:
        return datetime.datetime.now(datetime.UTC)
    try:
        return datetime.datetime.fromtimestamp(int(text), datetime.UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise UsageError(
            f"SOURCE_DATE_EPOCH={text} is no time: set it to whole seconds since 1970, or unset it."
        ) from error


def artifact_of(built: BuiltArtifact, contract: Contract) -> Artifact:
    """The manifest's entry of an ONNX file."""
    return Artifact(
        path=built.path,
        sha256=hashlib.sha256(
            built.model
        ).hexdigest(),  # of the bytes that passed, not of what the disk made of them
        bytes=len(built.model),
        backend=built.backend,
        precision=built.precision,
        batch=Batch(),
        size=_size(contract),
        requires=(f"{runner_kind(built.backend).packages[0].partition(',')[0]} (opset {opset(built.model)})",),
        io=built.io,
        kept=built.kept,
        fidelity=built.figures,
    )


def _report(name: str, exported: Exported, origin: Provenance) -> str:
    diagnostics = tuple(gather(exported.context, artifact) for artifact in exported.artifacts)
    undefined = exported.undefined
    return report_html(name, exported.contract, exported.artifacts, diagnostics, origin, undefined=undefined)


def _golden(root: Path, exported: Exported, index: int, seed: int) -> Golden:
    """Sample `index` under `seed`, written as files that any machine can compare with."""
    contract = exported.contract
    conditions = {name: value[index] for name, value in exported.samples.items()}
    outputs = exported.generator.generate({k: v[None] for k, v in conditions.items()}, [seed], [0])
    return Golden(
        seed=seed,
        conditions={
            c.name: _store(root, f"golden/{index}-{c.name}", conditions[c.name], c.encoding, condition_pixels)
            for c in contract.conditions
        },
        outputs={
            o.name: _store(root, f"golden/{index}-{o.name}", outputs[o.name][0], o.encoding, pixels_from_tensor)
            for o in contract.outputs
        },
    )


def _store(
    root: Path,
    stem: str,
    value: Array,
    encoding: ConditionEncoding | OutputEncoding | None,
    pixels: Callable[[Array, ImageEncoding], Pixels],
) -> str:
    """An image as a .png of its `pixels`, any other kind as a .npy; returns the name of the file."""
    if not isinstance(encoding, ImageEncoding):
        np.save(root / f"{stem}.npy", value, allow_pickle=False)
        return f"{stem}.npy"
    (root / f"{stem}.png").write_bytes(png_bytes(pixels(value, encoding)))
    return f"{stem}.png"


def _size(contract: Contract) -> tuple[int, int] | None:
    output = next((output for output in contract.outputs if has_pixels(output)), None)
    return image_size(output) if output is not None else None
