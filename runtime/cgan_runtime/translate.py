"""Files to files: find the pictures, run them in batches, write PNGs that say where they come from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from cgan_runtime.atomic import write_atomic
from cgan_runtime.bundle import read_bundle
from cgan_runtime.contract import Condition, Output
from cgan_runtime.errors import BadInputError, UsageError
from cgan_runtime.generator import Generator, SeededGenerator
from cgan_runtime.pictures import (
    SUFFIXES,
    picture_text,
    pixels_from_tensor,
    png_bytes,
    read_picture,
    resized,
    tensor_from_picture,
)

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Job", "Source", "open_source", "plan_jobs", "run_jobs"]

DEFAULT_FOLDER: Final = Path("translated")


@dataclass(frozen=True, kw_only=True)
class Job:
    """One picture to make: `draw` is its number among the samples of one input."""

    source: Path
    target: Path
    draw: int


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where pictures are made: a generator that turns one picture into one picture, and its name."""

    generator: Generator
    name: str
    digest: str
    condition: Condition
    output: Output

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.generator.close()


def open_source(
    *, bundle: Path | None, url: str | None, model: str | None, precision: str = "fp32", threads: int = 0
) -> Source:
    """A bundle on this machine, or a model on a server.

    Raises:
        UsageError: neither or both are named, or the generator does not turn one picture into one picture.
        BundleError: the bundle cannot be used.
        ServerError: the server cannot be reached or has no such model.
    """
    if (bundle is None) == (url is None):
        raise UsageError("one of --bundle FOLDER and --url ADDRESS (with --model NAME) is needed.")
    if bundle is not None:
        read = read_bundle(bundle)
        return _source(read.generator(precision=precision, threads=threads), read.manifest.name, read.digest)
    if model is None:
        raise UsageError("--url needs --model NAME, the name the server gives the generator.")
    from cgan_runtime.triton_client import TritonClient, TritonGenerator

    generator = TritonGenerator(TritonClient(url or ""), model)
    return _source(generator, model, generator.digest)


def plan_jobs(inputs: Sequence[Path], out: Path | None, *, samples: int) -> list[Job]:
    """Every picture to make, folders searched, in sorted order.

    One input and one sample may go to a file (`out` ending in .png). Otherwise `out` is a folder in which the
    tree of each input folder is kept; K samples are NAME-0.png to NAME-<K-1>.png.

    Raises:
        BadInputError: an input does not exist, or a folder has no picture in it.
        UsageError: a result would overwrite an input or another result.
    """
    found = [pair for path in inputs for pair in _pictures(path)]
    if out is not None and out.suffix.lower() == ".png" and len(found) == 1 and samples == 1:
        jobs = [Job(source=found[0][0], target=out, draw=0)]
    else:
        if out is not None and out.suffix.lower() in SUFFIXES:
            raise UsageError(
                f"{len(found) * samples} pictures cannot go to the one file {out}; name a folder with -o."
            )
        folder = out or DEFAULT_FOLDER
        jobs = [
            Job(source=source, target=folder / relative.with_name(_file_name(relative, draw, samples)), draw=draw)
            for source, relative in found
            for draw in range(samples)
        ]
    _require_safe_targets(jobs)
    return jobs


def run_jobs(
    source: Source, jobs: Sequence[Job], *, seed: int, batch: int, original_size: bool = False
) -> Iterator[tuple[Job, BadInputError | None]]:
    """Make the pictures, `batch` at a time; yields each job when its file is written, or why it was not.

    A file that is no picture is reported once, whatever the number of samples; the others go on.
    """
    unreadable: set[Path] = set()
    ready: list[tuple[Job, Image.Image]] = []
    for job in jobs:
        if job.source in unreadable:
            continue
        try:
            ready.append((job, read_picture(job.source)))
        except BadInputError as error:
            unreadable.add(job.source)
            yield job, error
        if len(ready) == batch:
            yield from _run_batch(source, ready, seed=seed, original_size=original_size)
            ready = []
    if ready:
        yield from _run_batch(source, ready, seed=seed, original_size=original_size)


def _run_batch(
    source: Source, ready: list[tuple[Job, Image.Image]], *, seed: int, original_size: bool
) -> Iterator[tuple[Job, None]]:
    """One execution for each run of pictures that come to the same size (all, where the size is fixed)."""
    sides = source.generator.contract.sides
    tensors = [tensor_from_picture(picture, source.condition, sides) for _, picture in ready]
    for _, group in groupby(zip(ready, tensors, strict=True), key=lambda pair: pair[1].shape):
        pairs = list(group)
        condition = np.stack([tensor for _, tensor in pairs])
        draws = [job.draw for (job, _), _ in pairs]
        results = source.generator.generate({source.condition.name: condition}, [seed] * len(pairs), draws)
        for ((job, picture), _), tensor in zip(pairs, results[source.output.name], strict=True):
            _write(source, job, picture, tensor, seed=seed, original_size=original_size)
            yield job, None


def _write(
    source: Source, job: Job, picture: Image.Image, tensor: np.ndarray, *, seed: int, original_size: bool
) -> None:
    from PIL import Image

    encoding = source.output.encoding
    assert encoding is not None  # noqa: S101 - _source asks first
    result = Image.fromarray(pixels_from_tensor(tensor, encoding))
    if original_size:
        result = resized(result, picture.size, encoding.filter)
    job.target.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(job.target, png_bytes(result, picture_text(source.name, source.digest, seed, job.draw)))


def _source(generator: SeededGenerator | Generator, name: str, digest: str) -> Source:
    contract = generator.contract
    condition, output = contract.image_condition, contract.image_output
    if condition is None or output is None or len(contract.conditions) != 1:
        wanted = ", ".join(c.name for c in contract.conditions) or "nothing"
        raise UsageError(
            f"{name} takes {wanted} and cannot translate pictures; call it from Python or through Triton."
        )
    return Source(generator=generator, name=name, digest=digest, condition=condition, output=output)


def _pictures(path: Path) -> Iterator[tuple[Path, Path]]:
    """(file, path below the output folder) of every picture under `path`."""
    if path.is_file():
        yield path, Path(path.name)
    elif path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.is_file() and p.suffix.lower() in SUFFIXES)
        files = [p for p in files if not any(part.startswith(".") for part in p.relative_to(path).parts)]
        if not files:
            raise BadInputError(f"{path} holds no picture ({', '.join(SUFFIXES)}).")
        yield from ((file, file.relative_to(path)) for file in files)
    else:
        raise BadInputError(f"{path} does not exist; name a picture or a folder of pictures.")


def _file_name(path: Path, draw: int, samples: int) -> str:
    return f"{path.stem}.png" if samples == 1 else f"{path.stem}-{draw}.png"


def _require_safe_targets(jobs: Sequence[Job]) -> None:
    sources = {job.source.resolve() for job in jobs}
    seen: dict[Path, Path] = {}
    for job in jobs:
        target = job.target.resolve()
        if target in sources:
            raise UsageError(f"{job.target} would overwrite an input; name another folder with -o.")
        if target in seen:
            raise UsageError(
                f"{seen[target]} and {job.source} would both become {job.target}; translate them apart."
            )
        seen[target] = job.source
