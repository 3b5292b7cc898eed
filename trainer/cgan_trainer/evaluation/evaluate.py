"""From a run of pairs to its evaluation: read, judge, write down."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import platformdirs
from cgan_runtime.atomic import write_atomic
from cgan_runtime.errors import UsageError
from cgan_runtime.progress import progress

from cgan_trainer.data.kinds.base import Facts, Split
from cgan_trainer.data.layouts import find_layout
from cgan_trainer.data.pairs import load_pairs, read_domains
from cgan_trainer.evaluation.judge import Gallery, Subject
from cgan_trainer.evaluation.page import write_page
from cgan_trainer.evaluation.paired import judge_paired
from cgan_trainer.evaluation.result import Evaluation
from cgan_trainer.evaluation.run_reader import EvaluatedRun, find_split, read_run
from cgan_trainer.palette import Palette

__all__ = ["evaluate_run", "judge_run", "write_evaluation"]


@dataclass(frozen=True, kw_only=True)
class _PairFacts(Facts):
    source_palette: Palette | None
    target_palette: Palette | None


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
    """`evaluate_run` without writing: the figures, and the images that show them."""
    _check(pictures=pictures, seeds=seeds)
    run = read_run(path, checkpoint=checkpoint, data=data)
    found = find_split(run.data, split)
    subject = Subject(
        graphs={"main": run.generator},
        facts=_facts(run),
        held_out=_load(run, found),
        train=_load(run, "train") if find_layout(run.data).has("train") else None,
        most=pictures,
        seed=run.seed,
        seeds=seeds,
        cache=cache if cache is not None else platformdirs.user_cache_path("cgan-deploy") / "segmenters",
    )
    judged = judge_paired(subject)
    missing = () if split is not None or found == "test" else ("Judged on val/, for there is no test/.",)
    evaluation = Evaluation(
        run=path.resolve().name,
        weights=run.checkpoint.path.name,
        weights_sha256=run.checkpoint.file_sha256,
        images=run.checkpoint.provenance.get("images"),
        dataset=subject.facts.name,
        data=str(run.data),
        split=found,
        files=judged.files,
        available=len(subject.held_out),
        pictures_sha256=subject.held_out.sha256,
        direction=run.direction,
        size=run.size,
        seed=run.seed,
        seeds=seeds,
        rows=judged.rows,
        columns=judged.columns,
        notes=(*judged.notes, *missing),
        each=judged.each,
    )
    return evaluation, judged.gallery


def _check(*, pictures: int | None, seeds: int) -> None:
    if pictures is not None and pictures < 1:
        raise UsageError(f"--pictures {pictures} cannot be used: give 1 or more.")
    if not 1 <= seeds <= 1000:
        raise UsageError(f"--seeds {seeds} cannot be used: give a number from 1 to 1000.")


def _load(run: EvaluatedRun, split: str) -> Split:
    with progress(f"reading {split}", unit="pairs") as report:
        pairs = load_pairs(run.data, split, run.size, on_file=report, modes=run.modes)
    sides = (pairs.a, pairs.b) if run.direction == "AtoB" else (pairs.b, pairs.a)
    return Split(
        name=split,
        arrays=dict(zip(("condition", "target"), sides, strict=True)),
        files={"condition": pairs.files, "target": pairs.files},
        count=len(pairs),
        sha256=pairs.sha256,
        skipped=pairs.skipped,
    )


def _facts(run: EvaluatedRun) -> Facts:
    domains = read_domains(run.data)
    palettes = (domains.palette_a, domains.palette_b)
    source, target = palettes if run.direction == "AtoB" else palettes[::-1]
    return _PairFacts(name=domains.name, source_palette=source, target_palette=target)
