"""The model that is measured when none is given: the pix2pix U-Net-256 of the paper, seeded random weights.

It is built once and kept in the user's cache folder under a name that hashes everything it is made from, so a
changed exporter or another torch builds a new one. Weights do not change a network's speed; random ones make
the result the same everywhere.
"""

from __future__ import annotations

import datetime
import hashlib
import importlib.util
import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cgan_runtime.atomic import atomic_folder
from cgan_runtime.bundle import Bundle, file_entry, read_bundle, write_manifest
from cgan_runtime.claims import claim
from cgan_runtime.errors import BundleError, CganError
from cgan_runtime.manifest import Artifact, Batch, File, Manifest, Provenance

from cgan_bench.backends.base import missing_package
from cgan_bench.environment import package_version
from cgan_bench.target import MAX_BATCH, Target
from cgan_bench.worker_client import Worker

if TYPE_CHECKING:
    from cgan_runtime.contract import Contract
    from cgan_trainer.families.pix2pix_networks import Pix2pixGenerator
    from cgan_trainer.generator import Generator

__all__ = ["PAPER", "plain_export", "reference_target", "write_plain", "write_reference"]

# Options of Pix2pixGenerator: the paper's U-Net-256, 54.4 M parameters, dropout in three layers.
PAPER: Final[dict[str, Any]] = {"size": 256, "ngf": 64, "dropout": "paper"}
SEED: Final = 0
PACKAGES: Final = ("torch", "onnx", "onnxscript")
SOURCES: Final = {
    "cgan_runtime": ("contract.py", "manifest.py"),
    "cgan_trainer": ("checkpoint.py", "generator.py", "families/*.py", "nets/*.py"),
    "cgan_export": ("graph/*.py", "graph/rewrites/*.py"),
    "cgan_bench": ("reference.py",),
}
UNUSED_DAYS: Final = 14


def reference_target(
    cache: Path, *, options: dict[str, Any] = PAPER, say: Callable[[str], None] = lambda _: None
) -> Target:
    """The reference model from the cache, built first where it is not there yet (atomically, in a worker).

    Raises:
        CganError: it has to be built and torch is not installed.
        OSError: no room in the cache.
    """
    folder = cache / f"reference-{_fingerprint(options)}"
    # One process at a time: a second one would build the same model.
    with claim(folder, wait=lambda: say("another process is building the reference model; waiting for it")):
        bundle = _kept(folder) or _built(folder, options, say)
    _sweep(cache, keep=folder)
    return Target(
        title="pix2pix U-Net-256, random weights" if options == PAPER else f"pix2pix {options}, random weights",
        bundle=bundle,
        plain=folder / "plain.onnx",
        checkpoint=folder / "weights.pt",
    )


def _built(folder: Path, options: dict[str, Any], say: Callable[[str], None]) -> Bundle:
    if missing := missing_package("torch", "onnx", "onnxscript", "jaxtyping", extra="export"):
        raise CganError(f"the reference model cannot be built: {missing}, or give a bundle.")
    say("building the reference model, once")
    with atomic_folder(folder) as root, Worker("the reference model") as worker:
        worker.run(write_reference, root, options)
    return read_bundle(folder / "bundle")


def _kept(folder: Path) -> Bundle | None:
    """The bundle of an earlier run; a damaged one is removed, so that it is built again."""
    if not folder.exists():
        return None
    try:
        return read_bundle(folder / "bundle")
    except BundleError:
        shutil.rmtree(folder)
        return None


def write_reference(root: Path, options: dict[str, Any]) -> None:
    """Fill a folder with weights.pt, plain.onnx and a bundle without golden samples: nobody ever serves it."""
    import torch
    from cgan_trainer.checkpoint import Graph, write_checkpoint
    from cgan_trainer.families.pix2pix_networks import Pix2pixGenerator, Pix2pixOptions
    from cgan_trainer.nets.init import init_weights

    torch.manual_seed(SEED)
    generator = Pix2pixGenerator(Pix2pixOptions(**options))
    init_weights(generator)
    graph = Graph(
        options=asdict(generator.options), contract=generator.contract.to_json(), state=generator.state_dict()
    )
    write_checkpoint(
        root / "weights.pt",
        family="pix2pix",
        graphs={"main": graph},
        examples={},
        provenance={"random weights of seed": SEED},
    )
    bundle = root / "bundle"
    bundle.mkdir()
    _write_graphs(generator, generator.contract, plain=root / "plain.onnx", rewritten=bundle / "model.onnx")
    write_manifest(bundle, _manifest(bundle, generator, weights=file_entry(root, "weights.pt")))


def write_plain(target: Target, path: Path) -> None:
    """The plain export of a target's checkpoint, under the statistics of its contract."""
    from cgan_bench.checkpoint import generator_of

    generator, contract = generator_of(target, threads=0)
    _write_graphs(generator, contract, plain=path)


def plain_export(target: Target, folder: Path, *, say: Callable[[str], None]) -> Path:
    """`write_plain` in a worker; returns the file, in `folder`."""
    if missing := missing_package("torch", "onnx", "onnxscript", "jaxtyping", extra="export"):
        raise CganError(f"the checkpoint cannot be exported: {missing}.")
    say("exporting the checkpoint without rewrites")
    with Worker("the plain export") as worker:
        worker.run(write_plain, target, folder / "plain.onnx")
    return folder / "plain.onnx"


def _write_graphs(generator: Generator, contract: Contract, *, plain: Path, rewritten: Path | None = None) -> None:
    from cgan_export.graph.lint import lint
    from cgan_export.graph.onnx_graph import onnx_from_generator, with_metadata
    from cgan_export.graph.rewrites import FOR_ALL, FOR_CPUS, rewrite
    from cgan_export.graph.statistics import with_statistics

    generator, contract = with_statistics(generator, contract, None)
    model = onnx_from_generator(generator, contract)
    plain.write_bytes(model.SerializeToString(deterministic=True))
    if rewritten is not None:
        with_metadata(model, name="reference", family="pix2pix", contract=contract)
        rewrite(model, FOR_ALL | FOR_CPUS["onnxruntime"])
        lint(model)
        rewritten.write_bytes(model.SerializeToString(deterministic=True))


def _manifest(bundle: Path, generator: Pix2pixGenerator, *, weights: File) -> Manifest:
    artifact = Artifact(
        **file_entry(bundle, "model.onnx").model_dump(),
        backend="onnxruntime",
        precision="fp32",
        batch=Batch(max=MAX_BATCH),
        size=(generator.options.size, generator.options.size),
    )
    origin = Provenance(
        checkpoint=weights.path,
        checkpoint_sha256=weights.sha256,
        options=asdict(generator.options),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        versions={name: package_version(name) or "" for name in PACKAGES},
        command="cgan-bench",
    )
    return Manifest(
        name="reference",
        family="pix2pix",
        contract=generator.contract,
        artifacts=(artifact,),
        golden=(),
        files=(),
        provenance=origin,
    )


def _fingerprint(options: dict[str, Any]) -> str:
    """A hash of the options, the versions and the source files that make the model; imports none of them."""
    digest = hashlib.sha256(json.dumps([options, SEED, *map(package_version, PACKAGES)]).encode())
    for package, patterns in SOURCES.items():
        spec = importlib.util.find_spec(package)
        root = Path((spec and spec.origin) or "").parent
        for path in sorted(file for pattern in patterns for file in root.glob(pattern)):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def _sweep(cache: Path, *, keep: Path) -> None:
    """Remove reference models that nothing has used for UNUSED_DAYS: each takes some hundred megabytes."""
    os.utime(keep)
    for other in cache.glob("reference-*"):
        if other != keep and time.time() - other.stat().st_mtime > UNUSED_DAYS * 86400:
            shutil.rmtree(other, ignore_errors=True)
