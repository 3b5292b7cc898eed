"""CUT and FastCUT (contrastive-unpaired-translation): junyanz' ResNet that halves and doubles with a blur.

The filters lie in the file as buffers called filt, so they are read and not assumed. Either way may be without
(`--no_antialias`, `--no_antialias_up`); without both the file is one of junyanz' layout.
"""

from __future__ import annotations

import re

from cgan_trainer.readers.base import Notes, Plan, State
from cgan_trainer.readers.junyanz_resnet import CONV_IN_BLOCK, resnet_plan

__all__ = ["CutResnet"]


class CutResnet:
    """ResNet with anti-aliasing, of any number of blocks."""

    name = "cut-resnet"
    title = "a ResNet of CUT (contrastive-unpaired-translation)"
    keys = re.compile(
        r"model\.\d+(\.conv_block\.[0-7])?\.(weight|bias|running_mean|running_var|num_batches_tracked|filt)"
    )

    def recognises(self, state: State) -> bool:
        """Blocks called conv_block directly under the sequence, and filters in it."""
        return any(map(CONV_IN_BLOCK.fullmatch, state)) and any(key.endswith(".filt") for key in state)

    def plan(self, state: State, notes: Notes) -> Plan:
        """Everything but direction, size and eps is in the keys."""
        return resnet_plan(state, notes)
