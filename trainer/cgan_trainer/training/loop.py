"""The loop: take the next images, step, and now and then validate and save.

Progress is the number of images seen. A run is decided by its config and pictures alone: where it was
interrupted, and how often, leaves no trace in the weights.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from typing import Any, Literal

import torch
from cgan_runtime.progress import Report, note, progress

from cgan_trainer.checkpoint import Checkpoint, write_checkpoint
from cgan_trainer.data.pairs import Domains, Pairs
from cgan_trainer.palette import Palette
from cgan_trainer.training.batches import Feed, directed
from cgan_trainer.training.config import Pix2pixConfig
from cgan_trainer.training.pix2pix import Pix2pixTrainer
from cgan_trainer.training.ranks import ALONE, Ranks
from cgan_trainer.training.run_folder import RunFolder
from cgan_trainer.training.schedule import Plateau, learning_rate
from cgan_trainer.training.signals import stop_requested
from cgan_trainer.training.validation import sample_grid, validation_l1
from cgan_trainer.watching.tensorboard import Board

__all__ = ["Counters", "Ended", "TrainingRun"]

Ended = Literal["complete", "out of time", "interrupted"]
_EXAMPLES = 8
_PLACES = ("images", "epoch", "seconds")  # of a row: where it stands, not what was measured


@dataclass(kw_only=True)
class Counters:
    """What grows while training; all of it is in last.pt."""

    images: int = 0
    seconds: float = 0.0
    best_val_l1: float | None = None
    val_l1: float | None = None
    summed_images: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    summed_steps: int = 0
    data_seconds: float = 0.0
    step_seconds: float = 0.0


class TrainingRun:
    """One run, fresh or taken up again.

    Args:
        config: decides the weights, with the pictures.
        domains: what A and B show.
        train: the pairs to learn from.
        held_out: the pairs to validate with.
        held_out_split: what their folder is called.
        folder: where everything goes; of rank 0.
        palette: of the condition, where it is a label map.
        origin: where the first weights come from, if not from the seed: provenance.
        device: where to train.
        ranks: the processes that train together.
        last: the state to go on from.
    """

    def __init__(
        self,
        config: Pix2pixConfig,
        domains: Domains,
        *,
        train: Pairs,
        held_out: Pairs,
        held_out_split: str,
        folder: RunFolder,
        palette: Palette | None = None,
        origin: dict[str, str] | None = None,
        device: str = "cpu",
        ranks: Ranks = ALONE,
        last: Checkpoint | None = None,
    ) -> None:
        self.config = config
        self.folder = folder
        self.ranks = ranks
        self.origin = origin
        self.dataset = {
            "name": domains.name,
            "train_sha256": train.sha256,
            "held_out": held_out_split,
            "held_out_sha256": held_out.sha256,
        }
        self.held_out = directed(held_out, config)
        self.count = len(train)
        self.total = config.total_images(len(train))
        self.total -= self.total % ranks.count  # every rank has as many images in every step
        self.trainer = Pix2pixTrainer(config, domains, palette=palette, device=device, ranks=ranks)
        self.feed = Feed(config, train, self.trainer.generator, device)
        self.counters = Counters()
        self.plateau = Plateau()
        if last is not None and last.training is not None:
            self.trainer.load_state_dict(last.state, last.training)
            self.counters = Counters(**last.training["counters"])
            self.plateau = Plateau(**last.training["plateau"])
            self.origin = last.provenance.get("origin")

    def run(self, *, max_minutes: float | None = None) -> Ended:
        """Train until the end, the time limit or a signal; whichever it is, last.pt is complete afterwards."""
        counters = self.counters
        began_s, seconds_before = time.monotonic(), counters.seconds
        limit_s = float("inf") if max_minutes is None else max_minutes * 60
        with (
            progress("training", unit="images", start=counters.images) as report,
            self._board() as board,
            stop_requested() as stopped,
        ):
            while counters.images < self.total:
                saves = counters.images // self.config.save_images
                losses = self.step()
                passed_s = time.monotonic() - began_s
                counters.seconds = seconds_before + passed_s
                if self.ranks.leads:
                    self._report(report, losses)
                stop, out_of_time = self.ranks.any_of(stopped(), passed_s >= limit_s)
                if (
                    counters.images // self.config.save_images > saves
                    or counters.images == self.total
                    or (out_of_time and not stop)
                ):
                    self._validate(board)
                    self._save()
                    self._show()
                if stop:
                    self._save()
                    return "interrupted"
                if out_of_time and counters.images < self.total:
                    return "out of time"
        return "complete"

    def _board(self) -> contextlib.AbstractContextManager[Board | None]:
        leads = self.ranks.leads
        return Board(self.folder.path, images=self.counters.images) if leads else contextlib.nullcontext()

    def step(self) -> dict[str, float]:
        """The next images, all ranks together; returns the losses."""
        counters, config, ranks = self.counters, self.config, self.ranks
        began_s = time.perf_counter()
        end = min(counters.images + config.step_images * ranks.count, self.total)
        mine, mine_end = ranks.share(counters.images, end)
        batches = [
            self.feed.batch(begin, min(begin + config.batch, mine_end))
            for begin in range(mine, mine_end, config.batch)
        ]
        fed_s = time.perf_counter()
        lr = learning_rate(config, counters.images, self.total, self.plateau)
        losses = self.trainer.step(batches, lr)
        for name, value in losses.items():
            counters.sums[name] = counters.sums.get(name, 0.0) + value * (end - counters.images)
        counters.summed_images += end - counters.images
        counters.summed_steps += 1
        counters.data_seconds += fed_s - began_s
        counters.step_seconds += time.perf_counter() - fed_s
        counters.images = end
        return losses

    def _report(self, report: Report, losses: dict[str, float]) -> None:
        counters = self.counters
        timings = f"data {counters.data_seconds / counters.summed_steps * 1000:.0f} ms"
        timings += f", step {counters.step_seconds / counters.summed_steps * 1000:.0f} ms"
        report(counters.images, self.total, {**losses, "": timings})

    def _validate(self, board: Board | None) -> None:
        """Judge, log and draw; a better generator than ever becomes best.pt."""
        counters, generator = self.counters, self.trainer.saved_generator
        value = validation_l1(generator, *self.held_out, self.config.seed) if self.ranks.leads else 0.0
        counters.val_l1 = self.ranks.from_leader(value)
        lr = learning_rate(self.config, max(counters.images - 1, 0), self.total, self.plateau)
        self.plateau.see(counters.val_l1)
        if counters.best_val_l1 is None or counters.val_l1 < counters.best_val_l1:
            counters.best_val_l1 = counters.val_l1
            self._write("best.pt", training=None)
        if board is not None:
            row, grid = self._row(lr), sample_grid(generator, *self.held_out, self.config.seed)
            self.folder.add_row(row)
            self.folder.add_sample(counters.images, grid)
            figures = {name: float(str(value)) for name, value in row.items() if name not in _PLACES}
            board.scalars(counters.images, figures)
            board.picture(counters.images, "samples/grid", grid)
            board.flush()  # before last.pt, so that a resumed run leaves no hole in the curves
        counters.sums, counters.summed_images = {}, 0
        counters.summed_steps, counters.data_seconds, counters.step_seconds = 0, 0.0, 0.0

    def _row(self, lr: float) -> dict[str, object]:
        """What metrics.csv says about the images since the last row."""
        counters = self.counters
        busy_s = counters.data_seconds + counters.step_seconds
        row: dict[str, object] = {
            "images": counters.images,
            "epoch": f"{counters.images / self.count:.3f}",
            "lr": f"{lr:.3g}",
            "val_L1": f"{counters.val_l1:.6f}",
            "images_per_second": f"{counters.summed_images / busy_s:.2f}",
            "data_ms": f"{counters.data_seconds / counters.summed_steps * 1000:.1f}",
            "step_ms": f"{counters.step_seconds / counters.summed_steps * 1000:.1f}",
            "seconds": f"{counters.seconds:.1f}",
        }
        return row | {name: f"{total / counters.summed_images:.6f}" for name, total in counters.sums.items()}

    def _save(self) -> None:
        training = {
            "config": asdict(self.config),
            "dataset": self.dataset,
            "total": self.total,
            "ranks": self.ranks.count,
            "threads": torch.get_num_threads(),
            "counters": asdict(self.counters),
            "plateau": asdict(self.plateau),
            **self.trainer.state_dict(),
        }
        self._write("last.pt", training=training)

    def _show(self) -> None:
        """Rewrite index.html; that it cannot be written ends no training."""
        if not self.ranks.leads:
            return
        from cgan_trainer.watching.page import write_page

        try:
            write_page(self.folder.path)
        except OSError as error:
            note(f"{self.folder.path / 'index.html'} was not written ({error.strerror}); training goes on.")

    def _write(self, name: str, *, training: dict[str, Any] | None) -> None:
        if not self.ranks.leads:
            return
        trainer = self.trainer
        write_checkpoint(
            self.folder.path / name,
            family="pix2pix",
            options=asdict(trainer.options),
            contract=trainer.generator.contract.to_json(),
            state=trainer.saved_generator.state_dict(),
            examples=self.held_out[0][:_EXAMPLES],
            provenance={
                "images": self.counters.images,
                "seed": self.config.seed,
                "val_l1": self.counters.val_l1,
                "direction": self.config.direction,
                "objective": self.config.objective,
                "dataset": self.dataset,
                "origin": self.origin,
                "torch": torch.__version__.split("+")[0],
                "cgan_deploy": version("cgan-deploy"),
            },
            training=training,
        )
