"""Judging a generator that is given a class: images of every class, read by a classifier trained on real ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from cgan_runtime.contract import Condition, LabelEncoding
from cgan_runtime.errors import BadInputError, UsageError
from cgan_runtime.progress import note
from jaxtyping import Int64, UInt8
from torch import Tensor

from cgan_trainer.data.kinds.base import Split
from cgan_trainer.evaluation.accuracy import ACCURACY
from cgan_trainer.evaluation.base import Measure, columns, measure
from cgan_trainer.evaluation.by_class import ByClass, Density, rows_of
from cgan_trainer.evaluation.classifier import Classifier, trained_classifier
from cgan_trainer.evaluation.frechet import FRECHET
from cgan_trainer.evaluation.judge import Exhibit, Gallery, Judged, Row, Subject
from cgan_trainer.evaluation.parzen import PARZEN
from cgan_trainer.evaluation.sampling import generate_images, image_output, with_channels
from cgan_trainer.evaluation.within_class import CLASS_DIVERSITY
from cgan_trainer.generator import Generator
from cgan_trainer.seeding import derive_seed, spread_rows

__all__ = ["LABELLED_MEASURES", "PER_CLASS", "Classes", "judge_labelled"]

LABELLED_MEASURES: tuple[Measure[ByClass], ...] = (ACCURACY, FRECHET, CLASS_DIVERSITY, PARZEN)
PER_CLASS = 100  # images drawn, unless `Subject.most` says how many in all
_PAPER_PER_CLASS = 1000  # of the Parzen window in Mirza & Osindero 2014
_MOST_DENSITY = 1000  # real images for the width of the Parzen window, and as many for the likelihood
_SHOWN_CLASSES, _SHOWN_SEEDS = 20, 8


@runtime_checkable
class Classes(Protocol):
    """Facts of a dataset whose images have classes."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Their names; label i is the i-th."""


@dataclass(frozen=True, kw_only=True)
class _Real:
    """Real images of the size and channels that the generator makes."""

    images: UInt8[Tensor, "n c h w"]
    labels: Int64[Tensor, " n"]

    def __len__(self) -> int:
        return len(self.images)


def judge_labelled(subject: Subject) -> Judged:
    """Rows: generator, class mean (a baseline without diversity), truth.

    The splits hold the arrays "image", uint8 [n, c, h, w], and "label", int64 [n]; facts have the names of the
    classes (`Classes`). The first graph is judged.

    Raises:
        UsageError: a number of seeds is asked for, which nothing here depends on.
        BadInputError: the generator takes no label or makes no image, or its classes or size are not the data's.
        CganError: it makes values that are not finite.
    """
    if subject.seeds is not None:
        raise UsageError("--seeds cannot be used with images of classes: --images says how many are drawn in all.")
    generator = next(iter(subject.graphs.values()))
    names = subject.facts.classes if isinstance(subject.facts, Classes) else ()
    asked, label_note = _asked(_label_condition(generator), names)
    per_class = PER_CLASS if subject.most is None else max(2, subject.most // len(names))
    held_out = _real(subject.held_out, generator)
    train = None if subject.train is None else _real(subject.train, generator)
    classifier = (
        None if subject.train is None or train is None else _classifier(subject, subject.train, train, names)
    )
    given = {_label_condition(generator).name: asked}
    drawn = generate_images(generator, given, range(len(names)), seed=subject.seed, seeds=per_class)
    labels = torch.arange(len(names)).repeat_interleave(per_class)
    note("measuring")
    rows = _rows(drawn.flatten(0, 1), labels, held_out, train, classifier, per_class)
    each = rows[0].figures["accuracy"].each if classifier is not None else ()
    return Judged(
        rows=rows,
        columns=columns(LABELLED_MEASURES),
        files=tuple(f"{name}/{number}" for name in names for number in range(per_class)),
        available=len(held_out),
        seeds=per_class,
        each={"accuracy": each} if each else {},
        notes=(
            f"Judged are {per_class} images of each of {len(names)} classes, rounded to 8 bits, beside "
            f"{len(held_out)} real ones of {subject.held_out.name}/.",
            *label_note,
            *_notes(train, held_out, len(labels), per_class, drawn[0, 0].numel()),
        ),
        gallery=_gallery(drawn, names, held_out, each),
    )


def _label_condition(generator: Generator) -> Condition:
    for item in generator.contract.conditions:
        if item.dtype == "int64" and item.shape == ():
            return item
    raise BadInputError(
        "this generator takes no label, so it cannot be judged by classes: evaluate it on other data."
    )


def _asked(condition: Condition, names: Sequence[str]) -> tuple[Int64[Tensor, " k"], tuple[str, ...]]:
    """The label that the generator takes for each class of the data, and a sentence where that is a guess."""
    own = condition.encoding.names if isinstance(condition.encoding, LabelEncoding) else ()
    if not names:
        raise BadInputError("this data has no classes, which a generator that takes a label is judged by.")
    if not own or set(own) == set(names):
        return torch.tensor([own.index(name) if own else index for index, name in enumerate(names)]), ()
    if len(own) != len(names):
        raise BadInputError(
            f"this generator knows {len(own)} classes ({', '.join(own[:3])}, ...), but the data has {len(names)} "
            f"({', '.join(names[:3])}, ...): evaluate it on the data it was trained on."
        )
    return torch.arange(len(names)), (
        f"The generator has names of its own for the classes ({', '.join(own[:3])}, ...): they are taken in the "
        "order of the data's.",
    )


def _real(split: Split, generator: Generator) -> _Real:
    shape = tuple(image_output(generator)[0].shape)
    images = with_channels(split.arrays["image"], int(shape[0]))
    if tuple(images.shape[1:]) != shape:
        raise BadInputError(
            f"this generator makes images of {shape[1]}x{shape[2]} pixels, but the data was read at "
            f"{images.shape[2]}x{images.shape[3]}: read it at the generator's size."
        )
    return _Real(images=images, labels=split.arrays["label"])


def _classifier(subject: Subject, split: Split, train: _Real, names: Sequence[str]) -> Classifier:
    return trained_classifier(train.images, train.labels, len(names), split.sha256, subject.cache)


def _rows(
    images: UInt8[Tensor, "n c h w"],
    labels: Int64[Tensor, " n"],
    held_out: _Real,
    train: _Real | None,
    classifier: Classifier | None,
    per_class: int,
) -> tuple[Row, ...]:
    real = None if classifier is None else classifier.read(held_out.images)

    def given(these: Tensor, asked: Tensor, centres: Tensor | None) -> ByClass:
        return ByClass(
            images=these,
            labels=asked,
            reading=None if classifier is None else classifier.read(these),
            real_labels=held_out.labels,
            real=real,
            density=None if centres is None else _density(centres, held_out),
            per_class=per_class,
        )

    rows = [
        Row(name="generator", figures=measure(LABELLED_MEASURES, given(images, labels, images)), role="generator")
    ]
    centres = None
    if train is not None:
        means = _class_means(train, labels)
        figures = measure(LABELLED_MEASURES, given(means, labels, means))
        rows.append(Row(name="class mean", figures=figures, role="baseline"))
        centres = _some_of_each(train, labels)
    figures = measure(LABELLED_MEASURES, given(held_out.images, held_out.labels, centres))
    return (*rows, Row(name="truth", figures=figures, role="truth"))


def _class_means(train: _Real, labels: Int64[Tensor, " n"]) -> UInt8[Tensor, "n c h w"]:
    """The mean training image of each label; black for a class that training lacks."""
    means = torch.zeros(int(labels.max()) + 1, *train.images.shape[1:], dtype=torch.uint8)
    for label, rows in rows_of(train.labels).items():
        if label < len(means):
            means[label] = train.images[rows].double().mean(dim=0).round().to(torch.uint8)
    return means[labels]


def _some_of_each(train: _Real, labels: Int64[Tensor, " n"]) -> UInt8[Tensor, "k c h w"]:
    """As many real training images as there are labels, of the same classes where there are enough."""
    wanted = rows_of(labels)
    chosen = [
        rows[spread_rows(len(rows), len(wanted[label]))]
        for label, rows in rows_of(train.labels).items()
        if label in wanted
    ]
    return train.images[torch.cat(chosen)]


def _density(centres: UInt8[Tensor, "k c h w"], held_out: _Real) -> Density | None:
    """A random half of the held-out images chooses the width; the likelihood is that of the others."""
    draws = torch.Generator().manual_seed(derive_seed(0, "parzen"))
    rows = torch.randperm(len(held_out), generator=draws)[: 2 * _MOST_DENSITY]
    validation, test = rows[::2], rows[1::2]
    if len(test) < 2:
        return None
    return Density(centres=centres, validation=held_out.images[validation], test=held_out.images[test])


def _notes(train: _Real | None, held_out: _Real, count: int, per_class: int, pixels: int) -> tuple[str, ...]:
    used = min(len(held_out), 2 * _MOST_DENSITY)
    parzen = (
        f"Parzen: {count} images of each row as centres ({per_class} per class; Mirza & Osindero have "
        f"{_PAPER_PER_CLASS} per class), the width chosen on {(used + 1) // 2} held-out images, the likelihood of "
        f"{used // 2} others, {pixels} values in 0..1: comparable only at the same size and counts. A higher "
        "figure is not a better image."
    )
    if train is None:
        return (
            "Accuracy, FD-classifier and diversity: not measured, for there are no training images to train the "
            "classifier on.",
            parzen,
        )
    return (
        f"Accuracy: by a small net trained here on {len(train)} real images; `truth` is its accuracy on "
        "real held-out ones, the ceiling.",
        "FD-classifier: on the features of that net, not comparable with a published FID; `truth` is the "
        "distance between two halves of the real images, the floor, over as many images.",
        "Within class: nearer to `truth` is better; less is a collapse, and more may be noise.",
        "Class mean: the mean training image of each class, whatever the seed; a generator must beat its distance "
        "and its diversity, for its accuracy may be high.",
        parzen,
    )


def _gallery(
    drawn: UInt8[Tensor, "k s c h w"], names: Sequence[str], held_out: _Real, right: Sequence[float]
) -> Gallery:
    """Rows: classes. Columns: seeds, and a real image."""
    per_class, shown = drawn.shape[1], min(drawn.shape[1], _SHOWN_SEEDS)
    true = rows_of(held_out.labels)
    exhibits = []
    for label in spread_rows(len(names), _SHOWN_CLASSES):
        count = sum(right[label * per_class : (label + 1) * per_class])
        caption = (names[label], *([f"{count:.0f} of {per_class} read as it"] if right else []))
        real = held_out.images[true[label][0]] if label in true else torch.zeros_like(drawn[0, 0])
        exhibits.append(Exhibit(caption=caption, images=(*drawn[label, :shown], real)))
    which = "Every class" if len(exhibits) == len(names) else f"{len(exhibits)} of the {len(names)} classes"
    return Gallery(
        headings=(*(f"seed {number + 1}" for number in range(shown)), "real"),
        exhibits=tuple(exhibits),
        legend=f"{which}, a row each: the first {shown} images that were judged, and a real one.",
    )
