"""cgan-export: a checkpoint becomes a verified bundle, or a bundle is verified again."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from time import perf_counter
from typing import Annotated, Literal, NoReturn

from cgan_runtime.bundle import Bundle, read_bundle
from cgan_runtime.cli.shell import app, run
from cgan_runtime.errors import CganError, CheckFailedError, UsageError
from cgan_runtime.manifest import Figure, Manifest
from cyclopts import Parameter

from cgan_export.source_flags import SourceFlags

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
    conditions: Path | None = None,
    flags: SourceFlags | None = None,
    force: bool = False,
    precision: str = "fp32",
    io_type: Literal["fp32", "fp16"] = "fp32",
    calibrate: Path | None = None,
    size: str | None = None,
    dynamic_size: bool = False,
    verify: bool = False,
    compare: bool = False,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
) -> None:
    """Turn a checkpoint into a bundle proven to be the same model; check or compare bundles.

    For example:

        cgan-export runs/satellite/best.pt
        cgan-export facades.pt -o facades --statistics running
        cgan-export facades.pt --precision fp32,fp16,int8 --calibrate pictures/
        cgan-export latest_net_G.pth -o facades --source labels --target photo
        cgan-export --verify facades
        cgan-export --compare facades-old facades

    Args:
        path: A checkpoint of cgan-train, pytorch-CycleGAN-and-pix2pix, PyTorch-GAN or pix2pix-tensorflow;
            with --verify or --compare, a bundle.
        other: With --compare, the newer bundle.
        out: Folder to write the bundle to. [default: the model's name, here]
        name: Name of the model, as clients will see it. [default: from the file or its folder]
        statistics: What batch-norm layers use: the picture's own statistics, or the averages of training.
            [default: as the checkpoint says; pix2pix: per_sample]
        conditions: Folder of pictures to check on, instead of the examples in the checkpoint.
        flags: What a file from other code does not say.
        force: Replace an existing bundle.
        precision: Artifacts to make, separated by commas: fp32 (always made), fp16, int8. [default: fp32]
        io_type: Inputs and outputs of the FP16 file; fp16 saves transfers. [default: fp32, as the contract]
        calibrate: Folder of pictures that INT8 ranges are measured on. [default: the pictures of the check]
        size: Size of the pictures, as 256 or WIDTHxHEIGHT. [default: the checkpoint's]
        dynamic_size: Leave the size free: any multiple of what the net needs.
        verify: Run the gates of an existing bundle on this machine, without torch.
        compare: Report what differs between two bundles, and how far their pictures are apart.
        as_json: Print the result as one JSON object.
    """
    if compare or other is not None:
        _compare(path, other, compare=compare, as_json=as_json)
        return
    if verify:
        _verify(path, as_json=as_json)
        return
    name = name or _name_of(path)
    target = out or Path(name)
    if target.exists() and not force:
        raise UsageError(f"{target} exists already; choose another name with -o or add --force to replace it.")
    _require_torch()
    from cgan_export.artifacts.artifacts import ArtifactOptions, parse_precisions
    from cgan_export.bundle.writer import provenance, write_bundle, write_failed_report
    from cgan_export.export import export_checkpoint, require_passed
    from cgan_export.graph.sizes import parse_size
    from cgan_export.sources import say_assumptions

    options = ArtifactOptions(precisions=parse_precisions(precision), io=io_type, calibrate=calibrate)
    wanted = parse_size(size, dynamic=dynamic_size)
    if "int8" in options.precisions and calibrate is None:
        print("cgan-export: INT8 is calibrated on the pictures of the check; use --calibrate.", file=sys.stderr)
    started = perf_counter()
    with _Progress() as progress:
        checkpoint, exported = export_checkpoint(
            path,
            name=name,
            statistics=statistics,
            pictures=conditions,
            choices=flags.choices() if flags else None,
            options=options,
            size=wanted,
            progress=progress.say,
        )
        say_assumptions(checkpoint, progress.note)
        if exported.passed:
            progress.say("writing the bundle")
            origin = provenance(
                path,
                checkpoint.file_sha256,
                options=checkpoint.options,
                training=checkpoint.provenance,
                assumed=checkpoint.assumed,
            )
            manifest, digest = write_bundle(
                target, exported, name=name, family=checkpoint.family, origin=origin, replace=force
            )
        else:
            progress.say("looking for the first bad layer")
            report = write_failed_report(target, exported, name=name)
    for variant in exported.variants if not as_json else ():
        _print_figures(variant.figures, f"{name}: {variant.path} ({variant.precision}) against PyTorch")
    if not exported.passed:
        require_passed(exported.variants[-1].figures, f"{path} as {exported.variants[-1].precision}", see=report)
    _report(target, manifest, digest, seconds=perf_counter() - started, as_json=as_json)


def _compare(old: Path, new: Path | None, *, compare: bool, as_json: bool) -> None:
    if new is None or not compare:
        raise UsageError("two bundles are compared by: cgan-export --compare OLD NEW")
    from cgan_export.bundle.compare import compare_bundles, print_comparison

    with _Progress() as progress:
        comparison = compare_bundles(read_bundle(old), read_bundle(new), progress.say)
    if as_json:
        print(json.dumps(comparison.plain()))
    else:
        print_comparison(comparison)
    comparison.require_kept(old, new)


def _verify(path: Path, *, as_json: bool) -> None:
    from cgan_export.bundle.verify import verify_bundle

    bundle = read_bundle(path)
    with _Progress() as progress:
        artifacts = verify_bundle(bundle, progress.say)
    if as_json:
        plain = {artifact: _plain(figures) for artifact, figures in artifacts.items()}
        print(json.dumps({"bundle": bundle.digest, "figures": plain["model.onnx"], "artifacts": plain}))
    else:
        for artifact, figures in artifacts.items():
            _print_figures(figures, f"{bundle.manifest.name}: {artifact} on this machine")
    failed = [
        f"{key} of {artifact}"
        for artifact, figures in artifacts.items()
        for key, figure in figures.items()
        if not figure.passed
    ]
    if failed:
        raise CheckFailedError(f"{path} does not hold here: {', '.join(failed)} beyond the limit.")


def _report(target: Path, manifest: Manifest, digest: str, *, seconds: float, as_json: bool) -> None:
    if as_json:
        artifacts = {artifact.path: _plain(dict(artifact.fidelity)) for artifact in manifest.artifacts}
        document = {"path": str(target), "name": manifest.name, "bundle": digest}
        print(json.dumps({**document, "figures": artifacts["model.onnx"], "artifacts": artifacts}))
        return
    bundle = Bundle(path=target, manifest=manifest, digest=digest)
    print(f"\nwrote {target}/ in {seconds:.0f} s, bundle {digest[:16]}")
    for file in (*bundle.manifest.artifacts,):
        print(f"  {file.path:<24}{file.bytes / 1e6:8.1f} MB  {file.backend} {file.precision}")
    golden = sum(file.bytes for file in manifest.files)
    print(f"  {'golden, card, report':<24}{golden / 1e6:8.1f} MB")
    print(
        "\nnext:\n"
        f"  cgan-translate PICTURE --bundle {target} --seed 7\n"
        f"  cgan-serve {target}\n"
        f"  cgan-bench {target} --batch 1\n"
        f"  cgan-export --verify {target}"
    )


def _print_figures(figures: dict[str, Figure], title: str) -> None:
    from rich.console import Console
    from rich.table import Table

    from cgan_export.fidelity.labels import MEANINGS

    table = Table("check", title=title, title_justify="left")
    table.add_column("measured", justify="right")
    table.add_column("limit", justify="right")
    table.add_column("")
    for key, figure in figures.items():
        unit = f" {figure.unit}" if figure.unit else ""
        verdict = "[green]ok[/]" if figure.passed else "[red]FAILED[/]"
        table.add_row(
            MEANINGS.get(key, key), f"{figure.value:.4g}{unit}", f"{figure.rule} {figure.limit:.4g}", verdict
        )
    Console().print(table)


def _plain(figures: dict[str, Figure]) -> dict[str, object]:
    return {key: {**figure.model_dump(), "passed": figure.passed} for key, figure in figures.items()}


def _name_of(path: Path) -> str:
    """Name for clients: facades for facades.pt, satellite for runs/satellite/best.pt."""
    stem = path.stem if path.stem not in ("best", "last", "latest") else path.resolve().parent.name
    return "".join(letter if letter.isalnum() or letter in "_-" else "_" for letter in stem)[:64] or "model"


def _require_torch() -> None:
    try:
        import onnxscript  # noqa: F401 - torch.onnx imports it later, deep inside
        import torch  # noqa: F401 - the first of the heavy imports
    except ImportError as error:
        raise CganError(f'{error.name} is not installed; run: pip install "cgan-deploy[export]"') from error


class _Progress:
    """One line on stderr that says what is being done; nothing when stderr is not a terminal."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(stderr=True)
        self._status = self._console.status("starting")

    def say(self, text: str) -> None:
        if self._console.is_terminal:
            self._status.update(text)
        else:
            print(f"cgan-export: {text}", file=sys.stderr)

    def note(self, text: str) -> None:
        """A line that stays, on a terminal too."""
        self._console.print(f"cgan-export: {text}", markup=False, highlight=False, soft_wrap=True)

    def __enter__(self) -> _Progress:
        self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._status.stop()


def main() -> NoReturn:
    """Console entry point."""
    run(command)
