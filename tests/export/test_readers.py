"""A file from other code becomes the model its own source would run, to the last float."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from cgan_trainer.readers import Choices, Loaded, read_generator
from torch import Tensor

from tests.export.sources.files import FILES, SourceFile

TOLERANCE = 1e-4  # of a range of 2: what parity of FP32 is held to everywhere


def load(made: SourceFile, folder: Path, **choices: object) -> Loaded:
    path = folder / made.name
    path.write_bytes(made.data)
    return read_generator(path, Choices(**{"size": made.size, **choices}))  # type: ignore[arg-type]


def inputs_of(loaded: Loaded, batch: int = 2) -> list[Tensor]:
    """Random conditions and noise of the contract."""
    draws = torch.Generator().manual_seed(3)
    contract = loaded.generator.contract
    values: list[Tensor] = []
    for tensor in (*contract.conditions, *contract.noise):
        shape = (batch, *(int(axis) for axis in tensor.shape))
        if tensor.dtype == "int64":
            values.append(torch.arange(batch) + 3)
        elif getattr(tensor, "distribution", "") == "mask":
            values.append(torch.randint(0, 2, shape, generator=draws) * 2.0)
        else:
            values.append(torch.rand(shape, generator=draws) * 2 - 1)
    return values


@pytest.mark.parametrize("kind", FILES)
def test_the_generator_is_the_sources_own(kind: str, tmp_path: Path) -> None:
    made = FILES[kind]()
    loaded = load(made, tmp_path)
    inputs = inputs_of(loaded)
    with torch.no_grad():
        ours = loaded.generator(*inputs)
    theirs = made.forward(*inputs)
    assert ours.shape == theirs.shape == (2, *loaded.generator.contract.outputs[0].shape)
    assert theirs.std() > 0.02, "the source's picture says something"
    torch.testing.assert_close(ours, theirs, rtol=0, atol=TOLERANCE)
