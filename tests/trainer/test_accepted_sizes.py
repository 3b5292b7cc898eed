"""The sizes that pix2pix takes are those its sentence names, no more and no fewer."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from cgan_runtime.errors import UsageError
from cgan_trainer.configs.base import check_config
from cgan_trainer.configs.pix2pix import Pix2pixConfig


def test_every_size_that_the_sentence_names_is_taken_and_every_other_refused() -> None:
    # A patch of one pixel, since the sizes of patches have a limit of their own.
    config = replace(Pix2pixConfig(), patch=1)
    with pytest.raises(UsageError) as refused:
        check_config(replace(config, size=96))
    named = {int(number) for number in re.findall(r"\d+", str(refused.value).partition("give ")[2])}
    assert named == {64, 128, 256, 512}
    taken = set()
    for size in {*range(60, 70), *(2**power + step for power in range(5, 11) for step in (-1, 0, 1)), 192, 286}:
        try:
            check_config(replace(config, size=size))
        except UsageError:
            continue
        taken.add(size)
    assert taken == named
