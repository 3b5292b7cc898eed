"""How long a run will take on this machine, from a few of its own steps. Nothing is written."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

from cgan_runtime.progress import note

from cgan_trainer.training.loop import TrainingRun

__all__ = ["Pace", "measure_pace"]

_LEAST_STEPS, _MOST_STEPS, _ENOUGH_S = 3, 30, 3.0


@dataclass(frozen=True, kw_only=True)
class Pace:
    """What was measured: training images per second, and seconds of one validation."""

    images_per_s: float
    validation_s: float

    def minutes(self, images: int, validations: int) -> float:
        """For so many images and validations; reading the data and judging the finished run are not included."""
        return (images / self.images_per_s + validations * self.validation_s) / 60


def measure_pace(training: TrainingRun) -> Pace:
    """Take the first steps of a run that is then thrown away: its weights have moved.

    The first step, which prepares much, is left out where there is a second. All ranks take the same steps; the
    first one alone validates, as in the run, and its pace is the one to be told.
    """
    note("timing a few steps")
    per_image_s: list[float] = []
    measured_s = 0.0
    while training.images < training.total and len(per_image_s) <= _MOST_STEPS:
        images, began_s = training.images, time.perf_counter()
        training.step()
        took_s = time.perf_counter() - began_s
        measured_s += took_s if per_image_s else 0.0
        per_image_s.append(took_s / (training.images - images))
        (enough,) = training.ranks.any_of(measured_s >= _ENOUGH_S)
        if len(per_image_s) > _LEAST_STEPS and enough:
            break
    recipe, held_out = training.recipe, training.data.held_out
    note("timing a validation")
    began_s = time.perf_counter()
    if training.ranks.leads:
        recipe.validate(recipe.graphs(training.trainer.saved_networks), held_out)
    validation_s = time.perf_counter() - began_s
    return Pace(images_per_s=1 / statistics.median(per_image_s[1:] or per_image_s), validation_s=validation_s)
