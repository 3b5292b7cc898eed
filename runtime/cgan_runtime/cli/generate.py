"""cgan-generate: samples of any generator, from a bundle here or from a server."""

from __future__ import annotations

import difflib
import json
import re
import secrets
import sys
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NoReturn

from cyclopts import App, Parameter, validators

from cgan_runtime.cli.shell import app, run
from cgan_runtime.errors import UsageError

if TYPE_CHECKING:
    from cgan_runtime.jobs import Made
    from cgan_runtime.source import Source

__all__ = ["Options", "main", "make_samples", "refuse_unknown"]

_NEGATIVE: Final = re.compile(r"-[0-9.]")

command = app("cgan-generate")

Positive = Annotated[int, Parameter(validator=validators.Number(gte=1))]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Options:
    """What cgan-generate and cgan-translate share.

    Attributes:
        out: A file for one result (.png), else a folder. [default: generated or translated]
        bundle: Bundle written by cgan-export.
        require_signature: A public key (PEM); the bundle must be signed with its private key.
        url: Server instead of a bundle: http[s]://HOST:PORT or grpc[s]://HOST:PORT; its API key: CGAN_API_KEY.
        model: Name of the served model.
        settings: A condition of the generator, NAME=VALUE; may be given several times.
        seed: 0 to 18446744073709551615, for every sample. [default: drawn and printed]
        samples: Samples to make of each input, all from the one seed. [default: 1]
        batch: Samples per execution; it changes no sample. [default: 4]
        original_size: Scale images to the size of the input image.
        backend: Which artifact of the bundle to run: onnxruntime, openvino, tensorrt, tensorrt_rtx; or auto, the
            fastest of the CPU that keeps --min-psnr. A server has made this choice. [default: onnxruntime]
        precision: Which precision of it. [default: fp32]
        min_psnr: With --backend auto, the least PSNR to PyTorch in dB. [default: 45]
        device: cpu, cuda or cuda:N; for ONNX Runtime also tensorrt, tensorrt:N. [default: the backend's choice]
        threads: CPU threads. [default: the backend chooses]
        as_json: Print one JSON object instead of the paths and scores.
    """

    out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None
    bundle: Path | None = None
    require_signature: Path | None = None
    url: str | None = None
    model: str | None = None
    settings: Annotated[tuple[str, ...], Parameter(name="--set")] = ()
    seed: str | None = None
    samples: Positive = 1
    batch: Positive = 4
    original_size: bool = False
    backend: str | None = None
    precision: Literal["fp32", "fp16", "bf16", "int8"] | None = None
    min_psnr: float | None = None
    device: str | None = None
    threads: Annotated[int, Parameter(validator=validators.Number(gte=0))] = 0
    as_json: Annotated[bool, Parameter(name="--json")] = False


@command.default
def generate(*inputs: Path, label: str | None = None, options: Options | None = None, **conditions: str) -> int:
    """Make samples: images as PNG files, scores as lines, other tensors as .npy.

    Each condition of the generator is an option of its own name: a label takes a
    number or a name, a vector takes numbers with commas between or a .npy or .json
    file, an image takes a file. Images named without an option are inputs for the
    generator's first image.

    For example:

        cgan-generate --bundle digits --label 7 --samples 16 --seed 3 -o out
        cgan-generate --bundle clothes --label sneaker --seed 3
        cgan-generate photo.png --bundle portraits --style paint.png --seed 3
        cgan-generate --url grpc://127.0.0.1:8001 --model digits --label 7

    Args:
        inputs: Images, or folders that are searched for images.
        label: The class, by number or name.
        options: What both commands share.
        conditions: Any other condition by its name, for example --style FILE.
    """
    return make_samples(command, list(inputs), options or Options(), {"label": label, **conditions})


def make_samples(app_of: App, inputs: Sequence[Path], options: Options, named: Mapping[str, str | None]) -> int:
    """The whole command; returns its exit code.

    Args:
        app_of: cgan-generate or cgan-translate, for messages and the names of its options.
        inputs: images or folders.
        options: as given.
        named: option name -> value, of the conditions given by their own names; "label" may be None.

    Raises:
        UsageError: something does not fit the generator.
        BadInputError: a file cannot be used.
    """
    from cgan_runtime.jobs import find_images, plan_jobs, run_jobs
    from cgan_runtime.source import open_source

    program = app_of.name[0]
    seed = secrets.randbits(53) if options.seed is None else _seed(options.seed)
    words = {name.replace("-", "_"): value for name, value in named.items() if value is not None}
    if options.bundle is None and options.url is None and (unknown := [name for name in words if name != "label"]):
        raise UsageError(_unknown_option(app_of, unknown[0], ()))
    settings = _settings(options.settings)
    found = find_images(inputs)
    source = open_source(
        bundle=options.bundle,
        require_signature=options.require_signature,
        url=options.url,
        model=options.model,
        backend=options.backend,
        precision=options.precision,
        device=options.device,
        threads=options.threads,
        min_psnr=options.min_psnr,
        say=lambda text: print(f"{program}: {text}", file=sys.stderr),
    )
    with source:
        if options.original_size and not inputs:
            raise UsageError("--original-size is the size of an input image; name the image without an option.")
        fixed, stem = _fixed_conditions(app_of, source, bool(inputs), words, settings)
        rows: list[tuple[Path | None, Path]] = [*found] or [(None, Path(stem))]
        out = options.out or Path("translated" if program == "cgan-translate" else "generated")
        jobs = plan_jobs(source.contract.outputs, rows, out, samples=options.samples)
        if options.seed is None:
            print(f"{program}: seed {seed}", file=sys.stderr)
        made: list[Made] = []
        failed: list[str] = []
        for item in run_jobs(
            source, jobs, fixed, seed=seed, batch=options.batch, original_size=options.original_size
        ):
            if item.error is None:
                made.append(item)
                if not options.as_json:
                    _print_made(item, options.samples)
            else:
                failed.append(str(item.error))
                print(f"{program}: skipped: {item.error}", file=sys.stderr)
                last = item.error
    if options.as_json:
        shown = seed if seed < 2**53 else str(seed)
        images = [_described(item) for item in made]
        # "pictures" stays: programs read this key.
        by = {"artifact": source.artifact, "runtime": source.runtime}
        document = {"seed": shown, "model_digest": source.digest, **by, "pictures": images, "failed": failed}
        print(json.dumps(document))
    if failed and not made:
        raise last
    if failed:
        print(f"{program}: {len(made)} images written, {len(failed)} inputs skipped", file=sys.stderr)
    return 1 if failed else 0


def _fixed_conditions(
    app_of: App, source: Source, has_inputs: bool, words: Mapping[str, str], settings: Mapping[str, str]
) -> tuple[dict[str, Any], str]:
    """The tensors of what is the same for all samples, and a file name for samples made from no file."""
    from cgan_runtime.conditions import encode_conditions, label_condition, require_all
    from cgan_runtime.jobs import label_stem

    contract, name = source.contract, source.name
    known = [condition.name for condition in contract.conditions]
    given: dict[str, str] = {}
    for key, value in (*words.items(), *settings.items()):
        condition = label_condition(name, contract).name if key == "label" and key not in known else key
        if condition not in known and key in words:
            raise UsageError(_unknown_option(app_of, key, known))
        if condition in given:
            raise UsageError(f"{condition} is given twice; give it once.")
        given[condition] = value
    image = contract.image_condition
    if has_inputs and image is None:
        takes = ", ".join(known) or "nothing"
        raise UsageError(f"{name} takes {takes} and cannot translate images; call it without an image.")
    if has_inputs and image is not None and image.name in given:
        raise UsageError(f"{image.name} is given twice: as input images and by name; give it once.")
    encoded = encode_conditions(name, contract, given)
    if image is not None and not has_inputs and image.name not in given:
        raise UsageError(f"{name} needs an image for {image.name}: name an image file or a folder.")
    require_all(name, contract, {**encoded, **({image.name: None} if has_inputs and image else {})})
    return encoded, label_stem(name, contract, encoded)


def _settings(pairs: Sequence[str]) -> dict[str, str]:
    settings: dict[str, str] = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        name = name.replace("-", "_")
        if not (name and sign):
            raise UsageError(f"--set {pair}: NAME=VALUE is needed, for example --set label=7.")
        if name in settings:
            raise UsageError(f"{name} is given twice; give it once.")
        settings[name] = value
    return settings


def _print_made(item: Made, samples: int) -> None:
    """Paths, a line each; scores as tab-separated lines: sample, output, value, and the verdict if there is one."""
    for target in item.job.targets.values():
        print(target)
    source = str(item.job.source or item.job.stem)
    sample = f"{source}-{item.job.draw}" if item.job.source and samples > 1 else source
    for name, value in item.values.items():
        verdict = [str(value["positive"] or "positive")] if value.get("is_positive") else []
        print("\t".join([sample, name, str(value["value"]), *verdict]))


def _described(item: Made) -> dict[str, Any]:
    """A sample in the JSON answer. `output` is its first file."""
    job, files = item.job, {name: str(path) for name, path in item.job.targets.items()}
    return {
        "input": None if job.source is None else str(job.source),
        "output": next(iter(files.values()), None),
        "draw": job.draw,
        "outputs": {**files, **item.values},
    }


def _unknown_option(app_of: App, name: str, known: Sequence[str]) -> str:
    """What cyclopts says of an unknown option, over the command's options and the generator's conditions."""
    options = [f"--{condition.replace('_', '-')}" for condition in known] + _option_names(app_of)
    option = f"--{name.replace('_', '-')}"
    close = difflib.get_close_matches(option, options, n=1)
    return f"Unknown option: {option}.{f' Did you mean {close[0]}?' if close else ''}"


def _option_names(app_of: App) -> list[str]:
    names = [name for argument in app_of.assemble_argument_collection() for name in argument.names]
    return [name for name in (*names, "--help", "--version", "--debug") if name.startswith("--")]


def refuse_unknown(app_of: App, words: Sequence[str]) -> list[str]:
    """The words; an unknown option without a value cannot be a condition and is refused.

    A value that begins with a negative number is joined to its option: `--style -0.5,1` is `--style=-0.5,1`, which
    cyclopts would take for an option of its own.

    Raises:
        UsageError: names the option that was meant.
    """
    known = {*_option_names(app_of), "-o", "-h"}
    end = words.index("--") if "--" in words else len(words)
    checked: list[str] = []
    for word, after in pairwise([*words[:end], "--"]):
        before = checked[-1] if checked else ""
        if _NEGATIVE.match(word) and _is_condition(before, known):
            checked[-1] = f"{before}={word}"
            continue
        if _is_condition(word, known) and after.startswith("--"):
            raise UsageError(_unknown_option(app_of, word.removeprefix("--"), ()))
        checked.append(word)
    return [*checked, *words[end:]]


def _is_condition(word: str, known: Container[str]) -> bool:
    """Whether a word may be the name of a condition, with its value in the next word."""
    return word.startswith("--") and "=" not in word and word not in known


def _seed(text: str) -> int:
    """Parse the seed ourselves: cyclopts would accept 1.5 as 1."""
    from cgan_runtime.noise import parse_seed

    try:
        return parse_seed(text)
    except ValueError as error:
        raise UsageError(f"--seed: {error}.") from error


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Entry point of cgan-generate; `argv` are its words, those of the process by default."""
    run(command, argv, prepare=lambda words: refuse_unknown(command, words))
