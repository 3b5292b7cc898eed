"""How every source makes an image fit and turns a value into a pixel: the source's rules, no default of ours.

junyanz, CUT base_dataset.py, `Image.BICUBIC`; util.py, `astype(uint8)` cuts the fraction off
PyTorch-GAN  `transforms.Resize(..., Image.BICUBIC)`; `save_image` adds 0.5 before it cuts
affinelayer  `tf.image.resize_images` by area; `convert_image_dtype` with saturation rounds
"""

from __future__ import annotations

from pathlib import Path

import pytest
from cgan_runtime.contract import ImageEncoding
from cgan_trainer.readers import Choices, read_generator

from tests.export.sources.files import FILES

RULES = {
    "unet": ("bicubic", "truncate"),
    "resnet": ("bicubic", "truncate"),
    "cut": ("bicubic", "truncate"),
    "pytorch-gan": ("bicubic", "nearest"),
    "affinelayer": ("box", "nearest"),
}
OTHERS = {"bicubic": "bilinear", "box": "bicubic", "truncate": "nearest", "nearest": "truncate"}


def encodings(kind: str, folder: Path, **choices: object) -> list[tuple[str, str]]:
    made = FILES[kind]()
    path = folder / made.name
    path.write_bytes(made.data)
    contract = read_generator(path, Choices(size=made.size, **choices)).generator.contract  # type: ignore[arg-type]  # any choice
    all_of_them = [item.encoding for item in contract.conditions] + [item.encoding for item in contract.outputs]
    found = [encoding for encoding in all_of_them if isinstance(encoding, ImageEncoding)]
    assert found
    return [(encoding.filter, encoding.rounding) for encoding in found]


@pytest.mark.parametrize("kind", [kind for kind in FILES if kind != "pytorch-gan-cgan"])
def test_every_layout_has_its_sources_filter_and_rounding(kind: str, tmp_path: Path) -> None:
    (rule,) = (rule for start, rule in RULES.items() if kind.startswith(start))
    assert set(encodings(kind, tmp_path)) == {rule}
    other = (OTHERS[rule[0]], OTHERS[rule[1]])
    assert set(encodings(kind, tmp_path, filter=other[0], rounding=other[1])) == {other}
