"""cgan-export: a checkpoint becomes a verified bundle; bundles are verified again, compared, given engines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

from cgan_runtime.cli.shell import app, run
from cgan_runtime.errors import UsageError
from cgan_trainer.checkpoint_paths import checkpoint_at
from cyclopts import Parameter

from cgan_export.cli.bundles import compare_two, rebuild_engines, verify_one
from cgan_export.cli.checks import (
    check_artifacts,
    check_key,
    check_palette,
    check_target,
    checked_name,
    checked_wish,
    require_torch,
    target_for,
)
from cgan_export.cli.output import (
    Progress,
    print_engines,
    print_figures,
    print_result,
)
from cgan_export.engine_flags import TARGETS, EngineFlags
from cgan_export.model_name import model_name
from cgan_export.precisions import parse_precisions
from cgan_export.size_wish import parse_size
from cgan_export.source_flags import SourceFlags

if TYPE_CHECKING:
    from cgan_export.artifacts.artifacts import BuiltArtifact
    from cgan_export.engines.engines import Engine
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
    engine: EngineFlags | None = None,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
) -> None:
    """Turn a checkpoint into a bundle proven to be the same model; verify or compare bundles.

    For example:

        cgan-export runs/satellite/last.pt
        cgan-export facades.pt -o facades --statistics running
        cgan-export facades.pt --precision fp32,fp16,int8 --calibrate images/
        cgan-export latest_net_G.pth -o facades --source labels --target photo
        cgan-export horse2zebra.pt --graph BtoA
        cgan-export facades.pt --backend openvino --precision fp32,bf16,int8
        cgan-export facades.pt --backend tensorrt-rtx --target sm86,sm89,sm120
        cgan-export rebuild facades --backend tensorrt
        cgan-export verify facades
        cgan-export compare facades-old facades

    Args:
        path: A checkpoint of cgan-train, pytorch-CycleGAN-and-pix2pix, CUT, PyTorch-GAN or pix2pix-tensorflow; or
            the folder or archive with only one in it.
        other: Nothing: two bundles are for `cgan-export compare`.
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
        precision: Artifacts to make, separated by commas: fp32 (always made), fp16, bf16 (OpenVINO only), int8.
            [default: fp32]
        io_type: Inputs and outputs of the FP16 file; fp16 saves transfers. [default: fp32, as the contract]
        calibrate: Folder of images like those that will be served, up to 32: INT8 ranges are measured on them.
            [default: the images of the check]
        size: Size of the images, as 256 or WIDTHxHEIGHT. [default: the checkpoint's]
        dynamic_size: Leave the size free: any multiple of what the net needs.
        engine: Other backends than ONNX Runtime.
        as_json: Print the result as one JSON object.
    """
    flags, engine = _targets_of_engine(flags, engine or EngineFlags())
    if other is not None:
        raise UsageError(
            "one path is a checkpoint to export, two are bundles to compare: cgan-export compare OLD NEW."
        )
    # All that can be refused without torch is refused before it is loaded.
    path = checkpoint_at(path)
    name = model_name(path, graph) if name is None else checked_name(name)
    target = out or target_for(name, path)
    check_target(target, path, force=force)
    check_key(sign)
    wish = checked_wish(engine)
    # An engine is built from the FP16 graph.
    precisions = parse_precisions(f"{precision},fp16" if wish is not None else precision)
    check_artifacts(precisions, engine.cpu_backends, io_type, conditions=conditions, calibrate=calibrate)
    wanted = parse_size(size, dynamic=dynamic_size)
    check_palette(flags)
    require_torch()
    from cgan_runtime.claims import claim
    from cgan_trainer.readers import Choices

    from cgan_export.artifacts.artifacts import ArtifactOptions
    from cgan_export.artifacts.trial import FOR_SPEED, speed_notes
    from cgan_export.bundle.writer import provenance_of, write_bundle, write_failed_report
    from cgan_export.export import engines_of, export_checkpoint
    from cgan_export.sources import assumptions, other_graphs, say_assumptions

    options = ArtifactOptions(precisions=precisions, backends=engine.cpu_backends, io=io_type, calibrate=calibrate)
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
        _say_calibration(exported, calibrate, progress.note)
        assumed = assumptions(checkpoint, conditions)
        say_assumptions(checkpoint, assumed, progress.note)
        origin = provenance_of(path, checkpoint, assumed)
        kept = exported.kept()
        if kept is not None:
            if not set(FOR_SPEED).isdisjoint(options.precisions):
                progress.say("how fast they are here")
            for note in speed_notes(kept.artifacts, kept.context):
                progress.note(note)
        engines = engines_of(kept, wish, progress.report())
        if kept is not None:
            progress.say("writing the bundle")
            manifest, digest = write_bundle(
                target,
                kept,
                name=name,
                family=checkpoint.family,
                origin=origin,
                engines=tuple(one for one in engines if one.passed),
                replace=force,
                sign_with=sign,
            )
        if not exported.passed:
            progress.say("looking for the first bad layer")
            report = write_failed_report(target, exported, name=name, origin=origin)
    for artifact in exported.artifacts if not as_json else ():
        print_figures(artifact.figures, f"{name}: {artifact.label} ({artifact.precision}) against PyTorch")
    print_engines(engines, name, as_json=as_json)
    if kept is not None:
        print_result(
            target,
            manifest,
            digest,
            seconds=perf_counter() - started,
            others=other_graphs(checkpoint),
            as_json=as_json,
        )
    if not exported.passed:
        _refuse(exported, path, target, report)
    _refuse_engines(engines, path, target)


def _targets_of_engine(flags: SourceFlags | None, engine: EngineFlags) -> tuple[SourceFlags | None, EngineFlags]:
    """`--target` names what an image shows, `--target photo`, or the GPUs of an engine, `--target sm86,sm89`."""
    if flags is None or flags.target is None or not TARGETS.match(flags.target):
        return flags, engine
    if engine.target_gpu is not None:
        raise UsageError("--target and --target-gpu both name GPUs; give one of them.")
    others = replace(flags, target=None)
    return None if others == SourceFlags() else others, replace(engine, target_gpu=flags.target)


def _say_calibration(exported: Exported, calibrate: Path | None, note: Callable[[str], None]) -> None:
    """Without a folder INT8 fits the images that it is judged on."""
    by_images = exported.context.contract.image_condition is not None
    if calibrate is None and by_images and any(artifact.precision == "int8" for artifact in exported.artifacts):
        note(
            "INT8 is calibrated on the images of the check, and others may be 3 dB worse: name a folder of 32 "
            "images like those that will be served with --calibrate."
        )


def _refuse(exported: Exported, path: Path, target: Path, report: Path) -> None:
    """Say which artifacts failed, by how much, and what was written all the same.

    Raises:
        CheckFailedError: always.
    """
    from cgan_export.export import require_passed
    from cgan_export.fidelity.labels import label_of

    failed = [artifact for artifact in exported.artifacts if not artifact.passed]
    figures = {  # of several artifacts each label names its own
        f"{artifact.label}.{key}": figure.model_copy(
            update={"label": f"{_word(artifact)}, {label_of(key, figure)}"} if len(failed) > 1 else {}
        )
        for artifact in failed
        for key, figure in artifact.figures.items()
    }
    what = f"{path} as {' and '.join(map(_word, failed))}"
    passed = ", ".join(artifact.label for artifact in exported.artifacts if artifact.passed)
    written = f"{target} holds what passed: {passed}. " if passed else ""
    require_passed(figures, what, advice=f"{written}The report is {report}.")


def _word(artifact: BuiltArtifact) -> str:
    """The precision, with OpenVINO's name before it where it is OpenVINO's."""
    return artifact.precision if artifact.backend == "onnxruntime" else artifact.label


def _refuse_engines(engines: Sequence[Engine], path: Path, target: Path) -> None:
    """Say which engines ran here and are not the same model; the bundle is there without them."""
    from cgan_export.export import require_passed

    failed = [engine.artifact for engine in engines if not engine.passed]
    figures = {f"{one.path}.{key}": figure for one in failed for key, figure in one.fidelity.items()}
    require_passed(figures, f"the engine of {path}", advice=f"{target} holds what passed.")


@command.command(name="rebuild")
def rebuild_command(
    bundle: Path,
    /,
    *,
    engine: EngineFlags | None = None,
    target: str | None = None,
    sign: Path | None = None,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
) -> None:
    """Build engines from the ONNX files of a bundle; everything else in it stays as it is.

    An engine for the same GPUs is replaced. A signature ends with the old bundle.json: sign again with --sign.

    Args:
        bundle: A bundle written by cgan-export, with model.fp16.onnx.
        engine: Which engine. [default: those that are there, as they were built]
        target: The same as --target-gpu.
        sign: A private key (PEM, elliptic curve) to sign the bundle with.
        as_json: Print the result as one JSON object.
    """
    engine = engine or EngineFlags()
    if target is not None:
        engine = replace(engine, target_gpu=target)
    rebuild_engines(bundle, engine, sign=sign, as_json=as_json)


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
    verify_one(bundle, as_json=as_json, require_signature=require_signature)


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
    compare_two(old, new, as_json=as_json, require_signature=require_signature)


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Entry point of cgan-export; `argv` are its words, those of the process by default."""
    run(command, argv, prepare=_command_first)


def _command_first(words: Sequence[str]) -> list[str]:
    """`--rebuild`, `--verify` and `--compare` are commands that may stand anywhere."""
    for word in ("--rebuild", "--verify", "--compare"):
        if word in words:
            return [word.removeprefix("--"), *(other for other in words if other != word)]
    return list(words)
