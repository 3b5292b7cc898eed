"""What a training run is asked to do. Two values: what decides the weights, and what does not."""

from __future__ import annotations

import shlex
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Literal

__all__ = ["Objective", "Pix2pixConfig", "RunOptions", "command_line"]

Objective = Literal["L1", "GAN", "cGAN", "L1+GAN", "L1+cGAN"]


@dataclass(frozen=True, kw_only=True)
class Pix2pixConfig:
    """Everything that, with the pictures, decides the weights: kept with the run, fixed for its whole life."""

    size: int = 256
    """Side of the square pictures in pixels: 64, 128, 256 or 512. Others are resized."""
    direction: Literal["AtoB", "BtoA"] = "AtoB"
    """Which half of a pair is the condition."""
    condition: Literal["rgb", "grey", "labels"] = "rgb"
    """What the condition is: a colour picture, a grey one, or a label map (one channel per colour of it)."""
    picture: Literal["rgb", "grey"] = "rgb"
    """What is made: colour or grey pictures."""
    net: Literal["unet", "encoder-decoder", "resnet-6", "resnet-9"] = "unet"
    """The generator: U-Net, the same without its skips, or a ResNet of 6 or 9 blocks."""
    ngf: int = 64
    """Width of the generator: channels after its first convolution."""
    norm: Literal["batch", "instance", "none"] = "batch"
    """Normalisation in both networks; in use, batch is always over the one sample."""
    dropout: Literal["paper", "port", "off"] = "paper"
    """Which decoder layers carry dropout, the only noise: the three innermost, or one level shallower."""
    patch: Literal[1, 16, 34, 70, 142, 286] = 70
    """Pixels one output of the discriminator sees: 1 is the PixelGAN, 286 the ImageGAN at 256."""
    ndf: int = 64
    """Width of the discriminator."""
    objective: Objective = "L1+cGAN"
    """The paper's objectives; a cGAN's discriminator sees the condition, a GAN's does not."""
    gan_mode: Literal["vanilla", "lsgan", "wgangp"] = "vanilla"
    """Cross-entropy, least squares, or Wasserstein with gradient penalty."""
    lambda_l1: float = 100.0
    """Weight of the L1 loss."""
    lambda_gan: float = 1.0
    """Weight of the GAN loss of the generator."""
    lambda_gp: float = 10.0
    """Weight of the gradient penalty, in wgangp."""
    epochs: int = 100
    """Passes over the training pictures at the full learning rate."""
    epochs_decay: int = 100
    """Further passes while the learning rate falls linearly to zero."""
    images: int | None = None
    """Train on this many images in all; the learning rate falls over the same share of them."""
    batch: int = 1
    """Images per step; of every process, under torchrun."""
    accumulate: int = 1
    """Batches whose gradients are added up before a step: memory of one, step of many."""
    lr: float = 2e-4
    """Learning rate of Adam, for both networks."""
    beta1: float = 0.5
    """Adam's decay of the first moment; the second's is 0.999."""
    lr_policy: Literal["linear", "step", "plateau", "cosine"] = "linear"
    """Constant then to zero; a tenth every --step-epochs; a fifth when validation L1 stalls; half a cosine."""
    step_epochs: int = 50
    """Epochs between two steps of the step policy."""
    jitter: bool = True
    """Enlarge by 286/256 and cut a random square, A and B alike."""
    mirror: bool = True
    """Mirror every other pair, A and B alike."""
    buffer: int = 0
    """Show the discriminator every other time one of this many older pictures (CycleGAN: 50)."""
    ema: float = 0.0
    """Validate, save and export an average of the generator: its decay per step, 0.999 for example; 0 is off."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Arithmetic of convolutions; bf16 was measured faster on a CPU with AMX, see docs/training.md."""
    channels_last: bool | None = None
    """Memory layout; by default with batches above 1, and with bf16: measured at 16 and at 1."""
    torch_compile: bool = False
    """Compile the networks with torch.compile (needs a C++ compiler)."""
    seed: int = 0
    """Same seed, same pictures, same weights."""
    save_images: int = 500
    """Validate, add a row to metrics.csv, draw samples and write last.pt every so many images."""

    @property
    def uses_gan(self) -> bool:
        """Whether there is a discriminator."""
        return "GAN" in self.objective

    @property
    def conditional(self) -> bool:
        """Whether the discriminator sees the condition."""
        return "cGAN" in self.objective

    @property
    def uses_l1(self) -> bool:
        """Whether the generator is drawn to the target itself."""
        return "L1" in self.objective

    @property
    def step_images(self) -> int:
        """Images per optimiser step of one process."""
        return self.batch * self.accumulate

    @property
    def in_channels_last(self) -> bool:
        """The memory layout that was chosen, or the one measured faster."""
        if self.channels_last is not None:
            return self.channels_last
        return self.batch > 1 or self.precision == "bf16"

    def total_images(self, count: int) -> int:
        """How many images the whole run sees, given `count` training pairs."""
        return self.images if self.images is not None else (self.epochs + self.epochs_decay) * count


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Where from, where to, how long, and on how much of the machine."""

    data: Path
    """Dataset: a folder of side-by-side pairs, a folder with A/ and B/, or a .csv or .jsonl list of pairs."""
    out: Path
    """Run folder to make: last.pt, best.pt, config.json, metrics.csv, samples/, index.html."""
    config: Path | None = None
    """Take options from this .json or .toml, such as a run's config.json; those given beside it win."""
    init_from: Path | None = None
    """Begin with the generator of this checkpoint, ours or one of those cgan-export reads (fine-tuning)."""
    max_minutes: float | None = None
    """Stop cleanly after this many minutes; --resume goes on for as many more."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to train: a GPU where there is one."""
    threads: int | None = None
    """CPU threads; weights repeat to the bit for the same number. Default: what PyTorch takes."""
    strict: bool = False
    """End at the first broken picture instead of naming and skipping them."""
    evaluate: bool = True
    """Judge the finished run on held-out pictures, as `cgan-train evaluate` does."""
    resume: bool = False
    """Go on from last.pt: the weights come out as if the run had never stopped."""
    dry_run: bool = False
    """Print the resolved options and what would be done, and do nothing."""


def command_line(config: Pix2pixConfig, run: RunOptions, *, resume: bool) -> str:
    """The command that asks for this, to copy: only what differs from the defaults."""
    words = ["cgan-train", "pix2pix", "--data", str(run.data), "--out", str(run.out)]
    for holder in (config, run):
        for field in fields(holder):
            value = getattr(holder, field.name)
            if field.default is MISSING or value == field.default or field.name in ("config", "resume", "dry_run"):
                continue
            flag = field.name.replace("_", "-")
            match value:
                case True:
                    words.append(f"--{flag}")
                case False:
                    words.append(f"--no-{flag}")
                case _:
                    words += [f"--{flag}", str(value)]
    return shlex.join([*words, "--resume"] if resume else words)
