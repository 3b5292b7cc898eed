"""Samples to files and values: plan what to make, run it in batches, write files that say where they come from."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

import numpy as np

from cgan_runtime.atomic import write_atomic
from cgan_runtime.contract import Contract, LabelEncoding, Output
from cgan_runtime.encodings import JsonObject, decoder_of, encoder_of, require_finite
from cgan_runtime.errors import BadInputError, CganError, UsageError
from cgan_runtime.image_formats import READ_WORDS, list_images
from cgan_runtime.images import SUFFIXES, image_text, read_image
from cgan_runtime.runners.base import Array
from cgan_runtime.source import Source

__all__ = ["Job", "Made", "find_images", "label_stem", "plan_jobs", "run_jobs"]


@dataclass(frozen=True, kw_only=True)
class Job:
    """One sample to make.

    Attributes:
        source: the image it is made from; None where none is given by file.
        stem: what it is called where it has no source: "digits-7".
        draw: its number among the samples of one input.
        targets: output name -> the file it goes to, of the outputs that are files.
    """

    source: Path | None
    stem: str
    draw: int
    targets: dict[str, Path]


@dataclass(frozen=True, kw_only=True)
class Made:
    """What became of a job: its files are written and its values known, or why they are not."""

    job: Job
    values: dict[str, JsonObject] = field(default_factory=dict)
    error: CganError | None = None


def find_images(inputs: Sequence[Path]) -> list[tuple[Path, Path]]:
    """(file, path below the output folder) of every image named or in a folder named, in sorted order.

    Raises:
        BadInputError: an input does not exist, or a folder has no image in it.
    """
    return [pair for path in inputs for pair in _images(path)]


def plan_jobs(
    outputs: Sequence[Output], found: Sequence[tuple[Path | None, Path]], out: Path, *, samples: int
) -> list[Job]:
    """Every sample to make.

    One file in all may go to a file (`out` with the suffix of the output). Otherwise `out` is a folder in which
    the tree of each input folder is kept; K samples are NAME-0.png to NAME-<K-1>.png. The only image of a
    generator is called NAME.png, each of several NAME-<output>.png.

    Args:
        outputs: of the contract.
        found: (image or None, path below the output folder) of each input, as `find_images` gives them.
        out: a folder, or a file.
        samples: of each input.

    Raises:
        UsageError: a result would overwrite an input or another result, or several would go to one file.
    """
    suffixes = {output.name: decoder_of(output).suffix for output in outputs if decoder_of(output).suffix}
    count = len(found) * samples * len(suffixes)
    whole = {suffix for suffix in (*SUFFIXES, *suffixes.values()) if out.suffix.lower() == suffix}
    if whole and not count:
        raise UsageError(f"nothing would be written to {out}: this generator gives values only; leave -o out.")
    if whole and (count > 1 or out.suffix.lower() not in suffixes.values()):
        what = f"{count} {'files' if count > 1 else 'file'} ({', '.join(sorted(set(suffixes.values())))})"
        raise UsageError(f"{what} cannot go to the one file {out}; name a folder with -o.")
    jobs = []
    for source, relative in found:
        for draw in range(samples):
            name = relative.name if source is None else relative.stem  # a class may be called v1.5
            stem = name if samples == 1 else f"{name}-{draw}"
            targets = {
                name: out if whole else out / relative.with_name(_file_name(stem, name, suffixes))
                for name in suffixes
            }
            jobs.append(Job(source=source, stem=stem, draw=draw, targets=targets))
    _require_safe_targets(jobs)
    return jobs


def run_jobs(
    source: Source,
    jobs: Sequence[Job],
    conditions: Mapping[str, Array],
    *,
    seed: int,
    batch: int,
    original_size: bool = False,
) -> Iterator[Made]:
    """Make the samples, `batch` at a time; yields each job when its files are written, or why it was not made.

    A file that is no image is reported once, whatever the number of samples; the others go on. Of a sample whose
    images are not finite no file is written.

    Args:
        source: the generator.
        jobs: as `plan_jobs` gives them.
        conditions: the tensor of every condition that is the same for all samples, no batch axis.
        seed: of every sample; they differ by their draw.
        batch: samples per execution; it changes no sample.
        original_size: scale images to the size of the input image.
    """
    unreadable: set[Path] = set()
    ready: list[tuple[Job, Mapping[str, Array]]] = []
    for job in jobs:
        if job.source in unreadable:
            continue
        try:
            ready.append((job, _with_image(source.contract, job, conditions)))
        except BadInputError as error:
            assert job.source is not None  # noqa: S101 - only a file can be unreadable
            unreadable.add(job.source)
            yield Made(job=job, error=error)
        if len(ready) == batch:
            yield from _run_batch(source, ready, seed=seed, original_size=original_size)
            ready = []
    if ready:
        yield from _run_batch(source, ready, seed=seed, original_size=original_size)


def _with_image(contract: Contract, job: Job, conditions: Mapping[str, Array]) -> Mapping[str, Array]:
    image = contract.image_condition
    if job.source is None or image is None:
        return conditions
    return {**conditions, image.name: encoder_of(image).encode(job.source, image, sides=contract.sides)}


def _run_batch(
    source: Source, ready: list[tuple[Job, Mapping[str, Array]]], *, seed: int, original_size: bool
) -> Iterator[Made]:
    """One execution for each run of samples of the same shapes (all, where the size is fixed)."""
    for _, group in groupby(ready, key=lambda pair: {name: value.shape for name, value in pair[1].items()}):
        pairs = list(group)
        joined = {name: np.stack([tensors[name] for _, tensors in pairs]) for name in pairs[0][1]}
        results = source.model.generate(joined, [seed] * len(pairs), [job.draw for job, _ in pairs])
        for row, (job, _) in enumerate(pairs):
            sample = {name: value[row] for name, value in results.items()}
            yield _decoded(source, job, sample, seed=seed, original_size=original_size)


def _decoded(source: Source, job: Job, sample: Mapping[str, Array], *, seed: int, original_size: bool) -> Made:
    """Write the files of a sample and collect its values; none where an image of it is not finite."""
    called = job.stem if job.source is None else str(job.source)
    try:
        require_finite(source.contract.outputs, sample, called)
    except CganError as error:
        return Made(job=job, error=error)
    text = image_text(source.name, source.digest, seed, job.draw, source.artifact)
    size = read_image(job.source).size if original_size and job.source is not None else None
    values: dict[str, JsonObject] = {}
    for output in source.contract.outputs:
        decoded = decoder_of(output).decode(np.asarray(sample[output.name]), output, text=text, size=size)
        if isinstance(decoded, bytes):
            target = job.targets[output.name]
            target.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(target, decoded)
        else:
            values[output.name] = decoded
    return Made(job=job, values=values)


def label_stem(name: str, contract: Contract, conditions: Mapping[str, Array]) -> str:
    """A file name for samples made from no file: the generator's name and the classes, "digits-7"."""
    parts = [name]
    for condition in contract.conditions:
        if isinstance(condition.encoding, LabelEncoding) and condition.name in conditions:
            index, names = int(conditions[condition.name]), condition.encoding.names
            parts.append(names[index] if index < len(names) else str(index))
    return "-".join(re.sub(r"[^\w.-]+", "_", part).lstrip(".") or "_" for part in parts)


def _images(path: Path) -> Iterator[tuple[Path, Path]]:
    if path.is_file():
        yield path, Path(path.name)
    elif path.is_dir():
        files = list_images(path)
        if not files:
            raise BadInputError(f"{path} holds no image: a {READ_WORDS} is needed.")
        yield from ((file, file.relative_to(path)) for file in files)
    else:
        raise BadInputError(f"{path} does not exist; name an image or a folder of images.")


def _file_name(stem: str, output: str, suffixes: Mapping[str, str]) -> str:
    """NAME.png for the only image, NAME.npy for the only file; else NAME-<output> with its suffix."""
    images = [name for name, suffix in suffixes.items() if suffix == ".png"]
    alone = images == [output] or len(suffixes) == 1
    return f"{stem}{'' if alone else f'-{output}'}{suffixes[output]}"


def _require_safe_targets(jobs: Sequence[Job]) -> None:
    sources = {job.source.resolve() for job in jobs if job.source is not None}
    seen: dict[Path, Path] = {}
    for job in jobs:
        origin = job.source or Path(job.stem)
        for path in job.targets.values():
            target = path.resolve()
            if target in sources:
                raise UsageError(f"{path} would overwrite an input; name another folder with -o.")
            if target in seen:
                raise UsageError(f"{seen[target]} and {origin} would both become {path}; translate them apart.")
            seen[target] = origin
