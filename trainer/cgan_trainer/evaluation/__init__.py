"""How good a generator is: one file per measure, and one judge per kind of data.

This layer reads no run folder and knows no family: it is given generators, the facts of a dataset and its splits.
"""

from cgan_trainer.evaluation.base import Column, Compared, Figure, ImageSets, Labels, Measure, measure
from cgan_trainer.evaluation.judge import Exhibit, Gallery, Judge, Judged, Row, Subject
from cgan_trainer.evaluation.labelled import LABELLED_MEASURES, judge_labelled
from cgan_trainer.evaluation.paired import PAIRED_MEASURES, judge_paired
from cgan_trainer.evaluation.unpaired import UNPAIRED_MEASURES, judge_unpaired

__all__ = [
    "LABELLED_MEASURES",
    "PAIRED_MEASURES",
    "UNPAIRED_MEASURES",
    "Column",
    "Compared",
    "Exhibit",
    "Figure",
    "Gallery",
    "ImageSets",
    "Judge",
    "Judged",
    "Labels",
    "Measure",
    "Row",
    "Subject",
    "judge_labelled",
    "judge_paired",
    "judge_unpaired",
    "measure",
]
