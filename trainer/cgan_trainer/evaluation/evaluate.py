"""From a run folder to its evaluation: draw, compare with the baseline and the truth, write down."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import platformdirs
from cgan_runtime.atomic import write_atomic
from cgan_runtime.errors import UsageError
from cgan_runtime.progress import note, progress
from jaxtyping import UInt8
from torch import Tensor

from cgan_trainer.data.layouts import find_layout
from cgan_trainer.data.pairs import Pairs, load_pairs, read_domains
from cgan_trainer.evaluation import Compared, measure_pictures
from cgan_trainer.evaluation.gallery import Gallery, make_gallery
from cgan_trainer.evaluation.kid import MIN_PICTURES
from cgan_trainer.evaluation.labels import find_labels, read_palettes
from cgan_trainer.evaluation.lookup_table import LEVELS, lookup_table_baseline
from cgan_trainer.evaluation.page import write_page
from cgan_trainer.evaluation.result import Evaluation, Row
from cgan_trainer.evaluation.run_reader import EvaluatedRun, find_split, read_run
from cgan_trainer.evaluation.sampling import generate_images, with_channels
from cgan_trainer.nets.efficientnet_lite import INSTALL, embed, weights_file
from cgan_trainer.seeding import spread_rows

__all__ = ["MAX_DIVERSITY", "evaluate_run", "judge_run", "write_evaluation"]

MAX_DIVERSITY = 16  # conditions drawn with several seeds


def evaluate_run(
    run: Path,
    *,
    checkpoint: str | Path = "last",
    split: str | None = None,
    data: Path | None = None,
    pictures: int | None = None,
    seeds: int = 8,
    cache: Path | None = None,
) -> Evaluation:
    """Judge a run, and write evaluation.json and evaluation.html into its folder, each complete or not at all.

    Runs on the CPU, so that the noise, and with it every figure, repeats. Same weights, pictures and options: the
    same two files.

    Args:
        run: the run folder.
        checkpoint: "last", "best", or a checkpoint file.
        split: "test" or "val"; test if there is one.
        data: another dataset folder than the run's own.
        pictures: judge at most so many pictures, evenly spread over the split; all by default.
        seeds: pictures drawn per condition for diversity, 1 or more.
        cache: where segmenters are kept; the user's cache by default.

    Raises:
        UsageError: an option cannot be used.
        BadInputError: the run folder or its data cannot be used.
        CganError: the generator makes no pictures.
    """
    evaluation, gallery = judge_run(
        run, checkpoint=checkpoint, split=split, data=data, pictures=pictures, seeds=seeds, cache=cache
    )
    write_evaluation(run, evaluation, gallery)
    return evaluation


def write_evaluation(folder: Path, evaluation: Evaluation, gallery: Gallery) -> None:
    """Write both files into `folder`, each complete or not at all."""
    text = json.dumps(evaluation.to_json(), indent=1, allow_nan=False) + "\n"
    write_atomic(folder / "evaluation.json", text)
    write_page(folder / "evaluation.html", [(evaluation, gallery)])


def judge_run(
    path: Path,
    *,
    checkpoint: str | Path = "last",
    split: str | None = None,
    data: Path | None = None,
    pictures: int | None = None,
    seeds: int = 8,
    cache: Path | None = None,
) -> tuple[Evaluation, Gallery]:
    """`evaluate_run` without writing: the figures, and the pictures that show them."""
    _check(pictures=pictures, seeds=seeds)
    run = read_run(path, checkpoint=checkpoint, data=data)
    split, chosen = find_split(run.data, split), split
    held_out, train = _load(run, split), _load_train(run)
    rows = spread_rows(len(held_out), pictures or len(held_out))
    conditions, targets = _sides(run, held_out)
    compared = _draw(run, conditions, targets, rows, seeds)
    labels, label_note = find_labels(
        read_palettes(run.data),
        source="A" if run.direction == "AtoB" else "B",
        target="B" if run.direction == "AtoB" else "A",
        conditions=conditions[rows],
        targets=targets[rows],
        train=train,
        cache=cache or platformdirs.user_cache_path("cgan-deploy") / "segmenters",
    )
    installed = weights_file() is not None
    compared = replace(compared, labels=labels, embed=embed if installed else None)
    baseline = _baseline(run, conditions[rows], train)
    judged = _rows(compared, baseline)
    dataset = read_domains(run.data).name
    evaluation = Evaluation(
        run=path.resolve().name,
        weights=run.checkpoint.path.name,
        weights_sha256=run.checkpoint.file_sha256,
        images=run.checkpoint.provenance.get("images"),
        dataset=dataset,
        data=str(run.data),
        split=split,
        files=tuple(held_out.files[row] for row in rows),
        available=len(held_out),
        pictures_sha256=held_out.sha256,
        direction=run.direction,
        size=run.size,
        seed=run.seed,
        seeds=seeds,
        rows=judged,
        notes=(
            _split_note(split, chosen, len(rows), len(held_out)),
            _baseline_note(train),
            label_note,
            _kid_note(installed, len(rows)),
            _diversity_note(run, seeds, len(rows)),
        ),
    )
    gallery = make_gallery(
        run.generator, conditions, rows, compared, baseline, files=held_out.files, seed=run.seed, seeds=seeds
    )
    return evaluation, gallery


def _check(*, pictures: int | None, seeds: int) -> None:
    if pictures is not None and pictures < 1:
        raise UsageError(f"--pictures {pictures} cannot be used: give 1 or more.")
    if not 1 <= seeds <= 1000:
        raise UsageError(f"--seeds {seeds} cannot be used: give a number from 1 to 1000.")


def _load(run: EvaluatedRun, split: str) -> Pairs:
    with progress(f"reading {split}", unit="pairs") as report:
        return load_pairs(run.data, split, run.size, on_file=report, modes=run.modes)


def _load_train(run: EvaluatedRun) -> Pairs | None:
    return _load(run, "train") if find_layout(run.data).has("train") else None


def _sides(run: EvaluatedRun, pairs: Pairs) -> tuple[UInt8[Tensor, "n 3 h w"], UInt8[Tensor, "n 3 h w"]]:
    return (pairs.a, pairs.b) if run.direction == "AtoB" else (pairs.b, pairs.a)


def _draw(run: EvaluatedRun, conditions: Tensor, targets: Tensor, rows: list[int], seeds: int) -> Compared:
    pictures = generate_images(run.generator, conditions, rows, seed=run.seed, seeds=1)[:, 0]
    several = [rows[index] for index in spread_rows(len(rows), MAX_DIVERSITY)]
    return Compared(
        pictures=pictures,
        targets=with_channels(targets[rows], run.channels),
        samples=generate_images(run.generator, conditions, several, seed=run.seed, seeds=seeds),
    )


def _baseline(run: EvaluatedRun, conditions: Tensor, train: Pairs | None) -> Tensor | None:
    if train is None:
        return None
    train_conditions, train_targets = _sides(run, train)
    note("learning the lookup table")
    paint = lookup_table_baseline(train_conditions, with_channels(train_targets, run.channels))
    return paint(conditions)


def _rows(compared: Compared, baseline: Tensor | None) -> tuple[Row, ...]:
    note("measuring")
    judged = [Row(name="generator", figures=measure_pictures(compared))]
    if baseline is not None:
        judged.append(
            Row(name="lookup table", figures=measure_pictures(replace(compared, pictures=baseline, samples=None)))
        )
    truth = replace(compared, pictures=compared.targets, samples=None)
    return (*judged, Row(name="truth", figures=measure_pictures(truth)))


def _split_note(split: str, chosen: str | None, count: int, available: int) -> str:
    many = f"all {available}" if count == available else f"{count} of the {available}, evenly spread,"
    why = "" if chosen is not None or split == "test" else " (there is no test/)"
    return f"Judged on {many} pictures of {split}/{why}, one seed each, rounded to 8 bits."


def _baseline_note(train: Pairs | None) -> str:
    if train is None:
        return "Lookup table: absent, for there are no training pictures."
    return (
        f"Lookup table: the mean target colour of each condition colour ({LEVELS} levels per channel), learned on "
        f"{len(train)} training pairs; what a generator must beat."
    )


def _kid_note(installed: bool, count: int) -> str:
    if not installed:
        return f"KID-EffLite0: not measured, for its weights are not installed: {INSTALL}."
    if count < MIN_PICTURES:
        return f"KID-EffLite0: not measured, for it needs {MIN_PICTURES} pictures or more."
    return (
        "KID-EffLite0: not comparable with a published KID; the row `truth` is the distance between two halves of "
        "the real pictures, the floor."
    )


def _diversity_note(run: EvaluatedRun, seeds: int, count: int) -> str:
    if seeds < 2:
        return "Diversity: not measured, for it needs --seeds 2 or more."
    silent = "" if run.generator.contract.noise else " This generator takes no noise: 0 is what it must be."
    return f"Diversity: {seeds} seeds for each of {min(count, MAX_DIVERSITY)} conditions.{silent}"
