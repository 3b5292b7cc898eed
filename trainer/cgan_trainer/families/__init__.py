"""One file per family; a new one is one file and one line in the table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from cgan_runtime.contract import Contract
from cgan_runtime.errors import BadInputError

from cgan_trainer.checkpoint import Checkpoint
from cgan_trainer.families.pix2pix import Pix2pixGenerator
from cgan_trainer.generator import Generator

__all__ = ["FAMILIES", "build_generator"]

FAMILIES: dict[str, Callable[[Mapping[str, Any]], Generator]] = {
    "pix2pix": Pix2pixGenerator.from_options,
}


def build_generator(checkpoint: Checkpoint) -> Generator:
    """The generator of a checkpoint with its weights, in `eval()`.

    The weights are compared with the architecture before any memory is taken for it, so a file that promises
    a giant network is refused and not allocated. The tensors are shared with `checkpoint.state`.

    Raises:
        BadInputError: the family is unknown, or options, weights and contract do not describe one network.
    """
    try:
        make = FAMILIES[checkpoint.family]
    except KeyError:
        raise BadInputError(
            f"{checkpoint.path} holds a {checkpoint.family!r} generator, but this version builds only "
            f"{', '.join(FAMILIES)}: install the version that wrote it."
        ) from None
    try:
        with torch.device("meta"):
            generator = make(checkpoint.options)
    except (TypeError, ValueError) as error:
        raise BadInputError(f"{checkpoint.path} has options that describe no network: {error}") from error
    _check_state(checkpoint, generator)
    if not _agrees(generator.contract, checkpoint.contract):
        raise BadInputError(
            f"{checkpoint.path} carries a contract that its own options contradict: train or export it again."
        )
    generator.load_state_dict(checkpoint.state, strict=True, assign=True)
    return generator.eval()


def _agrees(contract: Contract, stored: dict[str, Any]) -> bool:
    """Compared as values: an older release stored fewer keys."""
    try:
        return Contract.from_json(stored) == contract
    except ValueError:
        return False


def _check_state(checkpoint: Checkpoint, generator: Generator) -> None:
    expected = {name: (tensor.shape, tensor.dtype) for name, tensor in generator.state_dict().items()}
    given = {name: (tensor.shape, tensor.dtype) for name, tensor in checkpoint.state.items()}
    wrong = sorted(name for name in expected.keys() | given.keys() if expected.get(name) != given.get(name))
    if wrong:
        raise BadInputError(
            f"{checkpoint.path} has weights that do not fit its options ({len(wrong)} of {len(expected)} tensors, "
            f"first {wrong[0]!r}): train or export it again."
        )
