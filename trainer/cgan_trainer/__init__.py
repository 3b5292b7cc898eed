"""Train conditional-GAN generators and save them as checkpoints that carry their contract.

The names below are the public interface. Each is imported from its module on first use, so that `import
cgan_trainer` needs no torch.

>>> from cgan_trainer import build_graph, read_checkpoint  # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from cgan_runtime import __version__

if TYPE_CHECKING:
    from cgan_trainer.checkpoint import Checkpoint, Graph, read_checkpoint, write_checkpoint
    from cgan_trainer.configs import CONFIGS
    from cgan_trainer.configs.base import RunOptions, TrainConfig
    from cgan_trainer.data.kinds.base import DataKind, Facts, Source, Split
    from cgan_trainer.evaluation.base import Column, Figure, Measure
    from cgan_trainer.evaluation.judge import Judge, Judged, Subject
    from cgan_trainer.evaluation.result import Evaluation
    from cgan_trainer.families import FAMILIES, build_graph, register
    from cgan_trainer.families.base import (
        Batch,
        Best,
        Family,
        Losses,
        OptimizerSpec,
        Phase,
        Progress,
        Recipe,
        SampleGrid,
        Stage,
    )
    from cgan_trainer.generator import Generator, as_used
    from cgan_trainer.readers import READERS, Loaded, read_generator
    from cgan_trainer.readers.base import Choices, Entry, Notes, Plan, Reader
    from cgan_trainer.training.judge_run import evaluate_run
    from cgan_trainer.training.start import train

__all__ = [
    "CONFIGS",
    "FAMILIES",
    "READERS",
    "Batch",
    "Best",
    "Checkpoint",
    "Choices",
    "Column",
    "DataKind",
    "Entry",
    "Evaluation",
    "Facts",
    "Family",
    "Figure",
    "Generator",
    "Graph",
    "Judge",
    "Judged",
    "Loaded",
    "Losses",
    "Measure",
    "Notes",
    "OptimizerSpec",
    "Phase",
    "Plan",
    "Progress",
    "Reader",
    "Recipe",
    "RunOptions",
    "SampleGrid",
    "Source",
    "Split",
    "Stage",
    "Subject",
    "TrainConfig",
    "__version__",
    "as_used",
    "build_graph",
    "evaluate_run",
    "read_checkpoint",
    "read_generator",
    "register",
    "train",
    "write_checkpoint",
]

_MODULES: Final = {
    "checkpoint": ("Checkpoint", "Graph", "read_checkpoint", "write_checkpoint"),
    "configs": ("CONFIGS",),
    "configs.base": ("RunOptions", "TrainConfig"),
    "data.kinds.base": ("DataKind", "Facts", "Source", "Split"),
    "evaluation.base": ("Column", "Figure", "Measure"),
    "evaluation.judge": ("Judge", "Judged", "Subject"),
    "evaluation.result": ("Evaluation",),
    "families": ("FAMILIES", "build_graph", "register"),
    "families.base": (
        "Batch",
        "Best",
        "Family",
        "Losses",
        "OptimizerSpec",
        "Phase",
        "Progress",
        "Recipe",
        "SampleGrid",
        "Stage",
    ),
    "generator": ("Generator", "as_used"),
    "readers": ("READERS", "Loaded", "read_generator"),
    "readers.base": ("Choices", "Entry", "Notes", "Plan", "Reader"),
    "training.judge_run": ("evaluate_run",),
    "training.start": ("train",),
}
_HOME: Final = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """A public name, from its module."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    """The public names."""
    return __all__
