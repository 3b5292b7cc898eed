"""cgan-export: a checkpoint becomes a verified bundle; bundles are verified again and compared."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

from cgan_runtime.cli.shell import app, run
from cgan_runtime.errors import CheckFailedError, UsageError
from cgan_trainer.checkpoint_paths import checkpoint_at
from cyclopts import Parameter

from cgan_export.cli.checks import check_artifacts, check_target, checked_name, require_torch, target_for
from cgan_export.cli.output import Progress, plain_figures, print_figures, print_result
from cgan_export.model_name import model_name
from cgan_export.precisions import parse_precisions
from cgan_export.size_wish import parse_size
from cgan_export.source_flags import SourceFlags, read_palette

if TYPE_CHECKING:
    from cgan_export.export import Exported

__all__ = ["main"]

command = app("cgan-export")


@command.default
def export(
    path: Path,
    other: Path | None = None,
    /,
    *,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None,
    name: str | None = None,
    statistics: Literal["per_sample", "running"] | None = None,
    graph: str | None = None,
    conditions: Path | None = None,
    flags: SourceFlags | None = None,
    force: bool = False,
    sign: Path | None = None,
    precision: str = "fp32",
    io_type: Literal["fp32", "fp16"] = "fp32",
    calibrate: Path | None = None,
    size: str | None = None,
    dynamic_size: bool = False,
    verify: Annotated[bool, Parameter(show=False)] = False,
    compare: Annotated[bool, Parameter(show=False)] = False,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
) -> None:
    """Turn a checkpoint into a bundle proven to be the same model; verify or compare bundles.

    For example:

        cgan-export runs/satellite/last.pt
        cgan-export facades.pt -o facades --statistics running
        cgan-export facades.pt --precision fp32,fp16,int8 --calibrate images/
        cgan-export latest_net_G.pth -o facades --source labels --target photo
        cgan-export horse2zebra.pt --graph BtoA
        cgan-export verify facades
        cgan-export compare facades-old facades

    Args:
        path: A checkpoint of cgan-train, pytorch-CycleGAN-and-pix2pix, CUT, PyTorch-GAN or pix2pix-tensorflow; or
            the folder or archive with only one in it.
        other: With --compare, the newer bundle.
        out: Folder to write the bundle to. [default: the model's name, here]
        name: Name of the model, as clients will see it. [default: from the file or its folder, and the graph]
        statistics: What batch-norm layers use: the image's own statistics, or the averages of training.
            [default: as the checkpoint says; pix2pix: per_sample]
        graph: Name of one graph of a checkpoint that holds several, or of one generator in a file from other code.
            [default: the first]
        conditions: Folder of images to check on, instead of the examples in the checkpoint, or of made-up images
            where it has none; with several image conditions, one folder for each in it.
        flags: What a file from other code does not say.
        force: Replace an existing bundle.
        sign: A private key (PEM, elliptic curve) to sign the bundle with.
        precision: Artifacts to make, separated by commas: fp32 (always made), fp16, int8. [default: fp32]
        io_type: Inputs and outputs of the FP16 file; fp16 saves transfers. [default: fp32, as the contract]
        calibrate: Folder of images that INT8 ranges are measured on. [default: the images of the check]
        size: Size of the images, as 256 or WIDTHxHEIGHT. [default: the checkpoint's]
        dynamic_size: Leave the size free: any multiple of what the net needs.
        verify: The same as `cgan-export verify`.
        compare: The same as `cgan-export compare`.
        as_json: Print the result as one JSON object.
    """
    if compare or other is not None:
        _compare(path, other, compare=compare, as_json=as_json)
        return
    if verify:
        _verify(path, as_json=as_json)
        return
    # All that can be refused without torch is refused before it is loaded.
    path = checkpoint_at(path)
    name = model_name(path, graph) if name is None else checked_name(name)
    target = out or target_for(name, path)
    check_target(target, path, force=force)
    if sign is not None:
        from cgan_runtime.signing import require_private_key

        require_private_key(sign)
    precisions = parse_precisions(precision)
    check_artifacts(precisions, io_type, conditions=conditions, calibrate=calibrate)
    wanted = parse_size(size, dynamic=dynamic_size)
    if flags is not None and flags.palette is not None:
        read_palette(flags.palette)
    require_torch()
    from cgan_runtime.claims import claim
    from cgan_trainer.readers import Choices

    from cgan_export.artifacts.artifacts import ArtifactOptions
    from cgan_export.bundle.writer import provenance, write_bundle, write_failed_report
    from cgan_export.export import export_checkpoint
    from cgan_export.sources import assumptions, other_graphs, say_assumptions

    options = ArtifactOptions(precisions=precisions, io=io_type, calibrate=calibrate)
    if "int8" in options.precisions and calibrate is None:
        print("cgan-export: INT8 is calibrated on the images of the check; use --calibrate.", file=sys.stderr)
    started = perf_counter()
    with claim(target), Progress() as progress:
        checkpoint, exported = export_checkpoint(
            path,
            name=name,
            statistics=statistics,
            images=conditions,
            choices=replace(flags.choices() if flags else Choices(), graph=graph),
            options=options,
            size=wanted,
            progress=progress.say,
        )
        assumed = assumptions(checkpoint, conditions)
        say_assumptions(checkpoint, assumed, progress.note)
        origin = provenance(
            path,
            checkpoint.file_sha256,
            options=checkpoint.options,
            training=checkpoint.provenance,
            assumed=assumed,
            graph=checkpoint.graph,
        )
        kept = exported.kept()
        if kept is not None:
            progress.say("writing the bundle")
            manifest, digest = write_bundle(
                target,
                kept,
                name=name,
                family=checkpoint.family,
                origin=origin,
                replace=force,
                sign_with=sign,
            )
        if not exported.passed:
            progress.say("looking for the first bad layer")
            report = write_failed_report(target, exported, name=name, origin=origin)
    for artifact in exported.artifacts if not as_json else ():
        print_figures(artifact.figures, f"{name}: {artifact.path} ({artifact.precision}) against PyTorch")
    if kept is not None:
        others, seconds = other_graphs(checkpoint), perf_counter() - started
        print_result(target, manifest, digest, seconds=seconds, others=others, as_json=as_json)
    if not exported.passed:
        _refuse(exported, path, target, report)


def _refuse(exported: Exported, path: Path, target: Path, report: Path) -> None:
    """Say which artifacts failed, by how much, and what was written all the same.

    Raises:
        CheckFailedError: always.
    """
    from cgan_export.export import require_passed
    from cgan_export.fidelity.labels import label_of

    failed = [artifact for artifact in exported.artifacts if not artifact.passed]
    figures = {  # of several artifacts each label names its own
        f"{artifact.path}.{key}": figure.model_copy(
            update={"label": f"{artifact.precision}, {label_of(key, figure)}"} if len(failed) > 1 else {}
        )
        for artifact in failed
        for key, figure in artifact.figures.items()
    }
    what = f"{path} as {' and '.join(artifact.precision for artifact in failed)}"
    passed = ", ".join(artifact.path for artifact in exported.artifacts if artifact.passed)
    written = f"{target} holds what passed: {passed}. " if passed else ""
    require_passed(figures, what, advice=f"{written}The report is {report}.")


@command.command(name="verify")
def verify_command(
    bundle: Path,
    /,
    *,
    require_signature: Path | None = None,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
) -> None:
    """Run the gates of an existing bundle on this machine, without torch and without the checkpoint.

    Args:
        bundle: A bundle written by cgan-export.
        require_signature: A public key (PEM); the bundle must be signed with its private key.
        as_json: Print the result as one JSON object.
    """
    _verify(bundle, as_json=as_json, require_signature=require_signature)


@command.command(name="compare")
def compare_command(
    old: Path,
    new: Path,
    /,
    *,
    require_signature: Path | None = None,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
) -> None:
    """Report what differs between two bundles, and how far their outputs are apart.

    Args:
        old: The bundle that the other is held to.
        new: The newer bundle.
        require_signature: A public key (PEM); both bundles must be signed with its private key.
        as_json: Print the result as one JSON object.
    """
    _compare(old, new, compare=True, as_json=as_json, require_signature=require_signature)


def _compare(
    old: Path, new: Path | None, *, compare: bool, as_json: bool, require_signature: Path | None = None
) -> None:
    if new is None or not compare:
        raise UsageError(
            "one path is a checkpoint to export, two are bundles to compare: cgan-export compare OLD NEW "
            "(or --compare OLD NEW)."
        )
    from cgan_runtime.bundle import read_bundle

    from cgan_export.bundle.compare import compare_bundles, print_comparison

    first, second = (read_bundle(path, require_signature=require_signature) for path in (old, new))
    with Progress() as progress:
        comparison = compare_bundles(first, second, progress.say)
    if as_json:
        print(json.dumps(comparison.plain()))
    else:
        print_comparison(comparison)
    comparison.require_kept(old, new)


def _verify(path: Path, *, as_json: bool, require_signature: Path | None = None) -> None:
    from cgan_runtime.bundle import read_bundle

    from cgan_export.bundle.verify import verify_bundle
    from cgan_export.fidelity.labels import shortfalls

    bundle = read_bundle(path, require_signature=require_signature)
    with Progress() as progress:
        artifacts = verify_bundle(bundle, progress.say)
    if as_json:
        plain = {artifact: plain_figures(figures) for artifact, figures in artifacts.items()}
        print(json.dumps({"bundle": bundle.digest, "figures": plain["model.onnx"], "artifacts": plain}))
    else:
        for artifact, figures in artifacts.items():
            print_figures(figures, f"{bundle.manifest.name}: {artifact} on this machine")
    failed = [f"{artifact}, {words}" for artifact, figures in artifacts.items() for words in shortfalls(figures)]
    if failed:
        raise CheckFailedError(f"{path} is not the same model on this machine: {'; '.join(failed)}.")


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Entry point of cgan-export; `argv` are its words, those of the process by default."""
    run(command, argv)
