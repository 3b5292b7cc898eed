"""Fine-tuning: the first weights of a run from a checkpoint that was brought."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cgan_runtime.errors import BadInputError, UsageError
from cgan_runtime.progress import note
from torch import Tensor, nn

from cgan_trainer.checkpoint import Checkpoint, read_checkpoint
from cgan_trainer.families.base import Recipe
from cgan_trainer.families.translator import ImageTranslator
from cgan_trainer.generator import Generator
from cgan_trainer.readers import Choices, Loaded, read_generator
from cgan_trainer.training.trainer import Trainer

__all__ = ["load_initial_weights"]


def load_initial_weights(path: Path, trainer: Trainer) -> dict[str, str]:
    """Give the generators of a fresh trainer the weights of a file; its other networks too where they fit.

    Args:
        path: a checkpoint of ours, or of any source that cgan-export reads.
        trainer: fresh.

    Returns:
        Name and digest of the file, or of each file of a pair, for the provenance.

    Raises:
        BadInputError: the file is damaged or of no known kind.
        UsageError: its network is another one than this run's, and what to ask for instead.
    """
    recipe = trainer.recipe
    graphs = recipe.graphs(recipe.networks)
    files = recipe.initial_files(path)
    first = read_generator(next(iter(files.values())))
    given: dict[str, Generator] = {}
    digests: dict[str, str] = {}
    for name, file in files.items():
        if file == first.path and name not in first.graphs and given:
            continue  # a file with one generator: the others keep their first weights
        wanted = name if file == first.path and len(first.graphs) > 1 and name in first.graphs else None
        brought = read_generator(file, Choices(graph=wanted))
        _load(file, brought, graphs[name], recipe)
        given[name], digests[file.name] = graphs[name], brought.file_sha256
    words = ["generator" if len(given) == 1 else "generators", *_other_networks(first.path, trainer, given)]
    for name, average in trainer.averages.items():
        average.net.load_state_dict(trainer.recipe.networks[name].state_dict())
    note(f"Going on from the {' and '.join(words)} of {path} ({first.title}).")
    return {"file": ", ".join(digests), "sha256": ", ".join(digests.values())}


def _load(path: Path, brought: Loaded, mine: Generator, recipe: Recipe[Any, Any]) -> None:
    theirs = brought.generator
    if isinstance(mine, ImageTranslator) != isinstance(theirs, ImageTranslator):
        raise BadInputError(
            f"{path} is {brought.title} with another kind of generator than this run's: name a checkpoint of the "
            "same family as --init-from."
        )
    _check_fits(path, theirs, mine, recipe)
    _network(mine).load_state_dict(_network(theirs).state_dict())


def _network(generator: Generator) -> nn.Module:
    """What carries the weights: files of other projects call the module around it otherwise."""
    return generator.network if isinstance(generator, ImageTranslator) else generator


def _check_fits(path: Path, brought: Generator, ours: Generator, recipe: Recipe[Any, Any]) -> None:
    theirs = {name: tuple(value.shape) for name, value in _network(brought).state_dict().items()}
    wanted = {name: tuple(value.shape) for name, value in _network(ours).state_dict().items()}
    advice = recipe.fitting(theirs, wanted)
    wrong = sorted(name for name in theirs.keys() | wanted.keys() if theirs.get(name) != wanted.get(name))
    if wrong:
        name = wrong[0]
        raise UsageError(
            f"--init-from {path} does not fit this run in {len(wrong)} of {len(wanted)} tensors, first {name}: "
            f"{_shape(theirs.get(name))} in the file, {_shape(wanted.get(name))} here; {advice}."
        )
    sites = [[noise.site.partition(".")[2] for noise in net.contract.noise] for net in (brought, ours)]
    if sites[0] != sites[1]:
        raise UsageError(
            f"--init-from {path} has dropout in {len(sites[0])} places ({', '.join(sites[0]) or 'none'}), "
            f"this run has it in {len(sites[1])} ({', '.join(sites[1]) or 'none'}): {advice}."
        )


def _shape(shape: tuple[int, ...] | None) -> str:
    return "absent" if shape is None else str(list(shape))


def _other_networks(path: Path, trainer: Trainer, parts: Mapping[str, Generator]) -> list[str]:
    """Names of the other networks that a last.pt of ours has in the same form; they get its weights."""
    given = _training_networks(path)
    taken = []
    covered = {id(module) for part in parts.values() for module in part.modules()}
    for name, network in trainer.recipe.networks.items():
        state = given.get(name)
        if id(network) in covered or state is None:
            continue
        mine = network.state_dict()
        if state.keys() == mine.keys() and all(state[key].shape == mine[key].shape for key in mine):
            network.load_state_dict(dict(state))
            taken.append(name)
    return taken


def _training_networks(path: Path) -> Mapping[str, Mapping[str, Tensor]]:
    try:
        checkpoint: Checkpoint = read_checkpoint(path)
    except BadInputError:  # a file from other code: it has a generator only
        return {}
    networks: Mapping[str, Mapping[str, Tensor]] = (checkpoint.training or {}).get("networks", {})
    return networks
