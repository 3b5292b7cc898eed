"""From the options of a command to a finished run: the checks, the words, the exit code. It names no family."""

from __future__ import annotations

import contextlib
import os
from dataclasses import asdict
from typing import Any

import torch
from cgan_runtime.claims import claim
from cgan_runtime.errors import CganError, UsageError
from cgan_runtime.progress import note, progress

from cgan_trainer.configs.base import RunOptions, TrainConfig, check_config, command_line
from cgan_trainer.data.kinds import DataKind, Facts, Split
from cgan_trainer.families import FAMILIES
from cgan_trainer.families.base import Family, Recipe
from cgan_trainer.seeding import derive_seed
from cgan_trainer.training.busy_machine import busy_sentence, cores_of_others, moment, moment_after
from cgan_trainer.training.device import choose_device, keep_freed_memory, set_threads
from cgan_trainer.training.expected_time import measure_pace
from cgan_trainer.training.finetune import load_initial_weights
from cgan_trainer.training.loop import Data, TrainingRun
from cgan_trainer.training.ranks import Ranks, joined
from cgan_trainer.training.resume import (
    check_length,
    check_same_images,
    check_same_run,
    has_other_length,
    is_complete,
)
from cgan_trainer.training.run_folder import RunFolder, metric_columns

__all__ = ["describe", "make_recipe", "train"]

LOOKED_AT = 64  # images, of whose values one in a thousand is to be above DARK of 255
DARK = 31


def train(config: TrainConfig, run: RunOptions) -> int:
    """Train, and return the exit code: 0 done or out of time, 130 interrupted."""
    check_config(config, run)
    device = choose_device(run)
    keep_freed_memory()
    with joined(device) as ranks, claim(run.out / "last.pt") if ranks.leads else contextlib.nullcontext():
        return _train(FAMILIES[config.family], config, run, device, ranks)


def make_recipe(family: Family[Any, Any], config: TrainConfig, facts: Facts) -> Recipe[Any, Any]:
    """The recipe of a run, its first weights drawn from the seed."""
    torch.manual_seed(derive_seed(config.seed, "weights"))
    return family.recipe(config, facts)


def _train(family: Family[Any, Any], config: TrainConfig, run: RunOptions, device: str, ranks: Ranks) -> int:
    folder = RunFolder(path=run.out)
    last = folder.find_last(resume=run.resume)
    threads = set_threads(run, last)
    if last is not None:
        check_same_run(config, last, run, ranks)
        if is_complete(last) and not has_other_length(config, last):
            note(f"{run.out} is complete ({last.provenance['images']} images): nothing is left to do.")
            return 0
    # Of several processes each would take the others for strangers.
    began = moment() if device == "cpu" and ranks.count == 1 else None
    kind = family.data(config, config.size)
    data = _load(kind, run, ranks)
    if last is not None:
        check_same_images(data, last, run)
    recipe = make_recipe(family, config, kind.facts(run.data, data.train))
    _check_rows(recipe, ranks)
    state = None if last is None else last.training
    origin = None if last is None else last.provenance.get("origin")
    training = TrainingRun(
        family, recipe, data, folder=folder, device=device, ranks=ranks, state=state, origin=origin
    )
    if last is not None:
        training.extended_at = tuple(last.provenance.get("extended_at", ()))
    if last is None and run.init_from is not None:
        training.origin = load_initial_weights(run.init_from, training.trainer, run.init_graphs)
    if last is not None and has_other_length(config, last):
        check_length(last, training)
        training.extended_at = (*training.extended_at, training.images)
    others = cores_of_others(began, moment_after(began))
    if said := busy_sentence(others, os.cpu_count() or 1, threads):
        note(said)
    if ranks.leads:
        folder.begin(config, run, _facts_of(training, threads), metric_columns(recipe))
    ended = training.run(max_minutes=run.max_minutes)
    return _end(ended, training, config, run)


def _end(ended: str, training: TrainingRun, config: TrainConfig, run: RunOptions) -> int:
    images, total = training.images, training.total
    again = f"to go on:\n  {command_line(config, run, resume=True)}"
    if ended == "interrupted":
        note(f"Stopped at {images} of {total} images; {again}")
        return 130
    if ended == "out of time":
        note(f"Time is up at {images} of {total} images; {again}")
    elif run.evaluate and training.ranks.leads:
        _judge(run)
    return 0


def _facts_of(training: TrainingRun, threads: int) -> dict[str, Any]:
    grid = training.recipe.grid(training.recipe.graphs(training.trainer.saved_networks), training.data.held_out)
    best = training.stages[-1].best
    return {
        "images": training.images,
        "threads": threads,
        "total_images": training.total,
        "grid": {"columns": grid.columns, "rows": grid.rows},
        **({} if best is None else {"best": asdict(best)}),
    }


def _judge(run: RunOptions) -> None:
    """Evaluate the finished run; that this cannot be done takes nothing from the run."""
    from cgan_trainer.training.judge_run import evaluate_run

    try:
        evaluate_run(run.out, data=run.data)
    except (CganError, OSError) as error:
        note(f"The run is complete, but was not evaluated: {error}")


def describe(config: TrainConfig, run: RunOptions) -> dict[str, Any]:
    """What a run would do and how long it would take, as plain values; writes nothing into its folder.

    Images and weights are read and a few steps are taken, by all processes that torchrun started, as the run itself
    would do it: what it refuses is refused here. Only a run that is already in the folder is no error: "would" says
    what becomes of it. "expected_minutes" is of what is still to do, validations included; reading and judging are
    not.
    """
    check_config(config, run)
    device = choose_device(run)
    keep_freed_memory()
    with joined(device) as ranks:
        return _describe(FAMILIES[config.family], config, run, device, ranks)


def _describe(
    family: Family[Any, Any], config: TrainConfig, run: RunOptions, device: str, ranks: Ranks
) -> dict[str, Any]:
    folder = RunFolder(path=run.out)
    last = None if folder.last.exists() and not run.resume else folder.find_last(resume=run.resume)
    set_threads(run, last)
    if last is not None:
        check_same_run(config, last, run, ranks)
    kind = family.data(config, config.size)
    data = _load(kind, run, ranks)
    goes_on = last is not None and (has_other_length(config, last) or not is_complete(last))
    if last is not None and goes_on:
        check_same_images(data, last, run)
    recipe = make_recipe(family, config, kind.facts(run.data, data.train))
    _check_rows(recipe, ranks)
    training = TrainingRun(family, recipe, data, folder=folder, device=device, ranks=ranks)
    if last is not None and has_other_length(config, last):
        check_length(last, training)
    if last is None and run.init_from is not None:
        load_initial_weights(run.init_from, training.trainer, run.init_graphs)
    parameters = {name: sum(p.numel() for p in net.parameters()) for name, net in recipe.networks.items()}
    return {
        "family": family.name,
        "config": asdict(config),
        "data": str(run.data),
        "out": str(run.out),
        "device": device,
        "parameters": parameters,
        kind.unit: {split.name: len(split) for split in (data.train, data.held_out)},
        "images": training.total,
        **_time_of(training, 0 if last is None else int(last.provenance["images"])),
        "would": _would(run),
    }


def _time_of(training: TrainingRun, seen: int) -> dict[str, float | None]:
    """What is still to do, and how fast: a run that is complete takes no time, and has no pace."""
    total, every = training.total, training.config.save_images
    if seen >= total:
        return {"images_per_s": None, "expected_minutes": 0.0}
    pace = measure_pace(training)
    minutes = pace.minutes(total - seen, -(-total // every) - seen // every)
    return {"images_per_s": round(pace.images_per_s, 2), "expected_minutes": round(minutes, 1)}


def _would(run: RunOptions) -> str:
    last = run.out / "last.pt"
    if not last.exists():
        return f"write a new run to {run.out}"
    return f"go on from {last}" if run.resume else f"refuse, for {run.out} already holds a run: --resume goes on"


def _load(kind: DataKind[Any], run: RunOptions, ranks: Ranks) -> Data:
    held_out = kind.held_out(run.data)
    if held_out != "val":
        note(f"{run.data} has no val/ images: validating with {held_out}/.")
    with ranks.leader_first():  # the others find what it decoded in the cache
        train, other = (_load_split(kind, run, name) for name in ("train", held_out))
    for name, values in train.arrays.items():
        bright = values.dtype != torch.uint8 or float((values[:LOOKED_AT] > DARK).float().mean()) >= 1e-3
        if ranks.leads and not bright:
            note(f"The {name} images are nearly black: cgan-data verify {run.data} says more.")
    return Data(train=train, held_out=other)


def _load_split(kind: DataKind[Any], run: RunOptions, split: str) -> Split:
    with progress(f"reading {split}", unit=kind.unit) as report:
        return kind.load(run.data, split, strict=run.strict, on_file=report)


def _check_rows(recipe: Recipe[Any, Any], ranks: Ranks) -> None:
    accumulate = recipe.config.accumulate
    if recipe.rows_interact and (ranks.count > 1 or accumulate > 1):
        raise UsageError(
            f"{recipe.config.family} looks at its whole batch at once, so it cannot be trained in parts: give one "
            f"process and no --accumulate (here {ranks.count} and {accumulate})."
        )
