"""The loop: take the next images, step, and now and then validate and save.

Progress is the number of images seen. A run is decided by its config and pictures alone: where it was
interrupted, and how often, leaves no trace in the weights.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from typing import Any, Literal

import torch
from jaxtyping import UInt8
from torch import Tensor

from cgan_trainer.checkpoint import Checkpoint, write_checkpoint
from cgan_trainer.data.pairs import Domains, Pairs
from cgan_trainer.progress import progress
from cgan_trainer.training.config import Pix2pixConfig
from cgan_trainer.training.draws import derive, jitter, row_at, to_float
from cgan_trainer.training.evaluation import sample_grid, validation_l1
from cgan_trainer.training.pix2pix import LOSSES, Pix2pixTrainer
from cgan_trainer.training.run_folder import RunFolder
from cgan_trainer.training.stop import stop_requested

__all__ = ["Counters", "Ended", "TrainingRun"]

Ended = Literal["complete", "out of time", "interrupted"]
_EXAMPLES = 8


@dataclass(kw_only=True)
class Counters:
    """What grows while training; all of it is in last.pt."""

    images: int = 0
    seconds: float = 0.0
    best_val_l1: float | None = None
    val_l1: float | None = None
    summed_images: int = 0
    sums: dict[str, float] = field(default_factory=lambda: dict.fromkeys(LOSSES, 0.0))


class TrainingRun:
    """One run, fresh or taken up again.

    Args:
        config: decides the weights, with the pictures.
        domains: what A and B show.
        train: the pairs to learn from.
        held_out: the pairs to validate with.
        held_out_split: what their folder is called.
        folder: where everything goes.
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
        last: Checkpoint | None = None,
    ) -> None:
        self.config = config
        self.folder = folder
        self.dataset = {
            "name": domains.name,
            "train_sha256": train.sha256,
            "held_out": held_out_split,
            "held_out_sha256": held_out.sha256,
        }
        self.train_pictures = self._directed(train)
        self.held_out = self._directed(held_out)
        self.total = config.total_images(len(train))
        self.trainer = Pix2pixTrainer(config, domains)
        self.counters = Counters()
        if last is not None and last.training is not None:
            self.trainer.load_state_dict(last.state, last.training)
            self.counters = Counters(**last.training["counters"])

    def run(self, *, max_minutes: float | None = None) -> Ended:
        """Train until the end, the time limit or a signal; whichever it is, last.pt is complete afterwards."""
        counters = self.counters
        began_s, seconds_before = time.monotonic(), counters.seconds
        limit_s = float("inf") if max_minutes is None else max_minutes * 60
        with progress("training", unit="images", start=counters.images) as report, stop_requested() as stopped:
            while counters.images < self.total:
                saves = counters.images // self.config.save_images
                self._step()
                passed_s = time.monotonic() - began_s
                counters.seconds = seconds_before + passed_s
                report(counters.images, self.total)
                out_of_time = passed_s >= limit_s
                if (
                    counters.images // self.config.save_images > saves
                    or counters.images == self.total
                    or (out_of_time and not stopped())
                ):
                    self._validate()
                    self._save()
                if stopped():
                    self._save()
                    return "interrupted"
                if out_of_time and counters.images < self.total:
                    return "out of time"
        return "complete"

    def _directed(self, pairs: Pairs) -> tuple[UInt8[Tensor, "n 3 h w"], UInt8[Tensor, "n 3 h w"]]:
        return (pairs.a, pairs.b) if self.config.direction == "AtoB" else (pairs.b, pairs.a)

    def _step(self) -> None:
        counters, config = self.counters, self.config
        end = min(counters.images + config.batch, self.total)
        pairs = [self._pair(position) for position in range(counters.images, end)]
        condition, target = (torch.stack(side) for side in zip(*pairs, strict=True))
        torch.manual_seed(derive(config.seed, "dropout", counters.images))
        losses = self.trainer.step(condition, target, config.lr_at(counters.images, self.total))
        for name, value in losses.items():
            counters.sums[name] += value * len(pairs)
        counters.summed_images += len(pairs)
        counters.images = end

    def _pair(self, position: int) -> tuple[Tensor, Tensor]:
        conditions, targets = self.train_pictures
        row = row_at(self.config.seed, position, len(conditions))
        condition, target = to_float(conditions[row]), to_float(targets[row])
        if self.config.jitter:
            return jitter(condition, target, self.config.seed, position)
        return condition, target

    def _validate(self) -> None:
        """Judge, log and draw; a better generator than ever becomes best.pt."""
        counters, generator = self.counters, self.trainer.generator
        counters.val_l1 = validation_l1(generator, *self.held_out, self.config.seed)
        if counters.best_val_l1 is None or counters.val_l1 < counters.best_val_l1:
            counters.best_val_l1 = counters.val_l1
            self._write("best.pt", training=None)
        row: dict[str, object] = {
            "images": counters.images,
            "epoch": f"{counters.images / len(self.train_pictures[0]):.3f}",
            "val_L1": f"{counters.val_l1:.6f}",
            "seconds": f"{counters.seconds:.1f}",
        }
        row |= {name: f"{total / counters.summed_images:.6f}" for name, total in counters.sums.items()}
        counters.sums, counters.summed_images = dict.fromkeys(LOSSES, 0.0), 0
        self.folder.add_row(row)
        self.folder.add_sample(counters.images, sample_grid(generator, *self.held_out, self.config.seed))

    def _save(self) -> None:
        training = {
            "config": asdict(self.config),
            "dataset": self.dataset,
            "total": self.total,
            "threads": torch.get_num_threads(),
            "counters": asdict(self.counters),
            **self.trainer.state_dict(),
        }
        self._write("last.pt", training=training)

    def _write(self, name: str, *, training: dict[str, Any] | None) -> None:
        trainer = self.trainer
        write_checkpoint(
            self.folder.path / name,
            family="pix2pix",
            options=asdict(trainer.options),
            contract=trainer.generator.contract.to_json(),
            state=trainer.generator.state_dict(),
            examples=self.held_out[0][:_EXAMPLES],
            provenance={
                "images": self.counters.images,
                "seed": self.config.seed,
                "val_l1": self.counters.val_l1,
                "direction": self.config.direction,
                "dataset": self.dataset,
                "torch": torch.__version__.split("+")[0],
                "cgan_deploy": version("cgan-deploy"),
            },
            training=training,
        )
