"""Which options of cgan-bench go together: each check ends the command with one sentence.

All of them take what was given, by name; None is what was not given.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from cgan_runtime.errors import UsageError

if TYPE_CHECKING:
    from cgan_bench.target import Target

__all__ = ["check_batches", "check_together"]

Given = Mapping[str, Any]

BUNDLE: Final = "a bundle"
LOAD: Final = ("--concurrency", "--rate", "--arrivals")
ROUNDS: Final = ("--rounds", "--warmup", "--threads")
INFERENCE: Final = (
    *(BUNDLE, "--checkpoint", "--precision", "--peers", "--layers", "--scenario", "--require-signature"),
    *("--url", "--concurrency", "--rate", "--streams"),
)
TRAINING: Final = ("--data", "--ngf", "--ndf")
# What a scenario of MLPerf has, and what it has not.
LOADGEN: Final = ("--qps", "--latency-bound-ms", "--backend")
NOT_LOADGEN: Final = ("--checkpoint", "--peers", "--layers", "--url", "--rounds", "--warmup")
NOT_LAYERS: Final = ("--checkpoint", "--peers", "--url", "--seconds")


def check_together(given: Given, *, batches: tuple[int, ...]) -> None:
    """Refuse options that exclude each other, or that stand without the one that they are about.

    Args:
        given: every option that has to fit others, and the bundle, by name.
        batches: of --batch.

    Raises:
        UsageError: the first that does not fit.
    """
    if given["--seconds"] is not None and given["--rounds"] is not None:
        raise UsageError("--seconds and --rounds both say how long to measure; give one of them.")
    _check_inference(given)
    _check_load(given)
    _check_training(given)
    _check_scenario(given, batches)
    _check_layers(given)
    _check_comparison(given)
    for name in ("--out", "--csv", "--html"):
        if (file := given[name]) is not None and not file.parent.is_dir():
            raise UsageError(f"the folder of {file} does not exist; create it first.")


def check_batches(batches: tuple[int, ...], target: Target) -> None:
    """Raises UsageError where a batch is larger than the model takes."""
    if max(batches) > target.max_batch:
        raise UsageError(f"--batch {max(batches)} is more than the {target.max_batch} that {target.title} takes.")


def _check_inference(given: Given) -> None:
    """Options of a bundle or a server stand without it, or exclude each other."""
    bundle, url, on_gpu = given[BUNDLE], given["--url"], given["--device"] == "cuda"
    if bundle is None:
        if given["--checkpoint"] is not None:
            raise UsageError("--checkpoint adds rows to those of a bundle; name the bundle too.")
        if given["--precision"] is not None:
            raise UsageError("--precision chooses among the artifacts of a bundle; name the bundle too.")
        if given["--require-signature"] is not None:
            raise UsageError("--require-signature is about a bundle; name the bundle too.")
    if (url is None) != (given["--model"] is None):
        raise UsageError("--url and --model belong together; give both to measure a server.")
    if given["--streams"] is not None and not on_gpu:
        raise UsageError("--streams is about a GPU; give --device cuda too.")
    if given["--peers"] and (url or on_gpu):
        raise UsageError("--peers adds rows of the CPU; leave out --url and --device.")
    if given["--peers"] and bundle is not None and given["--checkpoint"] is None:
        raise UsageError(
            "--peers runs the checkpoint that the bundle was exported from; give --checkpoint FILE too."
        )
    if url and (given["--checkpoint"] is not None or on_gpu):
        raise UsageError("--url measures a server; leave out --checkpoint and --device.")


def _check_load(given: Given) -> None:
    """Options of a load test stand without one, or others with it.

    With a bundle, the server takes turns with it, and nothing else is measured.
    """
    bundle, urls, load = given[BUNDLE], given["--url"] or (), _given(given, LOAD)
    if load and not urls:
        raise UsageError(f"{load[0]} is about a server; give --url and --model too.")
    if len(urls) > 2:
        raise UsageError(f"--url was given {len(urls)} times; give one server, or two to compare.")
    if bundle is not None and (load or len(urls) > 1):
        raise UsageError(
            f"{load[0] if load else 'a second --url'} puts a server under load, and a bundle takes turns with it "
            "one request at a time; leave the bundle out, or the load."
        )
    if urls and bundle is None and (rounds := _given(given, ROUNDS)):
        raise UsageError(f"{rounds[0]} is about backends on this machine; a server is measured for --seconds.")
    if given["--arrivals"] is not None and given["--rate"] is None:
        raise UsageError("--arrivals says how the requests of --rate are spread in time; give --rate too.")


def _check_training(given: Given) -> None:
    """Options of inference stand with --train, or those of training without."""
    if given["--train"] and (others := _given(given, INFERENCE)):
        raise UsageError(f"--train measures training, and {others[0]} is about inference; give one of them.")
    if not given["--train"] and (training := _given(given, TRAINING)):
        raise UsageError(f"{training[0]} is about training; give --train too, or leave it out.")


def _check_scenario(given: Given, batches: tuple[int, ...]) -> None:
    """Options of a scenario stand without it, or others with it."""
    scenario = given["--scenario"]
    if scenario is None:
        if about := _given(given, LOADGEN):
            raise UsageError(f"{about[0]} is about a scenario of MLPerf; give --scenario too.")
        return
    if others := _given(given, NOT_LOADGEN) + _gpu(given):
        raise UsageError(f"--scenario lets LoadGen ask one artifact of a bundle; leave out {others[0]}.")
    server = _given(given, ("--qps", "--latency-bound-ms"))
    if scenario == "server" and "--latency-bound-ms" not in server:
        raise UsageError(
            "--scenario server needs a bound: MLPerf has one for its own models; give --latency-bound-ms."
        )
    if scenario != "server" and server:
        raise UsageError(f"{server[0]} is about the server scenario; leave it out with --scenario {scenario}.")
    if len(batches) > 1 or (batches != (1,) and scenario != "offline"):
        raise UsageError("--scenario asks for one sample at a time; one --batch is for offline alone.")


def _check_layers(given: Given) -> None:
    """Options that mean nothing for layers stand with --layers."""
    if given["--layers"] and (others := _given(given, NOT_LAYERS) + _gpu(given)):
        raise UsageError(
            f"--layers looks into the artifacts of a bundle, for --rounds runs each; leave out {others[0]}."
        )


def _check_comparison(given: Given) -> None:
    """A result is to be compared or tabulated that has no rows beside a reference, or nothing is compared."""
    if given["--fail-under"] is not None and given["--compare"] is None:
        raise UsageError("--fail-under is about an earlier result; give --compare FILE too.")
    without_rows = _given(given, ("--layers", "--scenario"))
    others = [*_given(given, ("--train",)), *without_rows, *_gpu(given)]
    if given["--url"] and given[BUNDLE] is None:
        others.append("--url")
    if given["--compare"] is not None and others:
        raise UsageError(f"--compare is about inference on the CPU, beside a reference row; leave out {others[0]}.")
    if given["--csv"] is not None and without_rows:
        raise UsageError(f"--csv has a line for each row; with {without_rows[0]} give --out for a JSON object.")


def _given(given: Given, names: Iterable[str]) -> list[str]:
    return [name for name in names if given[name] is not None]


def _gpu(given: Given) -> list[str]:
    return ["--device"] if given["--device"] == "cuda" else []
