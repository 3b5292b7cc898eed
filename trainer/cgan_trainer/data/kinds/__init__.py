"""One file per kind of data: pairs, unpaired folders, labelled images."""

from cgan_trainer.data.kinds.base import DataKind, Facts, Source, Split

__all__ = ["DataKind", "Facts", "Source", "Split"]
