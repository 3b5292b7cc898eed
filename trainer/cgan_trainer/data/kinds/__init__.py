"""One file per kind of data: pairs, unpaired domains, labelled images."""

from cgan_trainer.data.kinds.base import DataKind, Facts, Source, Split
from cgan_trainer.data.kinds.labelled import LabelledData, LabelledFacts
from cgan_trainer.data.kinds.paired import PairedData, PairedFacts
from cgan_trainer.data.kinds.unpaired import UnpairedData, UnpairedFacts

__all__ = [
    "DataKind",
    "Facts",
    "LabelledData",
    "LabelledFacts",
    "PairedData",
    "PairedFacts",
    "Source",
    "Split",
    "UnpairedData",
    "UnpairedFacts",
]
