"""What a training run is asked to do. Two values: what decides the weights, and what does not."""

from __future__ import annotations

import math
import shlex
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Literal

from cgan_trainer.errors import UsageError

__all__ = ["Pix2pixConfig", "RunOptions", "check_config", "command_line"]


@dataclass(frozen=True, kw_only=True)
class Pix2pixConfig:
    """Everything that, with the pictures, decides the weights: kept with the run, fixed for its whole life."""

    size: int = 256
    """Side of the square pictures in pixels: 64, 128, 256 or 512. Others are resized."""
    ngf: int = 64
    """Width of the generator: channels after its first convolution."""
    ndf: int = 64
    """Width of the discriminator."""
    dropout: Literal["paper", "port", "off"] = "paper"
    """Which decoder layers carry dropout, the only noise: the three innermost, or one level shallower."""
    epochs: int = 100
    """Passes over the training pictures at the full learning rate."""
    epochs_decay: int = 100
    """Further passes while the learning rate falls linearly to zero."""
    images: int | None = None
    """Train on this many images in all; the learning rate falls over the same share of them."""
    batch: int = 1
    """Images per step."""
    lr: float = 2e-4
    """Learning rate of Adam (betas 0.5 and 0.999), for both networks."""
    lambda_l1: float = 100.0
    """Weight of the L1 loss beside the GAN loss."""
    jitter: bool = True
    """Enlarge by 286/256, cut a random square and mirror every other one, A and B alike."""
    direction: Literal["AtoB", "BtoA"] = "AtoB"
    """Which half of a pair is the condition."""
    seed: int = 0
    """Same seed, same pictures, same weights."""
    save_images: int = 500
    """Validate, add a row to metrics.csv, draw samples and write last.pt every so many images."""

    def total_images(self, count: int) -> int:
        """How many images the whole run sees, given `count` training pairs."""
        return self.images if self.images is not None else (self.epochs + self.epochs_decay) * count

    def lr_at(self, images: int, total: int) -> float:
        """The learning rate after `images` of `total` images: constant, then linear to zero."""
        begin = total * self.epochs / (self.epochs + self.epochs_decay)
        return self.lr if images < begin else self.lr * (total - images) / (total - begin)


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Where from, where to, how long, and on how much of the machine."""

    data: Path
    """Dataset folder: train/ and val/ with side-by-side pairs, A left and B right."""
    out: Path
    """Run folder to make: last.pt, best.pt, config.json, metrics.csv, samples/."""
    max_minutes: float | None = None
    """Stop cleanly after this many minutes; --resume goes on for as many more."""
    threads: int | None = None
    """CPU threads; weights repeat to the bit for the same number. Default: what PyTorch takes."""
    resume: bool = False
    """Go on from last.pt: the weights come out as if the run had never stopped."""
    dry_run: bool = False
    """Print the resolved options and what would be done, and do nothing."""


def check_config(config: Pix2pixConfig, run: RunOptions) -> None:
    """Raise UsageError for the first value that cannot be used."""
    _require(config.size in (64, 128, 256, 512), "size", config.size, "64, 128, 256 or 512")
    _require(1 <= config.ngf <= 512, "ngf", config.ngf, "from 1 to 512")
    _require(1 <= config.ndf <= 512, "ndf", config.ndf, "from 1 to 512")
    _require(config.epochs >= 0, "epochs", config.epochs, "0 or more")
    _require(config.epochs_decay >= 0, "epochs-decay", config.epochs_decay, "0 or more")
    _require(config.epochs + config.epochs_decay >= 1, "epochs", config.epochs, "1 or more without --epochs-decay")
    _require(config.images is None or config.images >= 1, "images", config.images, "1 or more")
    _require(config.batch >= 1, "batch", config.batch, "1 or more")
    _require(math.isfinite(config.lr) and config.lr > 0, "lr", config.lr, "a number above 0")
    _require(math.isfinite(config.lambda_l1) and config.lambda_l1 >= 0, "lambda-l1", config.lambda_l1, "0 or more")
    _require(config.seed >= 0, "seed", config.seed, "0 or more")
    _require(config.save_images >= 1, "save-images", config.save_images, "1 or more")
    minutes = run.max_minutes
    _require(
        minutes is None or (math.isfinite(minutes) and minutes > 0), "max-minutes", minutes, "a number above 0"
    )
    _require(run.threads is None or 1 <= run.threads <= 1024, "threads", run.threads, "from 1 to 1024")


def command_line(config: Pix2pixConfig, run: RunOptions, *, resume: bool) -> str:
    """The command that asks for this, to copy: only what differs from the defaults."""
    words = ["cgan-train", "pix2pix", "--data", str(run.data), "--out", str(run.out)]
    for holder in (config, run):
        for field in fields(holder):
            value = getattr(holder, field.name)
            if field.default is MISSING or value == field.default or field.name in ("resume", "dry_run"):
                continue
            flag = field.name.replace("_", "-")
            words += [f"--no-{flag}"] if value is False else [f"--{flag}", str(value)]
    return shlex.join([*words, "--resume"] if resume else words)


def _require(holds: bool, name: str, value: object, allowed: str) -> None:
    if not holds:
        raise UsageError(f"--{name} {value} cannot be used: give {allowed}.")
