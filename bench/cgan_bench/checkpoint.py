"""The checkpoint of a bundle as the generator the bundle was made from: the reference of every ratio and figure.

A file from other code leaves things open that the exporter was told or assumed: dropout live or not, the eps of the
norms, what the two sides show. The bundle keeps these choices, so the file is read with the same ones here.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cgan_runtime.contract import Contract, image_size
from cgan_runtime.errors import BadInputError, CganError, UsageError
from cgan_runtime.manifest import Manifest

if TYPE_CHECKING:
    from cgan_export.graph.sizes import SizeWish
    from cgan_trainer.generator import Generator
    from cgan_trainer.readers import Loaded

    from cgan_bench.target import Target

__all__ = ["generator_of"]

# Choices that only the exporter's command line records: the others stand among the options of the network.
FROM_COMMAND: Final = ("direction", "variant")


def generator_of(target: Target, *, threads: int) -> tuple[Generator, Contract]:
    """The generator of the target's checkpoint, in evaluation mode, as the same function as the target's bundle.

    Args:
        target: with a checkpoint and a bundle.
        threads: of PyTorch; 0 leaves the number to it.

    Raises:
        BadInputError: the checkpoint cannot be used, or it is not one the bundle could have been made from.
    """
    import torch
    from cgan_export.graph.sizes import sized
    from cgan_export.graph.statistics import with_statistics

    assert target.checkpoint is not None and target.bundle is not None  # noqa: S101 - `absence` was asked first
    if threads:
        torch.set_num_threads(threads)
    wanted = target.bundle.manifest.contract
    try:
        generator = _read(target.checkpoint, target.bundle.manifest).generator
    except CganError as error:
        raise BadInputError(str(error)) from error
    contract = generator.contract
    policy = None if wanted.statistics in ("none", contract.statistics) else wanted.statistics
    try:
        contract = sized(generator, contract, _size_wish(wanted))
        generator, contract = with_statistics(generator, contract, policy)
    except UsageError as error:  # it cannot have the bundle's size or statistics at all
        raise _another_contract(target.checkpoint, ["size or statistics"]) from error
    if different := [
        part for part in type(wanted).model_fields if getattr(contract, part) != getattr(wanted, part)
    ]:
        raise _another_contract(target.checkpoint, different)
    return generator, contract


def _another_contract(path: Path, different: list[str]) -> BadInputError:
    return BadInputError(
        f"{path} has another contract than the bundle (other {' and '.join(different)}); name the checkpoint that "
        "the bundle was exported from."
    )


def _read(path: Path, manifest: Manifest) -> Loaded:
    """The file, with the choices of the export where it is from other code."""
    from cgan_trainer.readers import READERS, Choices, read_generator

    graph = manifest.provenance.graph
    chosen = Choices(graph=None if graph == "main" else graph)  # main: of files that hold one
    if not any(reader.name == manifest.family for reader in READERS):
        return read_generator(path, chosen)  # our own files leave nothing else open
    told = {**_from_command(manifest.provenance.command), "graph": chosen.graph}
    loaded = read_generator(path, Choices(**told))
    ours, theirs = _recorded(loaded.options), _recorded(manifest.provenance.options)
    # Only what differs is given: a choice that means nothing for a layout is refused.
    other = {name: value for name, value in theirs.items() if name in ours and ours[name] != value}
    return read_generator(path, Choices(**{**told, **other})) if other else loaded


def _recorded(options: Mapping[str, Any]) -> dict[str, Any]:
    """The choices among the options of a network, as `Choices` has them."""
    from cgan_trainer.readers import Choices

    found = {field.name: options[field.name] for field in fields(Choices) if field.name in options}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in found.items()}


def _from_command(command: str) -> dict[str, Any]:
    """The value of each flag of FROM_COMMAND in a command line: ``--variant affine-norm`` or ``--variant=...``."""
    words = [part for word in shlex.split(command) for part in word.split("=", 1)]
    return {
        name: words[at + 1] for name in FROM_COMMAND for at, word in enumerate(words[:-1]) if word == f"--{name}"
    }


def _size_wish(wanted: Contract) -> SizeWish | None:
    """How the exporter was asked for the size of a contract; None where no image goes in."""
    from cgan_export.graph.sizes import SizeWish

    if wanted.sides is not None:
        return SizeWish()
    image = wanted.image_condition
    size = image_size(image) if image is not None else None
    return None if size is None else SizeWish(fixed=size)
