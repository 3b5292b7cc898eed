"""`cgan-export rebuild`: engines of a bundle from its own ONNX files."""

from __future__ import annotations

import json
from pathlib import Path
from time import perf_counter

from cgan_export.cli.checks import check_key, checked_wish
from cgan_export.cli.output import Progress, plain_figures, print_engines
from cgan_export.engine_flags import EngineFlags

__all__ = ["rebuild_engines"]


def rebuild_engines(path: Path, flags: EngineFlags, *, sign: Path | None, as_json: bool) -> None:
    """Add or replace engines, and say what became of the bundle."""
    check_key(sign)
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
