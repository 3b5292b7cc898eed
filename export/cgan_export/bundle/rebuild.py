"""Add engines to a bundle that came without its checkpoint, or replace those it has.

Everything else stays as it is, byte for byte, and so does the model digest: a bundle with other engines makes the
same images by definition. bundle.json is another one, so a signature over it ends here, unless a new one is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cgan_runtime.atomic import atomic_folder
from cgan_runtime.bundle import Bundle, read_bundle, require_replaceable
from cgan_runtime.errors import BundleError, CheckFailedError
from cgan_runtime.golden import golden_conditions
from cgan_runtime.manifest import SIGNATURE, Artifact, Manifest

from cgan_export.bundle.seal import seal
from cgan_export.bundle.verify import measure_beside_fp32
from cgan_export.engines.builder import BuildOptions, Report
from cgan_export.engines.engines import Engine, EngineWish, build_engines, sources_of
from cgan_export.engines.flavours import flavour
from cgan_export.fidelity.labels import shortfalls

if TYPE_CHECKING:
    from cgan_runtime.cuda.driver import Device

__all__ = ["rebuild_bundle", "was_signed"]


def rebuild_bundle(
    path: Path,
    wish: EngineWish | None,
    *,
    sign_with: Path | None = None,
    report: Report | None = None,
    device: Device | None = None,
) -> tuple[Bundle, tuple[Engine, ...]]:
    """Build engines of a bundle from its own ONNX files; returns the new bundle and the engines.

    An engine of the same backend, precision and GPUs is replaced, any other is kept.

    Args:
        path: the bundle.
        wish: what to build; None builds again every engine that is there, as it was.
        sign_with: the private key (PEM) of a new signature.
        report: told what is done.
        device: the GPU here, for TensorRT; found by itself where it is not given.

    Raises:
        BundleError: not a bundle, or one without a graph to build from; without a wish, one without engines.
        CheckFailedError: an engine that runs here is not the same model; the bundle is as it was.
        CganError: TensorRT is missing, or cannot build it.
    """
    report = report or Report()
    bundle = read_bundle(path)
    manifest = bundle.manifest
    wishes = _as_they_were(bundle) if wish is None else [(wish, ("fp16", "int8"))]
    sources = sources_of(manifest.artifacts, bundle.read)
    if not sources:
        raise BundleError(
            f"{path} has no model.fp16.onnx to build an engine from: export the checkpoint again with --backend or "
            "--precision fp32,fp16."
        )
    engines = [
        engine
        for one, precisions in wishes
        for engine in build_engines(
            [source for source in sources if source.precision in precisions],
            manifest.contract,
            one,
            size=manifest.artifacts[0].size,
            usual=_usual_size(bundle),
            gates=lambda runner, precision: measure_beside_fp32(bundle, runner, precision),
            report=report,
            device=device,
        )
    ]
    failed = [f"{e.artifact.path}: {words}" for e in engines for words in shortfalls(dict(e.artifact.fidelity))]
    if failed:
        raise CheckFailedError(f"{path} is left as it was, its new engine is another model: {'; '.join(failed)}.")
    report.say("writing the bundle")
    return _written(bundle, engines, sign_with), tuple(engines)


def was_signed(path: Path) -> bool:
    """Whether the bundle has a signature, whoever made it."""
    return (path / SIGNATURE).is_file()


def _as_they_were(bundle: Bundle) -> list[tuple[EngineWish, Sequence[str]]]:
    """A wish for each engine that is there, with the precision it is for."""
    wishes: list[tuple[EngineWish, Sequence[str]]] = []
    for artifact in bundle.manifest.artifacts:
        if (plan := artifact.plan) is None:
            continue
        made_by = flavour(artifact.backend)
        options = BuildOptions(
            targets=() if made_by.needs_gpu else plan.targets,
            hardware=plan.hardware,
            version_compatible=plan.version_compatible,
            refit=plan.refittable,
        )
        wish = EngineWish(flavour=made_by, profiles=plan.profiles, byte_images=plan.byte_images, options=options)
        wishes.append((wish, (artifact.precision,)))
    if not wishes:
        raise BundleError(f"{bundle.path} has no engine to build again; say which with --backend.")
    return wishes


def _usual_size(bundle: Bundle) -> tuple[int, int] | None:
    """(height, width) of the first golden image."""
    first = bundle.manifest.contract.image_condition
    golden = golden_conditions(bundle)
    if first is None or not golden:
        return None
    height, width = golden[0][first.name].shape[-2:]
    return int(height), int(width)


def _written(bundle: Bundle, engines: Sequence[Engine], sign_with: Path | None) -> Bundle:
    fresh = {engine.artifact.path: engine for engine in engines}
    kept = [artifact for artifact in bundle.manifest.artifacts if artifact.path not in fresh]
    manifest = _with_artifacts(bundle.manifest, (*kept, *(engine.artifact for engine in fresh.values())))
    with atomic_folder(bundle.path, replace=require_replaceable) as root:
        for file in manifest.all_files:
            target = root / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            engine = fresh.get(file.path)
            target.write_bytes(bundle.read(file) if engine is None else engine.data)
        digest = seal(root, manifest, sign_with)
    return replace(bundle, manifest=manifest, digest=digest, is_signed=False)


def _with_artifacts(manifest: Manifest, artifacts: tuple[Artifact, ...]) -> Manifest:
    """The manifest with other artifacts, in the lowest schema version that can say them."""
    fields = {name: getattr(manifest, name) for name in Manifest.model_fields if name != "schema_version"}
    return Manifest(**{**fields, "artifacts": artifacts})
