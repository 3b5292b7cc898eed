"""Fine-tuning: the first weights of a run from a checkpoint that was brought."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cgan_runtime.errors import BadInputError, UsageError
from cgan_runtime.progress import note
from torch import Tensor, nn

from cgan_trainer.checkpoint import Checkpoint, read_checkpoint
from cgan_trainer.checkpoint_paths import files_in_words
from cgan_trainer.families.base import Recipe
from cgan_trainer.families.translator import ImageTranslator
from cgan_trainer.generator import Generator
from cgan_trainer.readers import Choices, Held, Loaded, graphs_in, read_generator
from cgan_trainer.training.trainer import Trainer

__all__ = ["load_initial_weights"]


def load_initial_weights(path: Path, trainer: Trainer, chosen: Sequence[str] = ()) -> dict[str, str]:
    """Give the generators of a fresh trainer the weights of a file; its other networks too where they fit.

    Args:
        path: a checkpoint of ours, or of any source that cgan-export reads.
        trainer: fresh.
        chosen: names of graphs in the file, in the order of the run's own; empty: those whose names tell.

    Returns:
        Name and digest of the file, or of each file of a pair, for the provenance.

    Raises:
        BadInputError: the file is damaged or of no known kind, or holds several generators and none is chosen.
        UsageError: its network is another one than this run's, and what to ask for instead; or a name that is not
            in the file.
    """
    recipe = trainer.recipe
    graphs = recipe.graphs(recipe.networks)
    brought = _brought(recipe.initial_files(path), chosen)
    given = {name: graphs[name] for name in brought}
    digests: dict[str, str] = {}
    for name, loaded in brought.items():
        _load(loaded.path, loaded, given[name], recipe)
        digests[loaded.path.name] = loaded.file_sha256
    first = next(iter(brought.values()))
    words = ["generator" if len(given) == 1 else "generators"]
    if all(loaded.graph == name for name, loaded in brought.items()):  # else its judges know other images
        words += _other_networks(first.path, trainer, given)
    for name, average in trainer.averages.items():
        average.net.load_state_dict(trainer.recipe.networks[name].state_dict())
    of = f"{', '.join(loaded.graph for loaded in brought.values())} of " if len(first.graphs) > 1 else ""
    note(f"Going on from the {' and '.join(words)} of {path} ({of}{first.title}).")
    return {"file": ", ".join(digests), "sha256": ", ".join(digests.values())}


def _brought(files: Mapping[str, Path], chosen: Sequence[str]) -> dict[str, Loaded]:
    """What each graph of a run begins with; of a file with fewer graphs the others keep their first weights."""
    if len(chosen) > len(files):
        raise UsageError(
            f"--init-graph names {len(chosen)} generators, and this run has {len(files)} ({', '.join(files)}): "
            "name one for each, in this order."
        )
    named = dict(zip(files, chosen, strict=False))
    brought: dict[str, Loaded] = {}
    for file in dict.fromkeys(files.values()):
        held = graphs_in(file)
        wanted = [name for name, of in files.items() if of == file]
        given = {name: named[name] for name in wanted if name in named}
        _require_held(held, given.values())
        for name, graph in (given or _matching(held, wanted)).items():
            brought[name] = read_generator(held.path, Choices(graph=graph if len(held.ways) > 1 else None))
    return brought


def _require_held(held: Held, names: Iterable[str]) -> None:
    """Refuse a name that the user gave and the file does not have."""
    by_case = {name.casefold(): name for name in held.ways}
    for name in names:
        if name in held.ways:
            continue
        near = difflib.get_close_matches(name.casefold(), by_case, n=1, cutoff=0.5)
        hint = f" Did you mean {by_case[near[0]]}?" if near else ""
        holds = f"{files_in_words(list(held.ways))}.{hint}" if len(held.ways) > 1 else "one: leave it out."
        raise UsageError(f"--init-graph {name} is not in {held.path}, which holds {holds}")


def _matching(held: Held, wanted: Sequence[str]) -> dict[str, str]:
    """By graph of the run, the graph of the file that is called so, or that goes this way."""
    matching: dict[str, str] = {}
    for name in wanted:
        named = [other for other, way in held.ways.items() if name in (other, way)]
        if len(named) == 1:
            matching[name] = named[0]
    if held.default is not None:
        return matching or {wanted[0]: held.default}
    if len(matching) == len(wanted):
        return matching
    names = list(held.ways)
    several = f"{held.path} holds {len(names)} generators ({files_in_words(names)})"
    if len(wanted) == 1:
        raise BadInputError(f"{several}: choose one with --init-graph {names[0]}.")
    raise BadInputError(
        f"{several}, and their names do not tell which is {' and which '.join(wanted)}: name one for each, in this "
        f"order, such as --init-graph {','.join(names[: len(wanted)])}."
    )


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
