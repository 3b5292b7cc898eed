"""The families, one file each; a new one is that file, its options in configs/, and a line in either table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import torch
from cgan_runtime.contract import Contract
from cgan_runtime.errors import BadInputError
from torch import Tensor

from cgan_trainer.checkpoint import Checkpoint, Graph
from cgan_trainer.configs import CONFIGS
from cgan_trainer.families.base import Family
from cgan_trainer.families.cdcgan import CDCGAN
from cgan_trainer.families.cgan import CGAN
from cgan_trainer.families.cyclegan import CYCLEGAN
from cgan_trainer.families.pix2pix import PIX2PIX
from cgan_trainer.generator import Generator

__all__ = ["FAMILIES", "build_graph", "register"]

FAMILIES: Final[dict[str, Family[Any, Any]]] = {family.name: family for family in (PIX2PIX, CGAN, CDCGAN, CYCLEGAN)}


def register(family: Family[Any, Any]) -> None:
    """Add a family of your own: cgan-train, checkpoints and cgan-export know it in this process from now on."""
    CONFIGS[family.name] = family.config
    FAMILIES[family.name] = family


def build_graph(checkpoint: Checkpoint, name: str) -> Generator:
    """A graph of a checkpoint with its weights, in `eval()`.

    The weights are compared with the architecture before any memory is taken for it, so a file that promises
    a giant network is refused and not allocated. The tensors are shared with the checkpoint's.

    Raises:
        BadInputError: the family is unknown, or options, weights and contract do not describe one network.
    """
    family, graph = FAMILIES.get(checkpoint.family), checkpoint.graphs[name]
    if family is None:
        raise BadInputError(
            f"{checkpoint.path} holds a {checkpoint.family!r} generator, but this version builds only "
            f"{', '.join(FAMILIES)}: install the version that wrote it."
        )
    try:
        with torch.device("meta"):
            generator = family.rebuild(name, graph.options)
            contract = generator.contract
    # Whatever a wrong value leads to: a missing key, a division, or a size that torch refuses.
    except (TypeError, ValueError, AttributeError, LookupError, ArithmeticError, RuntimeError) as error:
        raise BadInputError(f"{checkpoint.path} has options that describe no network: {error}") from error
    _check_state(checkpoint, graph, generator.state_dict())
    if not _agrees(contract, graph):
        raise BadInputError(
            f"{checkpoint.path} carries a contract that its own options contradict: train or export it again."
        )
    generator.load_state_dict(dict(graph.state), strict=True, assign=True)
    return generator.eval()


def _agrees(contract: Contract, graph: Graph) -> bool:
    """Compared as values: an older release stored fewer keys."""
    try:
        return Contract.from_json(dict(graph.contract)) == contract
    except ValueError:
        return False


def _check_state(checkpoint: Checkpoint, graph: Graph, built: Mapping[str, Tensor]) -> None:
    expected = {name: (tensor.shape, tensor.dtype) for name, tensor in built.items()}
    given = {name: (tensor.shape, tensor.dtype) for name, tensor in graph.state.items()}
    wrong = sorted(name for name in expected.keys() | given.keys() if expected.get(name) != given.get(name))
    if wrong:
        raise BadInputError(
            f"{checkpoint.path} has weights that do not fit its options ({len(wrong)} of {len(expected)} tensors, "
            f"first {wrong[0]!r}): train or export it again."
        )
