"""cgan-export: a checkpoint becomes a verified bundle, or a bundle is verified again."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from time import perf_counter
from typing import Annotated, Literal, NoReturn

from cgan_runtime.bundle import Bundle, read_bundle
from cgan_runtime.cli.shell import app, run
from cgan_runtime.errors import CganError, UsageError
from cgan_runtime.manifest import Figure, Manifest
from cyclopts import Parameter

from cgan_export.source_flags import SourceFlags

__all__ = ["main"]

command = app("cgan-export", "Turn a checkpoint into a bundle that is proven to be the same model.")


@command.default
def export(
    path: Path,
    /,
    *,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None,
    name: str | None = None,
    statistics: Literal["per_sample", "running"] | None = None,
    conditions: Path | None = None,
    flags: SourceFlags | None = None,
    force: bool = False,
    verify: bool = False,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> None:
    """Export a checkpoint, or check a bundle.

    Examples:
        cgan-export runs/satellite/best.pt
        cgan-export facades.pt -o facades --statistics running
        cgan-export latest_net_G.pth -o facades --source labels --target photo
        cgan-export --verify facades

    Args:
        path: A checkpoint of cgan-train, pytorch-CycleGAN-and-pix2pix, PyTorch-GAN or pix2pix-tensorflow;
            with --verify, a bundle.
        out: Folder to write the bundle to. [default: the model's name, here]
        name: Name of the model, as clients will see it. [default: from the file or its folder]
        statistics: What batch-norm layers use. per_sample: the picture's own statistics, as pix2pix does at
            test time. running: the averages of training. [default: as the checkpoint says]
        conditions: Folder of pictures to check on, instead of the examples in the checkpoint.
        flags: What a file from other code does not say.
        force: Replace an existing bundle.
        verify: Run the gates of an existing bundle on this machine, without torch.
        as_json: Print the result as one JSON object.
    """
    if verify:
        _verify(path, as_json=as_json)
        return
    name = name or _name_of(path)
    target = out or Path(name)
    if target.exists() and not force:
        raise UsageError(f"{target} exists already; choose another name with -o or add --force to replace it.")
    _require_torch()
    from cgan_export.export import export_checkpoint, require_passed
    from cgan_export.sources import say_assumptions
    from cgan_export.writer import provenance, write_bundle

    started = perf_counter()
    with _Progress() as progress:
        checkpoint, exported = export_checkpoint(
            path,
            name=name,
            statistics=statistics,
            pictures=conditions,
            choices=flags.choices() if flags else None,
            progress=progress.say,
        )
        say_assumptions(checkpoint, progress.note)
        progress.say("writing the bundle")
        if all(figure.passed for figure in exported.figures.values()):
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
    if not as_json:
        _print_figures(exported.figures, f"{name}: model.onnx (fp32) against PyTorch")
    require_passed(exported.figures, str(path))
    _report(target, manifest, digest, seconds=perf_counter() - started, as_json=as_json)


def _verify(path: Path, *, as_json: bool) -> None:
    from cgan_export.verify import verify_bundle

    bundle = read_bundle(path)
    with _Progress() as progress:
        figures = verify_bundle(bundle, progress.say)
    if as_json:
        print(json.dumps({"bundle": bundle.digest, "figures": _plain(figures)}))
    else:
        _print_figures(figures, f"{bundle.manifest.name}: model.onnx (fp32) on this machine")
    failed = [key for key, figure in figures.items() if not figure.passed]
    if failed:
        from cgan_runtime.errors import CheckFailedError

        raise CheckFailedError(f"{path} does not hold here: {', '.join(failed)} beyond the limit.")


def _report(target: Path, manifest: Manifest, digest: str, *, seconds: float, as_json: bool) -> None:
    if as_json:
        figures = _plain(dict(manifest.artifacts[0].fidelity))
        print(json.dumps({"path": str(target), "name": manifest.name, "bundle": digest, "figures": figures}))
        return
    bundle = Bundle(path=target, manifest=manifest, digest=digest)
    print(f"\nwrote {target}/ in {seconds:.0f} s, bundle {digest[:16]}")
    for file in (*bundle.manifest.artifacts,):
        print(f"  {file.path:<24}{file.bytes / 1e6:8.1f} MB  {file.backend} {file.precision}")
    golden = sum(file.bytes for file in manifest.files)
    print(f"  {'golden samples, card':<24}{golden / 1e6:8.1f} MB")
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

    from cgan_export.meanings import MEANINGS

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
