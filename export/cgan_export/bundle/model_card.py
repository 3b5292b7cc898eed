"""The bundle's README.md: what the model takes and gives, how to run it, how faithful it is, its origin."""

from __future__ import annotations

import json
from typing import Final

from cgan_runtime.contract import Condition, Contract, Output
from cgan_runtime.manifest import Artifact, Provenance
from cgan_trainer.unfinished import unfinished

from cgan_export.bundle.card_tables import contract_table, fidelity_table, kind_of, origin_table, plain
from cgan_export.bundle.image_grid import grid_caption
from cgan_export.bundle.next_commands import next_commands
from cgan_export.fidelity.case import MIN_SAMPLES
from cgan_export.fidelity.heatmap import has_pixels

__all__ = ["model_card"]

_STATISTICS: Final = {
    "per_sample": "Normalisation layers take the statistics of each sample, so a batch changes nothing.",
    "running": "Normalisation layers take the averages of training.",
    "none": "There is no layer that normalises over a batch.",
}


def model_card(
    name: str,
    family: str,
    contract: Contract,
    artifacts: tuple[Artifact, ...],
    origin: Provenance,
    *,
    undefined: tuple[str, ...] = (),
) -> str:
    """Markdown text of the card.

    Args:
        name: of the model.
        family: of the generator.
        contract: its signature.
        artifacts: with their figures.
        origin: where the bundle comes from.
        undefined: on what the generator itself is lost in rounding.
    """
    shown = any(has_pixels(output) for output in contract.outputs)
    caption = grid_caption(contract)
    grid = f"\n![{caption}](golden/grid.png)\n\n*{caption[0].upper()}{caption[1:]}.*\n" if shown else ""
    commands = "\n".join(next_commands(contract, name))
    stopped = f"\n{said}\n" if (said := unfinished(origin.training)) else ""
    return f"""# {name}

{_summary(family, contract)}
{grid}
## What goes in and what comes out

{contract_table(contract)}

{_contract_notes(contract)}

## How to run it

Here `{name}` stands for the folder of this file.

```
{commands}
```

In Python, where cgan-deploy is installed; torch is not needed:

```python
{_python(name, contract)}
```

## Fidelity

Before the bundle was written, each artifact of the table was compared with PyTorch on at least {MIN_SAMPLES}
samples under the same conditions and the same noise; limits are in brackets. `report.html` shows the worst samples.

{fidelity_table(artifacts)}
{_kept(artifacts)}
## Where it comes from

{origin_table(origin)}
{stopped}{_assumed(origin)}
## Limits and licence

* The figures say that this is the same model as the checkpoint. They do not say how good its results are.
* They were measured with ONNX Runtime on a CPU; `cgan-export verify` repeats those that need no checkpoint.
{_undefined(undefined)}\
* The bundle does not say under which licence the weights and the training images are: ask who trained the model.
"""


def _summary(family: str, contract: Contract) -> str:
    """What it makes of what, and what a seed decides."""
    given = [_one(condition) for condition in contract.conditions] + ["a seed"] * bool(contract.noise)
    made = [_one(output) for output in contract.outputs]
    seed = (
        "One seed gives one result, alone or in any batch, within the limits below."
        if contract.noise
        else "There is no noise: one condition gives one result, whatever the seed."
    )
    return f"A `{family}` generator: from {_joined(given)} it makes {_joined(made)}. {seed}"


def _one(tensor: Condition | Output) -> str:
    """A tensor as a sentence names it: "an RGB image (map)"."""
    kind = kind_of(tensor)
    meaning = f" ({plain(tensor.meaning)})" if tensor.meaning else ""
    return f"{'an' if kind.startswith('RGB') else 'a'} {kind}{meaning}"


def _joined(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _contract_notes(contract: Contract) -> str:
    notes = ["Shapes are those of one sample; a call has the batch as the first axis."]
    if contract.noise:
        notes.append("Noise is not given: it follows from a seed, 0 to 18446744073709551615.")
    if contract.sides is not None:
        sides = contract.sides
        notes.append(f"Height and width are multiples of {sides.multiple} from {sides.min} to {sides.max}.")
    notes.append(_STATISTICS[contract.statistics])
    return " ".join(notes)


def _python(name: str, contract: Contract) -> str:
    """A call with conditions of zeros: the shortest code that runs."""
    side = contract.sides.min if contract.sides else 0
    given = ", ".join(
        f'"{c.name}": np.zeros({(1, *(side if isinstance(axis, str) else axis for axis in c.shape))}, "{c.dtype}")'
        for c in contract.conditions
    )
    return f"""from pathlib import Path

import numpy as np
from cgan_runtime import read_bundle

generator = read_bundle(Path({json.dumps(name)})).generator()
conditions = {{{given}}}
results = generator.generate(conditions, seeds=[7], draws=[0])
print(results["{contract.outputs[0].name}"].shape)"""


def _kept(artifacts: tuple[Artifact, ...]) -> str:
    lines = [f"Kept in FP32 in `{one.path}`: {', '.join(map(plain, one.kept))}." for one in artifacts if one.kept]
    if any(one.precision == "fp16" for one in artifacts):
        lines.append("FP16 was measured with every result rounded to half precision, as on a GPU.")
    lines += [
        f"`{one.path}` was built, not run: where it was built, it could not be."
        for one in artifacts
        if one.plan is not None and not one.fidelity
    ]
    return "".join(f"\n{line}\n" for line in lines)


def _assumed(origin: Provenance) -> str:
    """What is not in the checkpoint and nobody said."""
    if not origin.assumed:
        return ""
    lines = "\n".join(f"* {plain(one)}" for one in origin.assumed)
    return f"\nThe checkpoint does not say the following, so it was assumed:\n\n{lines}\n"


def _undefined(undefined: tuple[str, ...]) -> str:
    """A line of the limits; nothing for a generator that is well conditioned on all that was tried."""
    if not undefined:
        return ""
    return (
        f"* The generator is undefined on {_joined(list(undefined))}: its normalisation divides by almost nothing "
        "there, so what comes out is amplified rounding. PyTorch in FP32 is as far from float64 as any other "
        "program, and the checks leave such images out.\n"
    )
