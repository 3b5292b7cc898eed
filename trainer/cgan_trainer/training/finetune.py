"""Fine-tuning: the first weights of a run from a checkpoint that was brought."""

from __future__ import annotations

import re
from pathlib import Path

from cgan_runtime.errors import BadInputError, UsageError
from cgan_runtime.progress import note
from torch import Tensor

from cgan_trainer.families.pix2pix import Pix2pixGenerator
from cgan_trainer.families.translator import ImageTranslator
from cgan_trainer.readers import read_generator
from cgan_trainer.training.pix2pix import Pix2pixTrainer

__all__ = ["load_initial_weights"]


def load_initial_weights(path: Path, trainer: Pix2pixTrainer) -> dict[str, str]:
    """Give the trainer's generator the weights of a file; its discriminator too where the file has a fitting one.

    Args:
        path: a checkpoint of ours, or of any source that cgan-export reads.
        trainer: fresh.

    Returns:
        Name and digest of the file, for the provenance.

    Raises:
        BadInputError: the file is damaged or of no known kind.
        UsageError: its network is another one than this run's, and what to ask for instead.
    """
    loaded = read_generator(path)
    brought = loaded.generator
    if not isinstance(brought, ImageTranslator):
        raise BadInputError(
            f"{path} is {loaded.title}, which turns no picture into a picture: name a pix2pix, CycleGAN or ResNet "
            "checkpoint as --init-from."
        )
    _check_fits(path, brought, trainer.generator)
    state = brought.network.state_dict()
    trainer.generator.network.load_state_dict(state)
    if trainer.average is not None:
        trainer.average.net.load_state_dict(trainer.generator.state_dict())
    words = "generator"
    if trainer.discriminator is not None and (given := _discriminator(path, trainer)) is not None:
        trainer.discriminator.load_state_dict(given)
        words = "generator and discriminator"
    note(f"Going on from the {words} of {path} ({loaded.title}).")
    return {"file": path.name, "sha256": loaded.file_sha256}


def _check_fits(path: Path, brought: ImageTranslator, ours: Pix2pixGenerator) -> None:
    theirs = {name: tuple(value.shape) for name, value in brought.network.state_dict().items()}
    wanted = {name: tuple(value.shape) for name, value in ours.network.state_dict().items()}
    wrong = sorted(name for name in theirs.keys() | wanted.keys() if theirs.get(name) != wanted.get(name))
    if wrong:
        name = wrong[0]
        raise UsageError(
            f"--init-from {path} does not fit this run in {len(wrong)} of {len(wanted)} tensors, first {name}: "
            f"{_shape(theirs.get(name))} in the file, {_shape(wanted.get(name))} here; {_advice(theirs, wanted)}."
        )
    sites = [[mask.site.partition(".")[2] for mask in net.contract.noise] for net in (brought, ours)]
    if sites[0] != sites[1]:
        raise UsageError(
            f"--init-from {path} has dropout in {len(sites[0])} places ({', '.join(sites[0]) or 'none'}), "
            f"this run has it in {len(sites[1])} ({', '.join(sites[1]) or 'none'}): choose another --dropout."
        )


def _advice(theirs: dict[str, tuple[int, ...]], wanted: dict[str, tuple[int, ...]]) -> str:
    if ("head.conv.weight" in theirs) != ("head.conv.weight" in wanted):  # only a ResNet has one
        return "choose --net, --size and --norm as it was trained with"
    first = "head.conv.weight" if "head.conv.weight" in theirs else "down.0.conv.weight"
    if first in theirs and first in wanted and theirs[first][0] != wanted[first][0]:
        return f"give --ngf {theirs[first][0]}"
    if first in theirs and first in wanted and theirs[first][1] != wanted[first][1]:
        return (
            f"it takes {theirs[first][1]} channels, this run gives {wanted[first][1]}: choose another --condition"
        )
    depths = [
        len([name for name in net if re.fullmatch(r"down\.\d+\.conv\.weight", name)]) for net in (theirs, wanted)
    ]
    if first.startswith("down") and depths[0] != depths[1]:
        return f"it has {depths[0]} levels, so give --size {2 ** depths[0]}"
    return "choose --net, --size and --norm as it was trained with"


def _shape(shape: tuple[int, ...] | None) -> str:
    return "absent" if shape is None else str(list(shape))


def _discriminator(path: Path, trainer: Pix2pixTrainer) -> dict[str, Tensor] | None:
    """Of a last.pt of ours whose discriminator is built like this run's."""
    from cgan_trainer.checkpoint import read_checkpoint

    try:
        training = read_checkpoint(path).training
    except BadInputError:  # a file from other code: it has a generator only
        return None
    given = (training or {}).get("discriminator")
    if given is None or trainer.discriminator is None:
        return None
    wanted = trainer.discriminator.state_dict()
    fits = given.keys() == wanted.keys() and all(given[name].shape == wanted[name].shape for name in wanted)
    return given if fits else None
