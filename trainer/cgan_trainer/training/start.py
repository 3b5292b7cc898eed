"""From the options of a command to a finished run: the checks, the words, the exit code."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

import torch
from cgan_runtime.errors import BadInputError, CganError, UsageError
from cgan_runtime.progress import note, progress

from cgan_trainer.checkpoint import Checkpoint
from cgan_trainer.data.pairs import (
    Domains,
    Modes,
    Pairs,
    count_pairs,
    find_validation,
    load_pairs,
    palette_of,
    read_domains,
)
from cgan_trainer.families.pix2pix import Pix2pixGenerator
from cgan_trainer.palette import Palette
from cgan_trainer.training.checks import check_config
from cgan_trainer.training.config import Pix2pixConfig, RunOptions, command_line
from cgan_trainer.training.device import choose_device, keep_freed_memory, set_threads
from cgan_trainer.training.finetune import load_initial_weights
from cgan_trainer.training.loop import TrainingRun
from cgan_trainer.training.pix2pix import build_discriminator, generator_options
from cgan_trainer.training.ranks import Ranks, joined
from cgan_trainer.training.run_folder import RunFolder

__all__ = ["describe", "train_pix2pix"]


def train_pix2pix(config: Pix2pixConfig, run: RunOptions) -> int:
    """Train, and return the exit code: 0 done or out of time, 130 interrupted."""
    check_config(config, run)
    device = choose_device(run)
    keep_freed_memory()
    with joined(device) as ranks:
        _check_ranks(config, ranks)
        return _train(config, run, device, ranks)


def _train(config: Pix2pixConfig, run: RunOptions, device: str, ranks: Ranks) -> int:
    folder = RunFolder(path=run.out)
    last = folder.find_last(resume=run.resume)
    threads = set_threads(run, last)
    if last is not None:
        _check_same_config(config, last, run, ranks)
        if _is_complete(last):
            note(f"{run.out} is complete ({last.provenance['images']} images): nothing is left to do.")
            return 0
    pictures = _load(config, run, ranks)
    if last is not None:
        _check_same_pictures(pictures, last, run)
    training = TrainingRun(
        config,
        pictures.domains,
        train=pictures.train,
        held_out=pictures.held_out,
        held_out_split=pictures.held_out_split,
        palette=pictures.palette,
        folder=folder,
        device=device,
        ranks=ranks,
        last=last,
    )
    if last is None and run.init_from is not None:
        training.origin = load_initial_weights(run.init_from, training.trainer)
    if ranks.leads:
        folder.begin(config, run, threads=threads, images=training.counters.images, total=training.total)
    ended = training.run(max_minutes=run.max_minutes)
    images, total = training.counters.images, training.total
    if ended == "interrupted":
        note(f"Stopped at {images} of {total} images; to go on:\n  {command_line(config, run, resume=True)}")
        return 130
    if ended == "out of time":
        note(f"Time is up at {images} of {total} images; to go on:\n  {command_line(config, run, resume=True)}")
    elif run.evaluate and ranks.leads:
        _judge(run)
    return 0


def _judge(run: RunOptions) -> None:
    """Evaluate the finished run; that this cannot be done takes nothing from the run."""
    from cgan_trainer.evaluation.evaluate import evaluate_run
    from cgan_trainer.watching.page import write_page

    try:
        evaluate_run(run.out)
        write_page(run.out)
    except (CganError, OSError) as error:
        note(f"The run is complete, but was not evaluated: {error}")


def describe(config: Pix2pixConfig, run: RunOptions) -> str:
    """What a run would do, as JSON: resolved options, parameters, images. Reads names only, writes nothing."""
    check_config(config, run)
    split = find_validation(run.data)
    pairs = {name: count_pairs(run.data, name) for name in ("train", split)}
    options = generator_options(config, Domains(name=run.data.name))
    with torch.device("meta"):
        networks: dict[str, torch.nn.Module] = {"generator": Pix2pixGenerator(options)}
        if config.uses_gan:
            networks["discriminator"] = build_discriminator(config, options)
    last = run.out / "last.pt"
    return json.dumps(
        {
            "family": "pix2pix",
            "config": asdict(config),
            "data": str(run.data),
            "out": str(run.out),
            "device": choose_device(run),
            "parameters": {name: sum(p.numel() for p in net.parameters()) for name, net in networks.items()},
            "pairs": pairs,
            "images": config.total_images(pairs["train"]),
            "would": f"go on from {last}" if run.resume and last.exists() else f"write a new run to {run.out}",
        },
        indent=2,
    )


@dataclass(frozen=True, kw_only=True)
class _Pictures:
    domains: Domains
    train: Pairs
    held_out: Pairs
    held_out_split: str
    palette: Palette | None


def _load(config: Pix2pixConfig, run: RunOptions, ranks: Ranks) -> _Pictures:
    domains = read_domains(run.data)
    split = find_validation(run.data)
    if split != "val":
        note(f"{run.data} has no val/ pictures: validating with {split}/.")
    with ranks.leader_first():  # the others find what it decoded in the cache
        train, held_out = (_load_split(config, run, name) for name in ("train", split))
    palette = _palette(config, domains, train) if config.condition == "labels" else None
    return _Pictures(domains=domains, train=train, held_out=held_out, held_out_split=split, palette=palette)


def _load_split(config: Pix2pixConfig, run: RunOptions, split: str) -> Pairs:
    modes: Modes = (config.condition, config.picture)
    with progress(f"reading {split}", unit="pairs") as report:
        return load_pairs(
            run.data,
            split,
            config.size,
            on_file=report,
            modes=modes if config.direction == "AtoB" else (modes[1], modes[0]),
            strict=run.strict,
        )


def _palette(config: Pix2pixConfig, domains: Domains, train: Pairs) -> Palette:
    """As the dataset says, else the colours that occur."""
    if config.direction == "AtoB":
        return domains.palette_a or palette_of(train.a, "A")
    return domains.palette_b or palette_of(train.b, "B")


def _is_complete(last: Checkpoint) -> bool:
    return last.training is not None and last.training["counters"]["images"] >= last.training["total"]


def _check_ranks(config: Pix2pixConfig, ranks: Ranks) -> None:
    if ranks.count > 1 and config.buffer:
        raise UsageError(
            f"--buffer {config.buffer} cannot be used with {ranks.count} processes: each would remember other "
            "pictures; leave it out, or train with one process."
        )


def _check_same_config(config: Pix2pixConfig, last: Checkpoint, run: RunOptions, ranks: Ranks) -> None:
    training = last.training or {}
    before = training.get("config", {})
    if "plateau" not in training:
        raise UsageError(
            f"{run.out} was begun by an older version, which drew its noise otherwise: start another run, for "
            f"example from its weights with --init-from {run.out / 'last.pt'}."
        )
    for name, value in asdict(config).items():
        if before.get(name) != value:
            flag = name.replace("_", "-")
            raise UsageError(
                f"--{flag} is {value}, but {run.out} was begun with {before.get(name)}: a resumed run keeps its "
                "options, so give them again as they were, or choose another --out."
            )
    if training["ranks"] != ranks.count:
        raise UsageError(
            f"{run.out} was begun by {training['ranks']} processes, and these are {ranks.count}: give torchrun the "
            "same number, or choose another --out."
        )


def _check_same_pictures(pictures: _Pictures, last: Checkpoint, run: RunOptions) -> None:
    before = last.provenance["dataset"]
    now = (pictures.train.sha256, pictures.held_out.sha256)
    if (before["train_sha256"], before["held_out_sha256"]) != now:
        raise BadInputError(
            f"the pictures in {run.data} are not those {run.out} was begun with: give the same --data, or choose "
            "another --out."
        )
