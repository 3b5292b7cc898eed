"""The loop: take the next images, step, and now and then validate and save. It names no family.

Progress is the number of images seen. A run is decided by its config and images alone: where it was interrupted,
and how often, leaves no trace in the weights.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import torch
from cgan_runtime.progress import Report, note, progress

from cgan_trainer.data.kinds import Split
from cgan_trainer.families.base import Best, Family, Phase, Progress, Recipe, Stage
from cgan_trainer.training.batches import Batches
from cgan_trainer.training.plateau import Plateau
from cgan_trainer.training.ranks import ALONE, Ranks
from cgan_trainer.training.run_folder import RunFolder
from cgan_trainer.training.run_state import RunState, write_state
from cgan_trainer.training.signals import stop_requested
from cgan_trainer.training.slow_steps import StepWatch, sentence
from cgan_trainer.training.trainer import Trainer, Turn
from cgan_trainer.unfinished import StoppedBy, mark
from cgan_trainer.watching.tensorboard import Board

__all__ = ["Data", "Ended", "TrainingRun"]

Ended = Literal["complete", "out of time", "interrupted"]
_STOPPED_BY: dict[str, StoppedBy] = {"out of time": "time limit", "interrupted": "interruption"}
_PLACES = ("images", "epoch", "seconds")  # of a row: where it stands, not what was measured


@dataclass(frozen=True, kw_only=True)
class Data:
    """What a run learns from and is validated on."""

    train: Split
    held_out: Split


@dataclass(kw_only=True)
class _Sums:
    """What was measured since the last row of metrics.csv."""

    images: int = 0
    steps: int = 0
    losses: dict[str, list[float]] = field(default_factory=dict)  # by name: sum over images, and their number
    data_seconds: float = 0.0
    step_seconds: float = 0.0


class TrainingRun:
    """One run, fresh or taken up again.

    Args:
        family: what is trained.
        recipe: its rules, fresh.
        data: the images.
        folder: where everything goes; of rank 0.
        device: where to train.
        ranks: the processes that train together.
        state: what to go on from.
        origin: where the first weights come from, if not from the seed: provenance.
    """

    def __init__(
        self,
        family: Family[Any, Any],
        recipe: Recipe[Any, Any],
        data: Data,
        *,
        folder: RunFolder,
        device: str = "cpu",
        ranks: Ranks = ALONE,
        state: Mapping[str, Any] | None = None,
        origin: Mapping[str, str] | None = None,
    ) -> None:
        self.family, self.recipe, self.data, self.folder, self.ranks = family, recipe, data, folder, ranks
        self.config = recipe.config
        self.origin = origin
        self.extended_at: tuple[int, ...] = ()  # images seen when the run was given another length: provenance
        self.total = self.config.total_images(len(data.train))
        self.total -= self.total % ranks.count  # every rank has as many images in every step
        self.stages = recipe.plan(self.total)
        self.state = RunState.of(state) if state is not None else RunState(stage=self.stages[0].name)
        self.plateau: Plateau = self.state.plateau
        self.sums = _Sums(**self.state.sums)
        self.trainer = Trainer(recipe, self.stages, device=device, ranks=ranks)
        reached = [stage.name for stage in self.stages].index(self.state.stage)
        for stage in self.stages[:reached]:  # their optimisers go on, unless a later stage begins with fresh ones
            self.trainer.begin(stage)
        self.stage = self._enter(self.stages[reached])
        if state is not None:
            self.trainer.load_state_dict(state)

    @property
    def images(self) -> int:
        """Images seen so far."""
        return self.state.images

    def run(self, *, max_minutes: float | None = None) -> Ended:
        """Train until the end, the time limit or a signal; whichever it is, last.pt is complete afterwards."""
        state = self.state
        began_s, seconds_before = time.monotonic(), state.seconds
        limit_s = float("inf") if max_minutes is None else max_minutes * 60
        self._show()  # a page to open from the beginning, and no longer the one of a run that was stopped
        with (
            progress("training", unit="images", start=state.images) as report,
            self._board() as board,
            stop_requested() as stopped,
        ):
            while state.images < self.total:
                saves = state.images // self.config.save_images
                losses = self._watched_step()
                passed_s = time.monotonic() - began_s
                state.seconds = seconds_before + passed_s
                if self.ranks.leads:
                    self._report(report, losses)
                stop, out_of_time = self.ranks.any_of(stopped(), passed_s >= limit_s)
                due = state.images // self.config.save_images > saves or state.images == self.total
                if due:  # only then: a figure between two of these would be one that an unbroken run does not have
                    self._validate(board)
                ended = self._ended(stop, out_of_time)
                if due or ended is not None:
                    self._save(ended)
                    self._show()
                if ended is not None:
                    return ended
        return "complete"

    def _ended(self, stop: bool, out_of_time: bool) -> Ended | None:
        """How the run ends after this step; None: it goes on, or has seen everything."""
        if stop:
            return "interrupted"
        return "out of time" if out_of_time and self.images < self.total else None

    def _watched_step(self) -> dict[str, float]:
        """A step; that steps have become much slower, or no longer are, is said once."""
        images, began_s, cpu_s = self.images, time.perf_counter(), time.process_time()
        losses = self.step()
        change = self.watch.see(
            images=self.images - images,
            seconds=time.perf_counter() - began_s,
            cpu_seconds=time.process_time() - cpu_s if self.trainer.device.type == "cpu" else 0.0,
        )
        if change is not None:
            left, now = self.total - self.images, datetime.now().astimezone()
            note(sentence(change, left=left, now=now, threads=torch.get_num_threads()))
        return losses

    def step(self) -> dict[str, float]:
        """The next images, all ranks together; returns the losses."""
        state = self.state
        began_s = time.perf_counter()
        if state.images >= self._stage_end() and state.images < self.total:
            self.stage = self._enter(self.stages[self.stages.index(self.stage) + 1])
        turns, end = self._turns(state.images)
        fed_s = time.perf_counter()
        losses = self.trainer.step(turns, self._progress(state.images))
        for name, value in losses.items():
            total, images = self.sums.losses.get(name, (0.0, 0))
            self.sums.losses[name] = [total + value * (end - state.images), images + end - state.images]
        self.sums.images += end - state.images
        self.sums.steps += 1
        self.sums.data_seconds += fed_s - began_s
        self.sums.step_seconds += time.perf_counter() - fed_s
        state.images = end
        return losses

    def _turns(self, begin: int) -> tuple[list[Turn], int]:
        """Batches for every phase of one step, from image `begin` on; and the number of the image after them."""
        turns: list[Turn] = []
        for phase in self.stage.phases:
            taken = [turns[-1].batches] if phase.batches == 0 and turns else []
            for _ in range(phase.batches):
                if (end := min(begin + self._step_images, self._stage_end())) == begin:
                    break  # the stage ends within the step: the phases that follow use what there was
                taken.append(self._batches(begin, end))
                begin = end
            turns += [Turn(phase=phase, batches=batches) for batches in taken]
        return turns, begin

    def _batches(self, begin: int, end: int) -> Any:
        """This rank's part of every batch, so that batches are those of one process with larger ones."""
        every = (self.stage.batch or self.config.batch) * self.ranks.count
        return tuple(
            self.feed.batch(*self.ranks.share(at, min(at + every, end))) for at in range(begin, end, every)
        )

    @property
    def _step_images(self) -> int:
        batch = self.stage.batch or self.config.batch
        images: int = batch * self.config.accumulate * self.ranks.count
        return images

    def _stage_end(self) -> int:
        """The number of the image after the current stage."""
        last: int = self.stages.index(self.stage)
        end: int = sum(stage.images for stage in self.stages[: last + 1])
        return end

    def _enter(self, stage: Stage) -> Stage:
        """Begin a stage: its optimisers and its images."""
        self.state.stage = stage.name
        self.watch = StepWatch()  # the steps of another stage take another time
        self.trainer.begin(stage)
        kind = self.family.data(self.config, self.config.size)
        source = kind.source(self.data.train, seed=self.config.seed, device=self.trainer.device)
        self.feed = Batches(source, self.recipe)
        return stage

    def _progress(self, images: int) -> Progress:
        return Progress(
            images=images,
            total=self.total,
            epochs=self.config.epochs + self.config.epochs_decay,
            steps=self.trainer.steps,
            reductions=self.plateau.reductions,
        )

    def _board(self) -> contextlib.AbstractContextManager[Board | None]:
        leads = self.ranks.leads
        return Board(self.folder.path, images=self.images) if leads else contextlib.nullcontext()

    def _report(self, report: Report, losses: dict[str, float]) -> None:
        sums = self.sums
        timings = f"data {sums.data_seconds / sums.steps * 1000:.0f} ms"
        timings += f", step {sums.step_seconds / sums.steps * 1000:.0f} ms"
        report(self.images, self.total, {**losses, "": timings})

    def _validate(self, board: Board | None) -> None:
        """Judge, log and draw; graphs better than ever become best.pt."""
        graphs = self.recipe.graphs(self.trainer.saved_networks)
        names = self.recipe.validation
        found = self.recipe.validate(graphs, self.data.held_out) if self.ranks.leads else dict.fromkeys(names, 0.0)
        found = {name: self.ranks.from_leader(found[name]) for name in names}
        rate = self._shown_rate()
        self.state.validation = found
        best = self.stage.best
        if best is not None:
            self.plateau.see(found[best.metric], best.better)
        if best is None or self._improves(best, found[best.metric]):
            self.state.best = None if best is None else found[best.metric]
            self._write("best.pt", with_training=False)
        if board is not None:
            row, grid = self._row(rate), self.recipe.grid(graphs, self.data.held_out)
            self.folder.add_row(row)
            self.folder.add_sample(self.images, grid.image)
            measured = {name: value for name, value in row.items() if value != "" and name not in _PLACES}
            figures = {name: float(str(value)) for name, value in measured.items()}
            board.scalars(self.images, figures)
            board.image(self.images, "samples/grid", grid.image)
            board.flush()  # before last.pt, so that a resumed run leaves no hole in the curves
        self.sums = _Sums()

    def _improves(self, best: Best, value: float) -> bool:
        if self.state.best is None:
            return True
        return value < self.state.best if best.better == "lower" else value > self.state.best

    def _shown_rate(self) -> float:
        """The learning rate of the last step, of the phase that comes last."""
        phase: Phase = self.stage.phases[-1]
        return self.recipe.learning_rate(phase, self._progress(max(self.images - 1, 0)))

    def rate_at(self, images: int) -> float:
        """The learning rate of the phase that comes last, after so many images."""
        return self.recipe.learning_rate(self.stages[-1].phases[-1], self._progress(images))

    def _row(self, rate: float) -> dict[str, object]:
        """What metrics.csv says about the images since the last row."""
        sums = self.sums
        busy_s = sums.data_seconds + sums.step_seconds
        return {
            "images": self.images,
            "epoch": f"{self.images / len(self.data.train):.3f}",
            "lr": f"{rate:.3g}",
            **{name: self._mean_loss(name) for name in self.recipe.loss_names},
            **{name: f"{value:.6f}" for name, value in self.state.validation.items()},
            "images_per_s": f"{sums.images / busy_s:.2f}",
            "data_ms": f"{sums.data_seconds / sums.steps * 1000:.1f}",
            "step_ms": f"{sums.step_seconds / sums.steps * 1000:.1f}",
            "seconds": f"{self.state.seconds:.1f}",
        }

    def _mean_loss(self, name: str) -> str:
        """The mean of a loss since the last row; empty where no phase of the stage has it."""
        total, images = self.sums.losses.get(name, (0.0, 0))
        return f"{total / images:.6f}" if images else ""

    def _save(self, ended: Ended | None) -> None:
        stopped_by = None if ended is None else _STOPPED_BY.get(ended)
        self._write("last.pt", with_training=True, stopped_by=stopped_by)
        if self.ranks.leads and stopped_by is not None and self.images < self.total:
            self.folder.mark_stopped(
                {
                    "by": stopped_by,
                    "images": self.images,
                    "lr": self._shown_rate(),
                    "last_lr": self.rate_at(self.total - 1),
                }
            )

    def _show(self) -> None:
        """Rewrite index.html; where that fails, training goes on."""
        if not self.ranks.leads:
            return
        from cgan_trainer.watching.page import write_page

        try:
            write_page(self.folder.path)
        except OSError as error:
            note(f"{self.folder.path / 'index.html'} was not written ({error.strerror}); training goes on.")

    def _write(self, name: str, *, with_training: bool, stopped_by: StoppedBy | None = None) -> None:
        if not self.ranks.leads:
            return
        training = None
        if with_training:
            self.state.sums = vars(self.sums)
            training = {
                **self.state.to_dict(self.config),
                "total": self.total,
                "ranks": self.ranks.count,
                "threads": torch.get_num_threads(),
                "dataset": self._dataset(),
                **self.trainer.state_dict(),
            }
        write_state(
            self.folder.path / name,
            recipe=self.recipe,
            networks=self.trainer.saved_networks,
            held_out=self.data.held_out,
            provenance={
                "images": self.images,
                **mark(self.images, self.total, stopped_by),
                "seed": self.config.seed,
                **self.state.validation,
                "dataset": self._dataset(),
                "origin": self.origin,
                **({"extended_at": list(self.extended_at)} if self.extended_at else {}),
            },
            training=training,
        )

    def _dataset(self) -> dict[str, str]:
        return {
            "name": self.recipe.facts.name,
            "train_sha256": self.data.train.sha256,
            "held_out": self.data.held_out.name,
            "held_out_sha256": self.data.held_out.sha256,
        }
