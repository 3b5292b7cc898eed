"""From the options of a command to a finished run: the checks, the words, the exit code."""

from __future__ import annotations

import json
from dataclasses import asdict

import torch

from cgan_trainer.checkpoint import Checkpoint
from cgan_trainer.data.pairs import Pairs, find_validation, load_pairs, read_domains
from cgan_trainer.data.pictures import list_pictures
from cgan_trainer.errors import BadInputError, UsageError
from cgan_trainer.families.pix2pix import Pix2pixGenerator, Pix2pixOptions
from cgan_trainer.nets.patchgan import patchgan
from cgan_trainer.progress import note, progress
from cgan_trainer.training.config import Pix2pixConfig, RunOptions, check_config, command_line
from cgan_trainer.training.loop import TrainingRun
from cgan_trainer.training.run_folder import RunFolder

__all__ = ["describe", "train_pix2pix"]


def train_pix2pix(config: Pix2pixConfig, run: RunOptions) -> int:
    """Train, and return the exit code: 0 done or out of time, 130 interrupted."""
    check_config(config, run)
    folder = RunFolder(path=run.out)
    last = folder.find_last(resume=run.resume)
    threads = _set_threads(run, last)
    if last is not None:
        _check_same_config(config, last, run)
        if _is_complete(last):
            note(f"{run.out} is complete ({last.provenance['images']} images): nothing is left to do.")
            return 0
    domains = read_domains(run.data)
    train = _load(run, "train", config.size)
    split = find_validation(run.data)
    if split != "val":
        note(f"{run.data} has no val/ pictures: validating with {split}/.")
    held_out = _load(run, split, config.size)
    if last is not None:
        _check_same_pictures(train, held_out, last, run)
    training = TrainingRun(
        config, domains, train=train, held_out=held_out, held_out_split=split, folder=folder, last=last
    )
    folder.begin(config, run, threads=threads, images=training.counters.images)
    ended = training.run(max_minutes=run.max_minutes)
    images, total = training.counters.images, training.total
    if ended == "interrupted":
        note(f"Stopped at {images} of {total} images; to go on:\n  {command_line(config, run, resume=True)}")
        return 130
    if ended == "out of time":
        note(f"Time is up at {images} of {total} images; to go on:\n  {command_line(config, run, resume=True)}")
    return 0


def describe(config: Pix2pixConfig, run: RunOptions) -> str:
    """What a run would do, as JSON: resolved options, parameters, images. Reads names only, writes nothing."""
    check_config(config, run)
    options = Pix2pixOptions(size=config.size, ngf=config.ngf, dropout=config.dropout)
    with torch.device("meta"):
        networks = {"generator": Pix2pixGenerator(options), "discriminator": patchgan(ndf=config.ndf)}
    split = find_validation(run.data) if run.data.is_dir() else "val"
    pairs = {name: _count(run, name) for name in ("train", split)}
    last = run.out / "last.pt"
    return json.dumps(
        {
            "family": "pix2pix",
            "config": asdict(config),
            "data": str(run.data),
            "out": str(run.out),
            "parameters": {name: sum(p.numel() for p in net.parameters()) for name, net in networks.items()},
            "pairs": pairs,
            "images": config.total_images(pairs["train"]),
            "would": f"go on from {last}" if run.resume and last.exists() else f"write a new run to {run.out}",
        },
        indent=2,
    )


def _count(run: RunOptions, split: str) -> int:
    paths = list_pictures(run.data / split) if (run.data / split).is_dir() else []
    if not paths:
        load_pairs(run.data, split, 64)  # raises, with the sentence a real run would give
    return len(paths)


def _set_threads(run: RunOptions, last: Checkpoint | None) -> int:
    recorded = None if last is None or last.training is None else int(last.training["threads"])
    threads = run.threads or recorded or torch.get_num_threads()
    if recorded is not None and recorded != threads:
        note(f"Going on with {threads} threads instead of {recorded}: weights may differ in their last bits.")
    torch.set_num_threads(threads)
    return threads


def _load(run: RunOptions, split: str, size: int) -> Pairs:
    with progress(f"reading {split}", unit="pairs") as report:
        return load_pairs(run.data, split, size, on_file=report)


def _is_complete(last: Checkpoint) -> bool:
    return last.training is not None and last.training["counters"]["images"] >= last.training["total"]


def _check_same_config(config: Pix2pixConfig, last: Checkpoint, run: RunOptions) -> None:
    before = {} if last.training is None else last.training["config"]
    for name, value in asdict(config).items():
        if before.get(name) != value:
            flag = name.replace("_", "-")
            raise UsageError(
                f"--{flag} is {value}, but {run.out} was begun with {before.get(name)}: a resumed run keeps its "
                "options, so give them again as they were, or choose another --out."
            )


def _check_same_pictures(train: Pairs, held_out: Pairs, last: Checkpoint, run: RunOptions) -> None:
    before = last.provenance["dataset"]
    if (before["train_sha256"], before["held_out_sha256"]) != (train.sha256, held_out.sha256):
        raise BadInputError(
            f"the pictures in {run.data} are not those {run.out} was begun with: give the same --data, or choose "
            "another --out."
        )
