"""What cgan-export does with bundles that are there: verify one, compare two, build engines of one again."""

from __future__ import annotations

import json
from pathlib import Path
from time import perf_counter

from cgan_runtime.errors import CheckFailedError, UsageError

from cgan_export.cli.checks import check_key, checked_wish
from cgan_export.cli.output import Progress, plain_figures, print_engines, print_figures, print_not_run
from cgan_export.engine_flags import EngineFlags

__all__ = ["compare_two", "rebuild_engines", "verify_one"]


def rebuild_engines(path: Path, flags: EngineFlags, *, sign: Path | None, as_json: bool) -> None:
    """Add or replace engines, and say what became of the bundle."""
    check_key(sign)
    if flags.backend == "openvino":
        raise UsageError("only engines are built again; for OpenVINO export the checkpoint, --backend openvino.")
    wish = checked_wish(flags)
    from cgan_runtime.claims import claim

    from cgan_export.bundle.rebuild import rebuild_bundle, was_signed

    started, signed = perf_counter(), was_signed(path)
    with claim(path), Progress() as progress:
        bundle, engines = rebuild_bundle(path, wish, sign_with=sign, report=progress.report())
        if signed and sign is None:
            progress.note(
                f"the signature of {path} was for its old engines and is gone: sign again with --sign KEY"
            )
    entries = [engine.artifact for engine in engines]
    if as_json:
        artifacts = {entry.path: plain_figures(dict(entry.fidelity)) for entry in entries}
        not_run = {one.artifact.path: one.not_run for one in engines if one.not_run is not None}
        document = {"path": str(path), "bundle": bundle.digest, "model": bundle.model_digest}
        print(json.dumps({**document, "artifacts": artifacts, "not_run": not_run}))
        return
    print_engines(engines, bundle.manifest.name, as_json=False)
    print(f"\nwrote {path}/ in {perf_counter() - started:.0f} s, bundle {bundle.digest[:16]}")
    for entry in entries:
        print(f"  {entry.path}  {entry.bytes / 1e6:.1f} MB")


def verify_one(path: Path, *, as_json: bool, require_signature: Path | None = None) -> None:
    """Print the figures of every artifact that runs here.

    Raises:
        CheckFailedError: a gate does not hold.
    """
    from cgan_runtime.bundle import read_bundle

    from cgan_export.bundle.verify import built_elsewhere, verify_bundle
    from cgan_export.fidelity.labels import shortfalls

    bundle = read_bundle(path, require_signature=require_signature)
    with Progress() as progress:
        artifacts = verify_bundle(bundle, progress.say)
    not_run = built_elsewhere(bundle)
    if as_json:
        plain = {artifact: plain_figures(figures) for artifact, figures in artifacts.items()}
        document = {"bundle": bundle.digest, "figures": plain["model.onnx"], "artifacts": plain}
        print(json.dumps({**document, "not_run": not_run}))
    else:
        for artifact, figures in artifacts.items():
            print_figures(figures, f"{bundle.manifest.name}: {artifact} on this machine")
        print_not_run(not_run)
    failed = [f"{artifact}, {words}" for artifact, figures in artifacts.items() for words in shortfalls(figures)]
    if failed:
        raise CheckFailedError(f"{path} is not the same model on this machine: {'; '.join(failed)}.")


def compare_two(old: Path, new: Path, *, as_json: bool, require_signature: Path | None = None) -> None:
    """Print what differs.

    Raises:
        CheckFailedError: the outputs moved further than is promised.
    """
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
