"""The options of every family, without torch: a family's file here, and a line in the table."""

from __future__ import annotations

from typing import Final

from cgan_trainer.configs.base import TrainConfig
from cgan_trainer.configs.cdcgan import CdcganConfig
from cgan_trainer.configs.cgan import CganConfig
from cgan_trainer.configs.cyclegan import CycleganConfig
from cgan_trainer.configs.pix2pix import Pix2pixConfig

__all__ = ["CONFIGS", "TrainConfig"]

CONFIGS: Final[dict[str, type[TrainConfig]]] = {
    config.family: config for config in (Pix2pixConfig, CganConfig, CdcganConfig, CycleganConfig)
}
