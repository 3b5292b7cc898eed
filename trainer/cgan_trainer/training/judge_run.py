"""From a run folder to its evaluation: read the weights and the images, judge, write down. It names no family."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import platformdirs
from cgan_runtime.atomic import write_atomic
from cgan_runtime.errors import BadInputError, UsageError
from cgan_runtime.progress import progress

from cgan_trainer.checkpoint import read_checkpoint
from cgan_trainer.configs.base import TrainConfig, check_config
from cgan_trainer.data.kinds import DataKind, Split
from cgan_trainer.evaluation.judge import Gallery, Subject
from cgan_trainer.evaluation.page import write_page
from cgan_trainer.evaluation.result import Evaluation
from cgan_trainer.families import FAMILIES, build_graph
from cgan_trainer.families.base import Family
from cgan_trainer.unfinished import unfinished
from cgan_trainer.watching import page as run_page

__all__ = ["evaluate_run", "find_weights", "judge_run", "write_evaluation"]


def evaluate_run(
    run: Path,
    *,
    checkpoint: str | Path = "last",
    split: str | None = None,
    data: Path | None = None,
    images: int | None = None,
    seeds: int | None = None,
    cache: Path | None = None,
) -> Evaluation:
    """Judge a run, and write evaluation.json, evaluation.html and index.html into its folder, each complete.

    Runs on the CPU, so that the noise, and with it every figure, repeats. Same weights, images and options: the
    same files.

    Args:
        run: the run folder.
        checkpoint: "last", "best", or a checkpoint file.
        split: "test" or "val"; test if there is one.
        data: another dataset folder than the run's own.
        images: judge at most so many images, evenly spread over the split; all by default.
        seeds: images drawn per condition for diversity, 1 or more; 8 by default. Not of labelled images.
        cache: where nets are kept that an evaluation trains; the user's cache by default.

    Raises:
        UsageError: an option cannot be used, or this family is not evaluated.
        BadInputError: the run folder or its data cannot be used.
        CganError: the generator makes nothing that can be measured.
    """
    evaluation, gallery = judge_run(
        run, checkpoint=checkpoint, split=split, data=data, images=images, seeds=seeds, cache=cache
    )
    write_evaluation(run, evaluation, gallery)
    return evaluation


def write_evaluation(folder: Path, evaluation: Evaluation, gallery: Gallery) -> None:
    """Write both files into the run folder, and its page anew, which shows them; each complete or not at all."""
    text = json.dumps(evaluation.to_json(), indent=1, allow_nan=False) + "\n"
    write_atomic(folder / "evaluation.json", text)
    write_page(folder / "evaluation.html", [(evaluation, gallery)])
    run_page.write_page(folder)


def judge_run(
    path: Path,
    *,
    checkpoint: str | Path = "last",
    split: str | None = None,
    data: Path | None = None,
    images: int | None = None,
    seeds: int | None = None,
    cache: Path | None = None,
) -> tuple[Evaluation, Gallery]:
    """`evaluate_run` without writing: the figures, and the images that show them."""
    if images is not None and images < 1:
        raise UsageError(f"--images {images} cannot be used: give 1 or more.")
    if seeds is not None and not 1 <= seeds <= 1000:
        raise UsageError(f"--seeds {seeds} cannot be used: give a number from 1 to 1000.")
    plain = _read_config(path)
    family = _family_of(path, plain)
    if family.judge is None:
        raise UsageError(f"{path} is a {family.name} run, for which there is no evaluation.")
    config = _config_of(path, family, plain)
    read = read_checkpoint(find_weights(path, checkpoint))
    root = data or Path(str(plain["data"]))
    if not root.exists():
        raise BadInputError(f"the data of this run, {root}, is not here: name its folder by --data.")
    kind = family.data(config, config.size).for_judging(root)
    chosen, why = _find_split(kind, root, split)
    held_out = _load(kind, root, chosen)
    train = _load(kind, root, "train") if kind.has(root, "train") else None
    facts = kind.facts(root, train)
    judged = family.judge(
        Subject(
            graphs={name: build_graph(read, name) for name in read.graphs},
            facts=facts,
            held_out=held_out,
            train=train,
            most=images,
            seed=config.seed,
            seeds=seeds,
            cache=cache or platformdirs.user_cache_path("cgan-deploy") / "evaluation",
        )
    )
    evaluation = Evaluation(
        run=path.resolve().name,
        weights=read.path.name,
        weights_sha256=read.file_sha256,
        images=read.provenance.get("images"),
        planned_images=read.provenance.get("planned_images"),
        stopped_by=read.provenance.get("stopped_by"),
        dataset=facts.name,
        data=str(root),
        split=held_out.name,
        files=judged.files,
        available=judged.available,
        images_sha256=held_out.sha256,
        direction=asdict(config).get("direction"),
        size=config.size,
        seed=config.seed,
        seeds=judged.seeds,
        rows=judged.rows,
        columns=judged.columns,
        notes=tuple(note for note in (unfinished(read.provenance), *judged.notes, why) if note),
        each=judged.each,
    )
    return evaluation, judged.gallery


def _read_config(path: Path) -> dict[str, Any]:
    if not path.is_dir():
        what = "is a file" if path.exists() else "does not exist"
        raise BadInputError(f"{path} {what}: name a run folder, the --out of a `cgan-train` command.")
    file = path / "config.json"
    if not file.is_file():
        raise BadInputError(f"{path} is no run folder, for it has no config.json: name the --out of a training.")
    try:
        plain = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(plain["data"], str) or not isinstance(plain["seed"], int):
            raise TypeError("it does not say data and seed")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInputError(f"{file} cannot be read ({error}): copy it again, or train again.") from error
    return dict(plain)


def _family_of(path: Path, plain: dict[str, Any]) -> Family[Any, Any]:
    name = plain.get("family")
    if name not in FAMILIES:
        raise BadInputError(
            f"{path} is a run of {name!r}, but this version knows {', '.join(FAMILIES)}: install the version that "
            "wrote it."
        )
    return FAMILIES[str(name)]


def _config_of(path: Path, family: Family[Any, Any], plain: dict[str, Any]) -> TrainConfig:
    known = {field.name for field in fields(family.config)}
    config: TrainConfig = family.config(**{name: value for name, value in plain.items() if name in known})
    try:
        check_config(config)
    except UsageError as error:
        file = path / "config.json"
        raise BadInputError(f"{file} cannot be used ({error}): copy it again, or train again.") from error
    return config


def find_weights(path: Path, checkpoint: str | Path) -> Path:
    """The file that "last", "best" or a path means.

    Raises:
        BadInputError: the run folder does not have it.
    """
    file = path / f"{checkpoint}.pt" if checkpoint in ("last", "best") else Path(checkpoint)
    if file.parent == path and not file.exists():
        raise BadInputError(f"{path} has no {file.name}: train it to its first save, or name a file by --weights.")
    return file


def _find_split(kind: DataKind[Any], root: Path, wanted: str | None) -> tuple[str, str]:
    """The one that was asked for; else test where it can be used, and val: then with a sentence that says why."""
    if wanted is not None:
        if kind.has(root, wanted) and kind.count(root, wanted):
            return wanted, ""
        raise UsageError(f"--split {wanted} cannot be used: {root} has no {wanted} images.")
    refused: list[str] = []
    for split in ("test", "val"):
        try:
            if kind.has(root, split) and kind.count(root, split):
                why = f"test/ cannot be used ({refused[0]})" if refused else "there is no test/"
                return split, "" if split == "test" else f"Judged on {split}/, for {why}."
        except BadInputError as error:
            refused.append(str(error).removesuffix("."))
    if refused:
        raise BadInputError(f"{refused[0]}.")
    raise BadInputError(
        f"{root} has no images under test/ or val/: put some held-out {kind.unit} into {root / 'test'}."
    )


def _load(kind: DataKind[Any], root: Path, split: str) -> Split:
    with progress(f"reading {split}", unit=kind.unit) as report:
        return kind.load(root, split, on_file=report)
