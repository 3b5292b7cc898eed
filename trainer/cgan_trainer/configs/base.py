"""What a training run is asked to do. Two values: what decides the weights, and what does not.

Annotations are evaluated at once here and in the families' options, not postponed: the command line reads them
from the class that inherits them, in whose module their names mean nothing.
"""

import shlex
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from cgan_runtime.errors import UsageError
from cgan_runtime.limits import first_problem
from pydantic import Field, TypeAdapter, ValidationError

__all__ = ["Count", "RunOptions", "Share", "TrainConfig", "Weight", "Width", "check_config", "command_line"]

Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, lt=1)]
Width = Annotated[int, Field(ge=1, le=512)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """What every run is asked, and what with the data decides its weights. Families add options and defaults.

    Nothing heavy is imported here or in the families' options, so that `--help` needs no torch. A value is fixed
    for the whole life of a run, and kept with it. Limits stand in the annotations; `check_config` holds a config
    to them, and then calls `check`.
    """

    family: ClassVar[str]
    """Name of the command and of the family in checkpoints."""
    title: ClassVar[str]
    """One sentence for `cgan-train --help`, with the paper."""
    ablations: ClassVar[tuple[str, ...]] = ()
    """The comparisons of its paper that `cgan-train ablate` knows."""

    size: Count = 256
    """Side of the square images in pixels; others are resized."""
    epochs: Annotated[int, Field(ge=0)] = 100
    """Passes over the training images at the full learning rate."""
    epochs_decay: Annotated[int, Field(ge=0)] = 100
    """Further passes while the learning rate falls linearly to zero."""
    images: Count | None = None
    """Train on this many images in all; the learning rate falls over the same share of them."""
    batch: Count = 1
    """Images per step; of every process, under torchrun."""
    accumulate: Count = 1
    """Batches whose gradients are added before a step: the memory of one batch, the step of many."""
    lr: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 2e-4
    """Learning rate, for all networks."""
    beta1: Share = 0.5
    """Adam's decay of the first moment; the second's is 0.999."""
    lr_policy: Literal["linear", "step", "plateau", "cosine"] = "linear"
    """Constant then to zero; a tenth every --step-epochs; a fifth when validation stalls; half a cosine."""
    step_epochs: Count = 50
    """Epochs between two steps of the step policy."""
    ema: Share = 0.0
    """Validate, save and export an average of the generator: its decay per step, 0.999 for example; 0 is off."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Arithmetic of convolutions; bf16 was measured faster on a CPU with AMX, see docs/training.md."""
    channels_last: bool | None = None
    """Memory layout; by default with batches above 1, and with bf16: measured at 16 and at 1."""
    torch_compile: bool = False
    """Compile the networks with torch.compile (needs a C++ compiler)."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Same seed, same images, same weights."""
    range: str = "auto"
    """Range of values of more than 8 bits: auto (by the largest of all), the largest (4095), or both ends."""
    save_images: Count = 500
    """Validate, add a row to metrics.csv, draw samples and write last.pt every so many images."""

    def check(self) -> None:
        """Refuse values that do not fit each other.

        Raises:
            UsageError: says which, and what to give instead.
        """
        from cgan_runtime.image_values import parse_range  # numpy: not for --help

        try:
            parse_range(self.range)
        except ValueError as error:
            raise UsageError(f"--range {error}.") from error
        if self.epochs + self.epochs_decay < 1:
            raise UsageError("--epochs 0 cannot be used: give 1 or more without --epochs-decay.")

    @property
    def in_channels_last(self) -> bool:
        """The memory layout that was chosen, or the one measured faster."""
        if self.channels_last is not None:
            return self.channels_last
        return self.batch > 1 or self.precision == "bf16"

    def total_images(self, count: int) -> int:
        """How many images the whole run sees, given `count` training images."""
        return self.images if self.images is not None else (self.epochs + self.epochs_decay) * count


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Where from, where to, how long, and on how much of the machine."""

    data: Path
    """Dataset: a folder, or a .csv, .tsv or .jsonl list; docs/datasets.md says what each family takes."""
    out: Path
    """Run folder to make: last.pt, best.pt, config.json, metrics.csv, samples/, index.html."""
    config: Path | None = None
    """Take options from this .json or .toml, such as a run's config.json; those given beside it win."""
    init_from: Path | None = None
    """Begin with the generator of this checkpoint, ours or one of those cgan-export reads (fine-tuning)."""
    init_graph: str | None = None
    """Which generator of the --init-from file, where it holds several: genA, or genA,genB for a pair."""
    max_minutes: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Stop cleanly after this many minutes; --resume goes on for as many more."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to train: a GPU where there is one."""
    threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    """CPU threads; weights repeat to the bit for the same number. Default: what PyTorch takes."""
    strict: bool = False
    """End at the first broken image instead of naming and skipping them."""
    evaluate: bool = True
    """Judge the finished run on held-out images, as `cgan-train evaluate` does."""
    resume: bool = False
    """Go on from last.pt: the weights come out as if the run had never stopped; more --images make it longer."""
    dry_run: bool = False
    """Print the resolved options, what would be done and the minutes it takes (a few steps are timed), and stop."""

    @property
    def init_graphs(self) -> tuple[str, ...]:
        """The names in `init_graph`."""
        words = (word.strip() for word in (self.init_graph or "").split(","))
        return tuple(word for word in words if word)


def command_line(config: TrainConfig, run: RunOptions, *, resume: bool) -> str:
    """The command that asks for this, to copy: only what differs from the defaults."""
    words = ["cgan-train", config.family, "--data", str(run.data), "--out", str(run.out)]
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
                case str() if value.startswith("-"):  # a word of its own would be taken for an option
                    words.append(f"--{flag}={value}")
                case _:
                    words += [f"--{flag}", str(value)]
    return shlex.join([*words, "--resume"] if resume else words)


def check_config(config: TrainConfig, run: RunOptions | None = None) -> None:
    """Hold the values to the limits in their annotations, and to each other.

    Raises:
        UsageError: the first that cannot be used, and what to give instead.
    """
    for holder in (config, run):
        if holder is None:
            continue
        try:
            TypeAdapter(type(holder)).validate_python({f.name: getattr(holder, f.name) for f in fields(holder)})
        except ValidationError as error:
            name, given, needed = first_problem(error)
            flag = name.replace("_", "-")
            raise UsageError(f"--{flag} {given} cannot be used: give {needed}.") from error
    if run is not None and run.init_graph is not None and (run.init_from is None or not run.init_graphs):
        raise UsageError(
            f"--init-graph {run.init_graph} cannot be used: name a generator that is in the file of --init-from."
        )
    config.check()
