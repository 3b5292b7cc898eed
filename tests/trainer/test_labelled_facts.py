from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from cgan_trainer.data.kinds.labelled import LabelledData
from PIL import Image


def test_the_mean_image_is_that_of_the_training_split_alone(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 5, 5), dtype=np.uint8)
    for index, image in enumerate(pixels):
        folder = tmp_path / ("train" if index < 4 else "val") / f"class {index % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{index}.png")
    kind = LabelledData(5, mode="grey")
    facts = kind.facts(tmp_path, kind.load(tmp_path, "train"))
    assert facts.mean is not None
    expected = torch.from_numpy(pixels[:4]).double().mean(dim=0, keepdim=True) / 255
    torch.testing.assert_close(facts.mean, expected.float())
    assert kind.facts(tmp_path).mean is None
    assert facts == kind.facts(tmp_path)  # what it says of itself is the same
