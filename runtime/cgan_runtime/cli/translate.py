"""cgan-translate: pictures through a generator, from a bundle here or from a server."""

from __future__ import annotations

import json
import secrets
import sys
from pathlib import Path
from typing import Annotated, Literal, NoReturn

from cyclopts import Parameter, validators

from cgan_runtime.cli.shell import app, run
from cgan_runtime.errors import UsageError
from cgan_runtime.noise import parse_seed

__all__ = ["main"]

command = app("cgan-translate")

Positive = Annotated[int, Parameter(validator=validators.Number(gte=1))]


@command.default
def translate(
    *inputs: Path,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None,
    bundle: Path | None = None,
    url: str | None = None,
    model: str | None = None,
    seed: str | None = None,
    samples: Positive = 1,
    batch: Positive = 4,
    original_size: bool = False,
    precision: Literal["fp32", "fp16", "int8"] = "fp32",
    threads: Annotated[int, Parameter(validator=validators.Number(gte=0))] = 0,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
) -> int:
    """Translate pictures (PNG, JPEG, WebP) or folders of them.

    A picture of another size is resampled to the generator's, transparency is
    laid on white, EXIF rotation is applied. The result is a PNG of the
    generator's size that names its bundle and seed in its text chunks.

    For example:

        cgan-translate map.png --bundle facades --seed 7
        cgan-translate maps/ --bundle facades --seed 7 --samples 4 -o translated
        cgan-translate map.png --url grpc://127.0.0.1:8001 --model facades --seed 7

    Args:
        inputs: Pictures, or folders that are searched for pictures.
        out: A .png for one picture, else a folder. [default: translated]
        bundle: Bundle written by cgan-export.
        url: Server instead of a bundle: http://HOST:PORT or grpc://HOST:PORT.
        model: Name of the served model.
        seed: 0 to 18446744073709551615, for every picture. [default: drawn and printed]
        samples: Pictures to make of each input, all from the one seed. [default: 1]
        batch: Pictures per execution; it changes no picture. [default: 4]
        original_size: Scale the result to the size of the input.
        precision: Which artifact of the bundle to run; a server has made this choice. [default: fp32]
        threads: ONNX Runtime threads. [default: ONNX Runtime chooses]
        as_json: Print one JSON object instead of the paths.
    """
    from cgan_runtime.translate import Job, open_source, plan_jobs, run_jobs

    if not inputs:
        raise UsageError("a picture or a folder is needed; for example: cgan-translate map.png --bundle facades")
    chosen = secrets.randbits(53) if seed is None else _seed(seed)
    jobs = plan_jobs(list(inputs), out, samples=samples)
    source = open_source(bundle=bundle, url=url, model=model, precision=precision, threads=threads)
    if seed is None:
        print(f"cgan-translate: seed {chosen}", file=sys.stderr)
    done: list[Job] = []
    failed: list[str] = []
    with source:
        for job, error in run_jobs(source, jobs, seed=chosen, batch=batch, original_size=original_size):
            if error is None:
                done.append(job)
                if not as_json:
                    print(job.target)
            else:
                failed.append(str(error))
                print(f"cgan-translate: skipped: {error}", file=sys.stderr)
                last = error
    if as_json:
        pictures = [{"input": str(j.source), "output": str(j.target), "draw": j.draw} for j in done]
        shown = chosen if chosen < 2**53 else str(chosen)
        print(json.dumps({"seed": shown, "bundle": source.digest, "pictures": pictures, "failed": failed}))
    if failed and not done:
        raise last
    if failed:
        print(f"cgan-translate: {len(done)} pictures written, {len(failed)} inputs skipped", file=sys.stderr)
    return 1 if failed else 0


def _seed(text: str) -> int:
    """As text, because a command line library would make 1 of 1.5."""
    try:
        return parse_seed(text)
    except ValueError as error:
        raise UsageError(f"--seed: {error}.") from error


def main() -> NoReturn:
    """Console entry point."""
    run(command)
