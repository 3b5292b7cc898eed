"""Whether a run may go on: with the options and images it was begun with, to the end it had or a later one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from cgan_runtime.errors import BadInputError, UsageError
from cgan_runtime.progress import note

from cgan_trainer.checkpoint import Checkpoint
from cgan_trainer.configs.base import RunOptions, TrainConfig
from cgan_trainer.training.loop import Data, TrainingRun
from cgan_trainer.training.ranks import Ranks

__all__ = ["check_length", "check_same_images", "check_same_run", "has_other_length", "is_complete"]

LENGTH = ("epochs", "epochs_decay", "images")  # the options that may be others when a run is resumed


def is_complete(last: Checkpoint) -> bool:
    """Whether the run has seen all images that it was to see."""
    return last.training is not None and last.training["counters"]["images"] >= last.training["total"]


def check_same_run(config: TrainConfig, last: Checkpoint, run: RunOptions, ranks: Ranks) -> None:
    """Hold the options to those of the run; only its length may be another.

    Raises:
        UsageError: names the first that differs, and the way out.
    """
    training: Mapping[str, Any] = last.training or {}
    if last.family != config.family:
        raise UsageError(f"{run.out} holds a {last.family} run: go on with it by cgan-train {last.family}.")
    if "networks" not in training:
        raise UsageError(
            f"{run.out} was begun by an older version, which drew its noise otherwise: start another run, for "
            f"example from its weights with --init-from {run.out / 'last.pt'}."
        )
    before = _config_of(last, config)
    for name, value in asdict(config).items():
        if before[name] != value and name not in LENGTH:
            flag = name.replace("_", "-")
            raise UsageError(
                f"--{flag} is {value}, but {run.out} was begun with {before[name]}: only the length of a run may "
                "be another when it is resumed. Give the option as it was, or train on from these weights in "
                f"another folder, by --init-from {run.out / 'last.pt'}."
            )
    if training["ranks"] != ranks.count:
        raise UsageError(
            f"{run.out} was begun by {training['ranks']} processes, and these are {ranks.count}: give torchrun the "
            "same number, or choose another --out."
        )


def check_same_images(data: Data, last: Checkpoint, run: RunOptions) -> None:
    """Hold the images to those of the run.

    Raises:
        BadInputError: they are others.
    """
    before = last.provenance["dataset"]
    if (before["train_sha256"], before["held_out_sha256"]) != (data.train.sha256, data.held_out.sha256):
        raise BadInputError(
            f"the images in {run.data} are not those {run.out} was begun with: give the same --data, or choose "
            "another --out."
        )


def has_other_length(config: TrainConfig, last: Checkpoint) -> bool:
    """Whether this asks for another length than the run had."""
    before = _config_of(last, config)
    return any(getattr(config, name) != before[name] for name in LENGTH)


def check_length(last: Checkpoint, training: TrainingRun) -> None:
    """Say how a run goes on that is to end elsewhere now, and what becomes of its learning rate.

    Raises:
        UsageError: it has seen as many images as it is to see, its end is the same, or the images it has seen
            belong to another stage now.
    """
    state: Mapping[str, Any] = last.training or {}
    seen, total, before, folder = state["counters"]["images"], training.total, state["total"], training.folder
    anew = f"train on from its weights in another folder, by --init-from {folder.last}"
    if total <= seen:
        raise UsageError(f"{folder.path} has seen {seen} images and would end at {total}: ask for more, or {anew}.")
    if total == before:
        raise UsageError(
            f"{folder.path} would end at {total} images as before, but with another learning rate: give --epochs, "
            f"--epochs-decay and --images as they were, or {anew}."
        )
    names = [stage.name for stage in training.stages]
    at = names.index(state["stage"])
    begin = sum(stage.images for stage in training.stages[:at])
    if not begin <= seen <= begin + training.stages[at].images:
        raise UsageError(
            f"{folder.path} is in its stage {names[at]}, which lies elsewhere in a run of {total} images: keep its "
            f"length of {before}, or {anew}."
        )
    now, end = training.rate_at(seen), training.rate_at(total - 1)
    note(
        f"The run ends at {total} images now, not at {before}; {seen} are done. From here the learning rate "
        f"follows the new schedule: {now:.3g} now, {end:.3g} at the end. The weights are not those of one run of "
        f"{total}."
    )


def _config_of(last: Checkpoint, config: TrainConfig) -> dict[str, Any]:
    """The options of the run; what an older version had no option for, it did as the default does."""
    return {**{field.name: field.default for field in fields(config)}, **(last.training or {})["config"]}
