"""Judging generators between two domains without pairs: both ways, beside unchanged inputs and the real images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Protocol, runtime_checkable

from cgan_runtime.errors import BadInputError
from cgan_runtime.progress import note
from jaxtyping import UInt8
from torch import Tensor

from cgan_trainer.data.kinds.base import Split
from cgan_trainer.evaluation.base import Figure, Labels, Measure, columns, measure
from cgan_trainer.evaluation.cycle import CYCLE, CYCLE_LABELS
from cgan_trainer.evaluation.diversity import DIVERSITY
from cgan_trainer.evaluation.fcn_score import FCN_SCORE
from cgan_trainer.evaluation.identity_error import IDENTITY_ERROR
from cgan_trainer.evaluation.judge import Judged, Role, Row, Subject
from cgan_trainer.evaluation.kid import KID, kid_note
from cgan_trainer.evaluation.lab import LAB_INTERSECTION
from cgan_trainer.evaluation.labels import TrainingPairs, find_labels
from cgan_trainer.evaluation.paired import MAX_DIVERSITY
from cgan_trainer.evaluation.sampling import generate_images, image_condition, image_output, with_channels
from cgan_trainer.evaluation.translated import Translated
from cgan_trainer.evaluation.unpaired_gallery import unpaired_gallery
from cgan_trainer.generator import Generator
from cgan_trainer.nets.efficientnet_lite import embed, weights_file
from cgan_trainer.palette import Palette
from cgan_trainer.seeding import spread_rows

__all__ = ["UNPAIRED_MEASURES", "DomainPalettes", "judge_unpaired", "same_names"]

UNPAIRED_MEASURES: tuple[Measure[Translated], ...] = (
    CYCLE,
    CYCLE_LABELS,
    IDENTITY_ERROR,
    KID,
    LAB_INTERSECTION,
    FCN_SCORE,
    DIVERSITY,
)


@runtime_checkable
class DomainPalettes(Protocol):
    """Facts of a dataset of two domains that say which one holds label maps; None: it does not."""

    @property
    def palette_a(self) -> Palette | None:
        """The palette of domain A."""

    @property
    def palette_b(self) -> Palette | None:
        """The palette of domain B."""


@dataclass(frozen=True, kw_only=True)
class _Way:
    """One direction: its graph, the arrays of its two domains, and the graph of the way back."""

    name: str
    source: str
    target: str
    back: str


_WAYS = (
    _Way(name="AtoB", source="a", target="b", back="BtoA"),
    _Way(name="BtoA", source="b", target="a", back="AtoB"),
)


def judge_unpaired(subject: Subject) -> Judged:
    """Rows, for each way that has a graph: the generator, the inputs unchanged (a baseline), the truth.

    The graphs are called "AtoB" and "BtoA", one of them may be absent; the splits hold the arrays "a" and "b",
    uint8 [n, c, h, w] of different lengths. Label maps are known by the facts (`DomainPalettes`).

    Raises:
        BadInputError: there is no such graph, or one does not turn an image into another.
        CganError: one makes values that are not finite.
    """
    ways = [way for way in _WAYS if way.name in subject.graphs]
    if not ways:
        raise BadInputError(
            f"this checkpoint has the graphs {', '.join(subject.graphs)}, but images without pairs are judged by "
            "AtoB and BtoA: evaluate it on data of its kind."
        )
    rows = {
        name: spread_rows(len(images), subject.most or len(images))
        for name, images in subject.held_out.arrays.items()
        if name in ("a", "b")
    }
    judged, label_notes = {}, []
    for way in ways:
        labels, label_note = _labels(subject, way, rows[way.source])
        judged[way.name] = _translate(subject, way, rows, labels)
        label_notes.append(f"{way.name}: {label_note}")
    note("measuring")
    found = [
        (way, role, Row(name=name, figures=measure(UNPAIRED_MEASURES, given), role=role, group=way.name))
        for way in ways
        for name, role, given in _contenders(way, judged[way.name])
    ]
    ordered = [row for wanted in ("generator", "baseline", "truth") for _, role, row in found if role == wanted]
    figures = {way.name: row.figures for way, role, row in found if role == "generator"}
    files = {name: subject.held_out.files[name] for name in rows}
    return Judged(
        rows=tuple(ordered),
        columns=columns(UNPAIRED_MEASURES),
        files=tuple(f"{name.upper()}/{files[name][row]}" for name in ("a", "b") for row in rows[name]),
        available=sum(map(len, files.values())),
        seeds=subject.draws,
        each=_each(figures),
        notes=(
            f"Judged on {len(rows['a'])} of the {len(files['a'])} images of A and {len(rows['b'])} of the "
            f"{len(files['b'])} of B in {subject.held_out.name}, one seed each, rounded to 8 bits, also before "
            "the way back.",
            "Unchanged: the inputs as they are; a generator must beat their distance to the other domain.",
            "Cycle error: small also where a generator changes nothing, or hides its input in faint noise.",
            *label_notes,
            kid_note(min(len(rows["a"]), len(rows["b"])), installed=weights_file() is not None),
        ),
        gallery=unpaired_gallery(
            {way.name: judged[way.name] for way in ways},
            {way.name: [files[way.source][row] for row in rows[way.source]] for way in ways},
        ),
    )


def _translate(subject: Subject, way: _Way, rows: Mapping[str, Sequence[int]], labels: Labels | None) -> Translated:
    arrays, generator = subject.held_out.arrays, subject.graphs[way.name]
    images = _drawn(generator, arrays[way.source], rows[way.source], subject.seed, 1, "evaluation")[:, 0]
    inputs, targets = arrays[way.source][rows[way.source]], arrays[way.target][rows[way.target]]
    targets = with_channels(targets, images.shape[1])
    kept = _drawn(generator, targets, range(len(targets)), subject.seed, 1, "evaluation/identity")[:, 0]
    cycled = None
    if way.back in subject.graphs:
        back = subject.graphs[way.back]
        cycled = _drawn(back, images, range(len(images)), subject.seed, 1, "evaluation/cycle")[:, 0]
        inputs = with_channels(inputs, int(image_output(back)[0].shape[0]))
    samples = None
    if generator.contract.noise:
        several = [rows[way.source][index] for index in spread_rows(len(images), MAX_DIVERSITY)]
        samples = _drawn(generator, arrays[way.source], several, subject.seed, subject.draws, "evaluation")
    return Translated(
        images=images,
        targets=targets,
        samples=samples,
        labels=labels,
        embed=embed if weights_file() is not None else None,
        inputs=inputs,
        cycled=cycled,
        kept=kept,
        palette=_palette(subject, way.source),
    )


def _drawn(
    generator: Generator, images: Tensor, rows: Sequence[int], seed: int, seeds: int, purpose: str
) -> UInt8[Tensor, "n k c h w"]:
    given = {image_condition(generator).name: images}
    return generate_images(generator, given, rows, seed=seed, seeds=seeds, purpose=purpose)


def _contenders(way: _Way, translated: Translated) -> tuple[tuple[str, Role, Translated], ...]:
    """What is measured of one way, each with its name and role."""
    plain = replace(translated, samples=None, cycled=None, kept=None)
    return (
        (way.name, "generator", translated),
        (f"unchanged {way.name}", "baseline", replace(plain, images=translated.inputs)),
        (f"truth {way.name}", "truth", replace(plain, images=translated.targets, inputs=translated.targets)),
    )


def _palette(subject: Subject, domain: str) -> Palette | None:
    facts = subject.facts
    if not isinstance(facts, DomainPalettes):
        return None
    return facts.palette_a if domain == "a" else facts.palette_b


def _labels(subject: Subject, way: _Way, rows: Sequence[int]) -> tuple[Labels | None, str]:
    """The labels for the FCN-score. It needs pairs, even if nothing was learned from them."""
    source, target = _palette(subject, way.source), _palette(subject, way.target)
    if source is None and target is None:
        return None, "FCN-score: not measured, for dataset.json names no palette: neither domain holds label maps."
    if not same_names(subject.held_out):
        return None, (
            "FCN-score: not measured, for it needs held-out pairs: images of A and B under the same names "
            "(a suffix _A or _B is no difference)."
        )
    arrays, train = subject.held_out.arrays, subject.train
    pairs = None
    if train is not None and same_names(train):
        pairs = TrainingPairs(
            conditions=train.arrays[way.source],
            targets=train.arrays[way.target],
            digest=f"{train.sha256}/{way.source}",
        )
    return find_labels(
        source=source,
        target=target,
        conditions=arrays[way.source][rows],
        targets=arrays[way.target][rows],
        train=pairs,
        cache=subject.cache,
    )


def same_names(split: Split) -> bool:
    """Whether the images of A and B lie under the same names, row by row, which makes them pairs."""
    a, b = (tuple(_stem(name) for name in split.files[domain]) for domain in ("a", "b"))
    return a == b


def _stem(name: str) -> str:
    """The name without its ending, and without the _A or _B of CycleGAN's own datasets."""
    path = PurePosixPath(name)
    return path.with_name(path.stem.removesuffix("_A").removesuffix("_B")).as_posix()


def _each(figures: Mapping[str, Mapping[str, Figure]]) -> dict[str, tuple[float, ...]]:
    """Per image of A and then of B: its cycle error, and its identity error as an image of the target domain."""
    if len(figures) < len(_WAYS):
        return {}
    forth, back = (figures[way.name] for way in _WAYS)
    return {
        "cycle": forth["cycle"].each + back["cycle"].each,
        "identity": back["identity"].each + forth["identity"].each,
    }
