"""The bundle's README.md: what the model does, how faithful it is, how to run it."""

from __future__ import annotations

from cgan_runtime.contract import Contract
from cgan_runtime.manifest import Artifact, Provenance
from cgan_trainer.unfinished import unfinished

from cgan_export.bundle.image_grid import grid_caption
from cgan_export.bundle.next_commands import next_commands
from cgan_export.fidelity.heatmap import has_pixels
from cgan_export.fidelity.labels import label_of

__all__ = ["model_card"]


def model_card(
    name: str, family: str, contract: Contract, artifacts: tuple[Artifact, ...], origin: Provenance
) -> str:
    """Markdown text of the card."""
    tables = "\n".join(_fidelity(artifact) for artifact in artifacts)
    shown = any(has_pixels(output) for output in contract.outputs)
    grid = f"\n![{grid_caption(contract)}](golden/grid.png)\n" if shown else ""
    commands = "\n".join(f"    {command}" for command in next_commands(contract, name))
    training = "\n".join(f"* {key}: {value}" for key, value in origin.training.items())
    stopped = f"\n{said}\n" if (said := unfinished(origin.training)) else ""
    graph = f", graph `{origin.graph}`" if origin.graph != "main" else ""
    return f"""# {name}

A `{family}` generator as a pure function: {_signature(contract)}. The same seed gives the same result on
every backend, alone or in any batch. Normalisation statistics: {contract.statistics}.
{grid}
## Run it

{commands}

{tables}
The worst samples are shown in `report.html`.

## Where it comes from

Checkpoint `{origin.checkpoint}`{graph}, SHA-256 `{origin.checkpoint_sha256}`, exported {origin.created}.
{stopped}
{training}
"""


def _fidelity(artifact: Artifact) -> str:
    rows = "\n".join(
        f"| {key} | {figure.value:.4g} {figure.unit} | {figure.rule} {figure.limit:.4g} | {label_of(key, figure)} |"
        for key, figure in artifact.fidelity.items()
    )
    kept = f"\nKept in FP32: {', '.join(artifact.kept)}.\n" if artifact.kept else ""
    return f"""## Fidelity of {artifact.path} ({artifact.precision})

| figure | measured | limit | meaning |
|---|---|---|---|
{rows}
{kept}"""


def _signature(contract: Contract) -> str:
    inputs = ", ".join(f"{c.name} ({c.meaning})" if c.meaning else c.name for c in contract.conditions)
    outputs = ", ".join(f"{o.name} ({o.meaning})" if o.meaning else o.name for o in contract.outputs)
    if not inputs:
        return f"{outputs} from a seed alone"
    return f"{outputs} from {inputs}{' and a seed' if contract.noise else ''}"
