"""Where a run stands, and the checkpoint that says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import torch
from cgan_runtime import __version__

from cgan_trainer.checkpoint import Graph, write_checkpoint
from cgan_trainer.configs.base import TrainConfig
from cgan_trainer.data.kinds import Split
from cgan_trainer.families.base import Networks, Recipe
from cgan_trainer.training.plateau import Plateau

__all__ = ["RunState", "write_state"]


@dataclass(kw_only=True)
class RunState:
    """What grows while training, besides the networks; all of it is in last.pt.

    Attributes:
        stage: name of the current one.
        images: seen so far.
        seconds: spent so far.
        best: the figure of best.pt.
        validation: the newest figures.
        sums: what was measured since the last row of metrics.csv.
        plateau: how validation went.
    """

    stage: str
    images: int = 0
    seconds: float = 0.0
    best: float | None = None
    validation: dict[str, float] = field(default_factory=dict)
    sums: dict[str, Any] = field(default_factory=dict)
    plateau: Plateau = field(default_factory=Plateau)

    @classmethod
    def of(cls, training: Mapping[str, Any]) -> Self:
        """From the `training` of a checkpoint."""
        return cls(stage=training["stage"], plateau=Plateau(**training["plateau"]), **training["counters"])

    def to_dict(self, config: TrainConfig) -> dict[str, Any]:
        """Plain values, with the config that a resumed run must have: what `of` reads."""
        counters = asdict(self)
        stage, plateau = counters.pop("stage"), counters.pop("plateau")
        return {"config": asdict(config), "stage": stage, "plateau": plateau, "counters": counters}


def write_state(
    path: Path,
    *,
    recipe: Recipe[Any, Any],
    networks: Networks,
    held_out: Split,
    provenance: Mapping[str, Any],
    training: Mapping[str, Any] | None,
) -> None:
    """Write the graphs of a recipe as a checkpoint.

    Args:
        path: the file.
        recipe: names the graphs and their options.
        networks: the trained ones, or their averages.
        held_out: where examples come from.
        provenance: what is said of the run.
        training: what a resumed run needs; None in best.pt.
    """
    graphs = {
        name: Graph(options=recipe.graph_options(name), contract=graph.contract.to_json(), state=graph.state_dict())
        for name, graph in recipe.graphs(networks).items()
    }
    versions = {"torch": torch.__version__.split("+")[0], "cgan_deploy": __version__}
    write_checkpoint(
        path,
        family=recipe.config.family,
        graphs=graphs,
        examples={name: recipe.examples(name, held_out) for name in graphs},
        provenance={**provenance, **recipe.provenance(), **versions},
        training=training,
    )
