"""What cgan-export prints: results on stdout, progress on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cgan_runtime.manifest import Artifact, Figure, Manifest

    from cgan_export.engines.builder import Report
    from cgan_export.engines.engines import Engine

__all__ = ["Progress", "plain_figures", "print_engines", "print_figures", "print_not_run", "print_result"]


def print_result(
    target: Path, manifest: Manifest, digest: str, *, seconds: float, others: tuple[str, ...], as_json: bool
) -> None:
    """What was written, and the commands that come next; `others` are the checkpoint's other graphs."""
    if as_json:
        artifacts = {artifact.label: plain_figures(dict(artifact.fidelity)) for artifact in manifest.artifacts}
        document: dict[str, object] = {"path": str(target), "name": manifest.name, "bundle": digest}
        document |= {"graph": manifest.provenance.graph, "other_graphs": others}
        print(json.dumps({**document, "figures": artifacts["model.onnx"], "artifacts": artifacts}))
        return
    from cgan_export.bundle.next_commands import next_commands

    print(f"\nwrote {target}/ in {seconds:.0f} s, bundle {digest[:16]}")
    width = max(24, 2 + max(len(file.path) for file in manifest.artifacts))
    uses: dict[str, list[Artifact]] = {}
    for artifact in manifest.artifacts:
        uses.setdefault(artifact.path, []).append(artifact)
    for path, artifacts_of in uses.items():
        words = ", ".join(f"{artifact.backend} {artifact.precision}" for artifact in artifacts_of)
        print(f"  {path:<{width}}{artifacts_of[0].bytes / 1e6:8.1f} MB  {words}")
    golden = sum(file.bytes for file in manifest.files)
    print(f"  {'golden, card, report':<{width}}{golden / 1e6:8.1f} MB")
    print("\nnext:")
    for line in next_commands(manifest.contract, str(target)):
        print(f"  {line}")
    if others:
        word = "it" if len(others) == 1 else "each"
        print(f"\nalso in this checkpoint: {', '.join(others)}; export {word} with --graph {others[0]}")


def print_figures(figures: dict[str, Figure], title: str) -> None:
    """Figures as a table on stdout."""
    from rich.console import Console
    from rich.table import Table

    from cgan_export.fidelity.labels import label_of

    table = Table("check", title=title, title_justify="left")
    table.add_column("measured", justify="right")
    table.add_column("limit", justify="right")
    table.add_column("")
    for key, figure in figures.items():
        unit = f" {figure.unit}" if figure.unit else ""
        verdict = "[green]ok[/]" if figure.passed else "[red]FAILED[/]"
        table.add_row(
            label_of(key, figure), f"{figure.value:.4g}{unit}", f"{figure.rule} {figure.limit:.4g}", verdict
        )
    Console().print(table)


def print_engines(engines: Sequence[Engine], name: str, *, as_json: bool) -> None:
    """What the gates say of each engine, or that none could ask it."""
    if as_json:
        return
    for engine in engines:
        if engine.not_run is None:
            title = f"{name}: {engine.artifact.path} ({engine.artifact.precision}) as an engine"
            print_figures(dict(engine.artifact.fidelity), title)
    print_not_run({one.artifact.path: one.not_run for one in engines if one.not_run is not None})


def print_not_run(reasons: dict[str, str]) -> None:
    """By path, why there are no figures of an artifact."""
    for path, reason in reasons.items():
        print(f"{path}: built, not run here ({reason.rstrip('.')})")


def plain_figures(figures: dict[str, Figure]) -> dict[str, object]:
    """Figures for JSON."""
    return {key: {**figure.model_dump(), "passed": figure.passed} for key, figure in figures.items()}


class Progress:
    """One line on stderr that says what is being done; nothing when stderr is not a terminal."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(stderr=True)
        self._status = self._console.status("starting")

    def say(self, text: str) -> None:
        """What is being done now."""
        if self._console.is_terminal:
            self._status.update(text)
        else:
            print(f"cgan-export: {text}", file=sys.stderr)

    def show(self, text: str) -> None:
        """How far it is: on a terminal only, for it comes many times a second."""
        if self._console.is_terminal:
            self._status.update(text)

    def report(self) -> Report:
        """The three of them for the builder of engines."""
        from cgan_export.engines.builder import Report

        return Report(say=self.say, show=self.show, note=self.note)

    def note(self, text: str) -> None:
        """A line that stays, on a terminal too."""
        self._console.print(f"cgan-export: {text}", markup=False, highlight=False, soft_wrap=True)

    def __enter__(self) -> Progress:
        self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._status.stop()
