"""Judging a generator on pairs: each image beside the one it should be, a lookup table as baseline, the truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from cgan_runtime.progress import note
from jaxtyping import UInt8
from torch import Tensor

from cgan_trainer.data.kinds.base import Split
from cgan_trainer.evaluation.base import Compared, Labels, Measure, columns, measure
from cgan_trainer.evaluation.diversity import DIVERSITY
from cgan_trainer.evaluation.fcn_score import FCN_SCORE
from cgan_trainer.evaluation.gallery import paired_gallery
from cgan_trainer.evaluation.judge import Judged, Row, Subject
from cgan_trainer.evaluation.kid import KID, kid_note
from cgan_trainer.evaluation.lab import LAB_INTERSECTION
from cgan_trainer.evaluation.labels import Palettes, TrainingPairs, find_labels
from cgan_trainer.evaluation.lookup_table import LEVELS, lookup_table_baseline
from cgan_trainer.evaluation.pixel_error import PIXEL_ERROR
from cgan_trainer.evaluation.sampling import (
    generate_images,
    image_condition,
    image_output,
    with_channels,
)
from cgan_trainer.evaluation.ssim import SSIM
from cgan_trainer.generator import Generator
from cgan_trainer.nets.efficientnet_lite import embed, weights_file
from cgan_trainer.seeding import spread_rows

__all__ = ["MAX_DIVERSITY", "PAIRED_MEASURES", "diversity_note", "judge_paired"]

MAX_DIVERSITY = 16  # conditions drawn with several seeds
PAIRED_MEASURES: tuple[Measure[Compared], ...] = (PIXEL_ERROR, SSIM, LAB_INTERSECTION, FCN_SCORE, KID, DIVERSITY)
_PER_IMAGE = ("l1", "psnr", "ssim")


def judge_paired(subject: Subject) -> Judged:
    """Rows: generator, lookup table (where there is a training split), truth.

    The splits hold the arrays "condition" and "target", uint8 [n, c, h, w] of one size; the first graph is judged.
    FCN-scores are measured where the facts have palettes (`Palettes`).

    Raises:
        BadInputError: the generator does not turn one image into another.
        CganError: it makes values that are not finite.
    """
    generator = next(iter(subject.graphs.values()))
    conditions, targets = subject.held_out.arrays["condition"], subject.held_out.arrays["target"]
    files = subject.held_out.files["condition"]
    rows = spread_rows(len(conditions), subject.most or len(conditions))
    given = {image_condition(generator).name: conditions}
    labels, label_note = _labels(subject, rows)
    compared = replace(
        _draw(generator, given, targets, rows, subject),
        labels=labels,
        embed=embed if weights_file() is not None else None,
    )
    baseline = _baseline(conditions[rows], subject.train, compared.targets.shape[1])
    judged = _rows(compared, baseline)
    each = {key: judged[0].figures[key].each for key in _PER_IMAGE}
    return Judged(
        rows=judged,
        columns=columns(PAIRED_MEASURES),
        files=tuple(files[row] for row in rows),
        available=len(files),
        seeds=subject.draws,
        each=each,
        notes=(
            _split_note(subject.held_out, len(rows)),
            _baseline_note(subject.train),
            label_note,
            kid_note(len(rows), installed=compared.embed is not None),
            diversity_note(generator, subject.draws, len(rows)),
        ),
        gallery=paired_gallery(
            generator,
            given,
            rows,
            compared,
            each["l1"],
            baseline,
            shown=conditions,
            files=files,
            seed=subject.seed,
            seeds=subject.draws,
        ),
    )


def diversity_note(generator: Generator, seeds: int, count: int) -> str:
    """How diversity over seeds was measured."""
    if seeds < 2:
        return "Diversity: not measured, for it needs --seeds 2 or more."
    silent = "" if generator.contract.noise else " This generator takes no noise: 0 is what it must be."
    return f"Diversity: {seeds} seeds for each of {min(count, MAX_DIVERSITY)} conditions.{silent}"


def _draw(
    generator: Generator, given: Mapping[str, Tensor], targets: Tensor, rows: list[int], subject: Subject
) -> Compared:
    several = [rows[index] for index in spread_rows(len(rows), MAX_DIVERSITY)]
    channels = int(image_output(generator)[0].shape[0])
    return Compared(
        images=generate_images(generator, given, rows, seed=subject.seed, seeds=1)[:, 0],
        targets=with_channels(targets[rows], channels),
        samples=generate_images(generator, given, several, seed=subject.seed, seeds=subject.draws),
    )


def _labels(subject: Subject, rows: list[int]) -> tuple[Labels | None, str]:
    facts, train = subject.facts, subject.train
    source, target = (facts.source_palette, facts.target_palette) if isinstance(facts, Palettes) else (None, None)
    return find_labels(
        source=source,
        target=target,
        conditions=subject.held_out.arrays["condition"][rows],
        targets=subject.held_out.arrays["target"][rows],
        train=None if train is None else _training_pairs(train),
        cache=subject.cache,
    )


def _training_pairs(train: Split) -> TrainingPairs:
    return TrainingPairs(
        conditions=train.arrays["condition"], targets=train.arrays["target"], digest=f"{train.sha256}/condition"
    )


def _baseline(
    conditions: UInt8[Tensor, "n c h w"], train: Split | None, channels: int
) -> UInt8[Tensor, "n c2 h w"] | None:
    if train is None:
        return None
    note("learning the lookup table")
    paint = lookup_table_baseline(train.arrays["condition"], with_channels(train.arrays["target"], channels))
    return paint(conditions)


def _rows(compared: Compared, baseline: UInt8[Tensor, "n c h w"] | None) -> tuple[Row, ...]:
    note("measuring")
    judged = [Row(name="generator", figures=measure(PAIRED_MEASURES, compared), role="generator")]
    if baseline is not None:
        figures = measure(PAIRED_MEASURES, replace(compared, images=baseline, samples=None))
        judged.append(Row(name="lookup table", figures=figures, role="baseline"))
    figures = measure(PAIRED_MEASURES, replace(compared, images=compared.targets, samples=None))
    return (*judged, Row(name="truth", figures=figures, role="truth"))


def _split_note(split: Split, count: int) -> str:
    many = f"all {len(split)}" if count == len(split) else f"{count} of the {len(split)}, evenly spread,"
    return f"Judged on {many} images of {split.name}/, one seed each, rounded to 8 bits."


def _baseline_note(train: Split | None) -> str:
    if train is None:
        return "Lookup table: absent, for there are no training images."
    return (
        f"Lookup table: the mean target colour of each condition colour ({LEVELS} levels per channel), learned on "
        f"{len(train)} training pairs; what a generator must beat."
    )
