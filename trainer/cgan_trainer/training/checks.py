"""The options of a run, checked before anything is read: one sentence for the first that cannot be used."""

from __future__ import annotations

import math

from cgan_runtime.errors import UsageError

from cgan_trainer.nets.patchgan import HALVINGS, least_size
from cgan_trainer.training.config import Pix2pixConfig, RunOptions

__all__ = ["check_config"]


def check_config(config: Pix2pixConfig, run: RunOptions) -> None:
    """Raise UsageError for the first value that cannot be used, alone or beside another."""
    _check_counts(config)
    _check_rates(config)
    _require(config.uses_gan or config.uses_l1, "objective", config.objective, "L1, GAN, cGAN or a sum")
    if config.uses_gan:
        _check_patch(config)
    if config.precision == "bf16" and config.gan_mode == "wgangp" and config.uses_gan:
        raise UsageError(
            "--precision bf16 cannot be used with --gan-mode wgangp: its penalty is a small difference."
        )
    minutes = run.max_minutes
    _require(
        minutes is None or (math.isfinite(minutes) and minutes > 0), "max-minutes", minutes, "a number above 0"
    )
    _require(run.threads is None or 1 <= run.threads <= 1024, "threads", run.threads, "from 1 to 1024")


def _check_counts(config: Pix2pixConfig) -> None:
    _require(config.size in (64, 128, 256, 512), "size", config.size, "64, 128, 256 or 512")
    _require(1 <= config.ngf <= 512, "ngf", config.ngf, "from 1 to 512")
    _require(1 <= config.ndf <= 512, "ndf", config.ndf, "from 1 to 512")
    _require(config.epochs >= 0, "epochs", config.epochs, "0 or more")
    _require(config.epochs_decay >= 0, "epochs-decay", config.epochs_decay, "0 or more")
    _require(config.epochs + config.epochs_decay >= 1, "epochs", config.epochs, "1 or more without --epochs-decay")
    _require(config.step_epochs >= 1, "step-epochs", config.step_epochs, "1 or more")
    _require(config.images is None or config.images >= 1, "images", config.images, "1 or more")
    _require(config.batch >= 1, "batch", config.batch, "1 or more")
    _require(config.accumulate >= 1, "accumulate", config.accumulate, "1 or more")
    _require(0 <= config.buffer <= 1000, "buffer", config.buffer, "from 0 to 1000")
    _require(config.seed >= 0, "seed", config.seed, "0 or more")
    _require(config.save_images >= 1, "save-images", config.save_images, "1 or more")


def _check_rates(config: Pix2pixConfig) -> None:
    _require(math.isfinite(config.lr) and config.lr > 0, "lr", config.lr, "a number above 0")
    _require(0 <= config.beta1 < 1, "beta1", config.beta1, "from 0 to below 1")
    _require(0 <= config.ema < 1, "ema", config.ema, "from 0 to below 1")
    for name in ("lambda_l1", "lambda_gan", "lambda_gp"):
        value = getattr(config, name)
        _require(math.isfinite(value) and value >= 0, name.replace("_", "-"), value, "0 or more")


def _check_patch(config: Pix2pixConfig) -> None:
    allowed = (1, *HALVINGS)
    _require(config.patch in allowed, "patch", config.patch, "one of " + ", ".join(map(str, allowed)))
    side = least_size(config.patch)
    if config.size < side:
        raise UsageError(
            f"--patch {config.patch} cannot be used with --size {config.size}: it needs pictures of {side} pixels; "
            "choose a smaller patch."
        )


def _require(holds: bool, name: str, value: object, allowed: str) -> None:
    if not holds:
        raise UsageError(f"--{name} {value} cannot be used: give {allowed}.")
