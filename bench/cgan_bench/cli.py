"""cgan-bench: how fast a generator is here, each way of running it beside the others."""

from __future__ import annotations

import json
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

from cgan_runtime.cli.shell import app, run
from cgan_runtime.errors import CganError, CheckFailedError, UsageError
from cyclopts import Parameter, validators

from cgan_bench import options

if TYPE_CHECKING:
    from cgan_bench.comparison import Comparison, Earlier
    from cgan_bench.load.measure import LoadPlan
    from cgan_bench.measuring import AnyReport
    from cgan_bench.rounds import Plan
    from cgan_bench.target import Server, Target

__all__ = ["main"]

command = app("cgan-bench")

Width = Annotated[int, Parameter(validator=validators.Number(gte=1, lte=512))]
Arrivals = Literal["poisson", "even"]
NotNegative = Annotated[int, Parameter(validator=validators.Number(gte=0))]


@command.default
def bench(
    bundle: Path | None = None,
    /,
    *,
    batch: str = "1",
    seconds: Annotated[float | None, Parameter(validator=validators.Number(gt=0, lte=3600))] = None,
    rounds: Annotated[int | None, Parameter(validator=validators.Number(gte=1, lte=100_000))] = None,
    warmup: NotNegative | None = None,
    threads: NotNegative | None = None,
    device: Literal["cpu", "cuda"] = "cpu",
    streams: str | None = None,
    checkpoint: Path | None = None,
    size: str | None = None,
    precision: str | None = None,
    require_signature: Path | None = None,
    url: tuple[str, ...] = (),
    model: str | None = None,
    concurrency: str | None = None,
    rate: str | None = None,
    arrivals: Arrivals | None = None,
    train: Annotated[bool, Parameter(negative="")] = False,
    data: Path | None = None,
    ngf: Width | None = None,
    ndf: Width | None = None,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None,
    csv: Path | None = None,
    html: Path | None = None,
    compare: Path | None = None,
    fail_under: Annotated[float | None, Parameter(validator=validators.Number(gt=0, lte=100))] = None,
) -> None:
    """Measure a generator: PyTorch, torch.compile, ONNX Runtime, our bundle.

    Without a bundle: the pix2pix U-Net-256 with random weights, built once and
    kept. Every backend runs in a process of its own. Rounds visit all of them
    in random order on the same inputs, until every ratio is known to 5 %. What
    was timed is audited afterwards: a row with other outputs ends with code 5,
    and so does a ratio that six times the --seconds do not settle.

    With --url, a server is put under load instead: by so many clients that each
    wait for their answer, or by requests that leave at planned instants. Every
    answer is compared with the one that the same request got alone.

    With --train, training is measured instead: the loop of cgan-train beside a
    plain one on the same networks and images, and one step of both compared.

    For example:

        cgan-bench --batch 1
        cgan-bench facades --batch 1,4 --checkpoint runs/facades/last.pt --html bench.html
        cgan-bench facades --size 512x256 --precision fp32,int8
        cgan-bench facades --checkpoint last.pt --compare old.json --fail-under 0.95
        cgan-bench --device cuda --batch 1,8,32 --streams 1,2
        cgan-bench --url grpc://127.0.0.1:8001 --model facades --concurrency 1,4
        cgan-bench --url http://127.0.0.1:8000 --model facades_png --rate 5,10
        cgan-bench --train --batch 1,16

    Args:
        bundle: Bundle written by cgan-export. [default: the reference model]
        batch: Images per inference, request or training step, one or several: 1,4,16. [default: 1]
        seconds: How long to measure at least, per row; up to six times as long until ratios settle. [default: 10]
        rounds: Number of rounds, instead of --seconds; whether ratios settle is not judged.
        warmup: Rounds before the first that counts. [default: 3]
        threads: Threads of each library. [default: each library chooses]
        device: cuda measures on the GPU instead, stage by stage; with --train it adds rows. [default: cpu]
        streams: With --device cuda: batches that are on the GPU at once, one or several: 1,2,4. [default: 1]
        checkpoint: The file that the bundle was exported from; adds the rows of PyTorch and of the plain export.
        size: Size of the images, 256 or WIDTHxHEIGHT, where the bundle leaves it free; with --train 64, 128, 256
            or 512. [default: that of the bundle's golden samples; with --train 256]
        precision: Artifacts of the bundle to measure, separated by commas: fp32, fp16, int8. [default: all it has]
        require_signature: A public key (PEM); the bundle must be signed with its private key.
        url: A server, http[s]://HOST:PORT or grpc[s]://HOST:PORT; its API key: CGAN_API_KEY. Twice: two in turns.
        model: Name of the served model: NAME, NAME_png or NAME_core.
        concurrency: Clients at once, one or several: 1,2,4, or a range 1:8 or 1:9:4. [default: 1]
        rate: Requests a second at planned instants, one or several: 5,10,20.
        arrivals: How the instants of --rate are spread: poisson (as of many people) or even. [default: poisson]
        train: Measure training instead of inference.
        data: With --train: dataset folder with pairs in train/. [default: smooth images made for it]
        ngf: With --train: width of the generator. [default: 64]
        ndf: With --train: width of the discriminator. [default: 64]
        as_json: Print one JSON object instead of the table.
        out: Also write that JSON object to this file.
        csv: Also write a line for each row, without the single times, to this file.
        html: Also write a page with all figures and a plot of the times to this file.
        compare: An earlier --out file: tell how each row changed beside the reference row.
        fail_under: With --compare: end with code 5 unless every row is at least so many times as fast as it was.
    """
    from cgan_bench.measuring import cpu_report, gpu_report, load_report, training_report
    from cgan_bench.target import Server

    batches, chosen_streams = options.parse_batches(batch), options.parse_streams(streams)
    if seconds is not None and rounds is not None:
        raise UsageError("--seconds and --rounds both say how long to measure; give one of them.")
    options.check_inference(
        bundle,
        checkpoint=checkpoint,
        url=url,
        model=model,
        device=device,
        streams=streams,
        precision=precision,
        require_signature=require_signature,
    )
    options.check_load(
        bundle,
        url=url,
        arrivals=arrivals,
        load={"--concurrency": concurrency, "--rate": rate, "--arrivals": arrivals},
        inference={"--rounds": rounds, "--warmup": warmup, "--threads": threads},
    )
    about_inference = {
        "a bundle": bundle,
        "--checkpoint": checkpoint,
        "--precision": precision,
        "--require-signature": require_signature,
        "--url": url or None,
        "--concurrency": concurrency,
        "--rate": rate,
        "--streams": streams,
    }
    about_training = {"--data": data, "--ngf": ngf, "--ndf": ndf}
    options.check_training(train=train, inference=about_inference, training=about_training)
    options.check_comparison(
        compare=compare, fail_under=fail_under, train=train, device=device, url=url, bundle=bundle
    )
    earlier = _earlier(compare, fail_under)
    for file in (out, csv, html):
        if file is not None and not file.parent.is_dir():
            raise UsageError(f"the folder of {file} does not exist; create it first.")
    signal.signal(signal.SIGTERM, _end)
    plan = _plan(seconds, rounds, warmup, threads)
    report: AnyReport
    with ExitStack() as stack:
        if train:
            side = options.parse_training_size(size)
            setup = {"size": side, "ngf": ngf, "ndf": ndf, "threads": threads}
            report = training_report(data, setup, batches, plan, device, stack, say=_say)
        elif url and model and bundle is None:
            report = load_report(
                _load_plan(url, model, batches, seconds, size, concurrency, rate, arrivals), say=_say
            )
        else:
            server = Server(url=url[0], model=model) if url and model else None
            target = _target(bundle, checkpoint, server, size, precision, require_signature, stack)
            options.check_batches(batches, target)
            if earlier is not None:
                earlier.require_same_model(model=target.title, size=target.measured_size)
            if device == "cuda":
                report = gpu_report(target, batches, chosen_streams, plan, say=_say)
            else:
                report = cpu_report(target, batches, plan, say=_say)
    _finish(report, earlier, as_json=as_json, out=out, csv=csv, html=html)


def _finish(
    report: AnyReport,
    earlier: Earlier | None,
    *,
    as_json: bool,
    out: Path | None,
    csv: Path | None,
    html: Path | None,
) -> None:
    """Tell and write everything that was measured, then conclude."""
    result, comparison, refusal = report.to_json(), None, None
    if earlier is not None and not report.failure:
        try:
            comparison = earlier.beside(result)
            result["comparison"] = comparison.to_json()
        except UsageError as error:  # told after what was measured
            refusal = error
    _tell(report, comparison, result, as_json=as_json)
    _write(result, out=out, csv=csv)
    if html is not None:
        from cgan_bench.page import write_report

        write_report(html, report)
    _conclude(report)
    if refusal is not None:
        raise refusal
    if comparison is not None and comparison.complaint:
        raise CheckFailedError(comparison.complaint)


def _tell(report: AnyReport, comparison: Comparison | None, result: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(result, allow_nan=False))
        return
    from cgan_bench.printing import print_comparison, print_report

    print_report(report)
    if comparison is not None:
        print_comparison(comparison)


def _write(result: dict[str, Any], *, out: Path | None, csv: Path | None) -> None:
    from cgan_runtime.atomic import write_atomic

    from cgan_bench.rows_csv import rows_csv

    if out is not None:
        write_atomic(out, json.dumps(result, allow_nan=False) + "\n")
    if csv is not None:
        write_atomic(csv, rows_csv(result["rows"]))


def _conclude(report: AnyReport) -> None:
    """The exit code: nothing measured, or failed requests, is 1; wrong or too uncertain results are 5."""
    if report.invalid:
        raise CheckFailedError(report.complaint)
    if report.failure:
        raise CganError(report.failure)
    if report.uncertain:
        raise CheckFailedError(report.uncertain)


def _earlier(compare: Path | None, fail_under: float | None) -> Earlier | None:
    if compare is None:
        return None
    from cgan_bench.comparison import Earlier, read_result

    return Earlier(path=compare, result=read_result(compare), fail_under=fail_under)


def _target(
    bundle: Path | None,
    checkpoint: Path | None,
    server: Server | None,
    size: str | None,
    precision: str | None,
    require_signature: Path | None,
    stack: ExitStack,
) -> Target:
    from platformdirs import user_cache_path

    from cgan_bench.reference import plain_export, reference_target
    from cgan_bench.sizes import at_size, parse_size
    from cgan_bench.target import target_of_bundle

    wanted, precisions = (parse_size(size) if size else None), options.parse_precisions(precision)
    if bundle is None:
        target = reference_target(user_cache_path("cgan-deploy"), say=_say)
        assert target.contract is not None  # noqa: S101 - it is a bundle
        at_size(target.contract, wanted)
        return target
    target = target_of_bundle(
        bundle,
        checkpoint=checkpoint,
        server=server,
        size=wanted,
        precisions=precisions,
        require_signature=require_signature,
    )
    if checkpoint is None:
        return target
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cgan-bench-")))
    return replace(target, plain=plain_export(target, folder, say=_say))


def _load_plan(
    urls: tuple[str, ...],
    model: str,
    batches: tuple[int, ...],
    seconds: float | None,
    size: str | None,
    concurrency: str | None,
    rate: str | None,
    arrivals: Arrivals | None,
) -> LoadPlan:
    from cgan_bench.load.loops import Level
    from cgan_bench.load.measure import LoadPlan
    from cgan_bench.sizes import parse_size

    clients = options.parse_concurrency(concurrency) if concurrency else () if rate else (1,)
    rates = options.parse_rates(rate) if rate else ()
    return LoadPlan(
        urls=urls,
        model=model,
        levels=(
            *(Level(clients=number) for number in clients),
            *(Level(rate=number, arrivals=arrivals or "poisson") for number in rates),
        ),
        batches=batches,
        seconds=seconds or LoadPlan.seconds,
        size=parse_size(size) if size else None,
    )


def _plan(seconds: float | None, rounds: int | None, warmup: int | None, threads: int | None) -> Plan:
    from cgan_bench.rounds import Plan

    return Plan(
        seconds=seconds or Plan.seconds,
        rounds=rounds,
        warm_up=Plan.warm_up if warmup is None else warmup,
        threads=threads or Plan.threads,
    )


def _end(*_: object) -> NoReturn:
    raise SystemExit(128 + signal.SIGTERM)


def _say(text: str) -> None:
    print(f"cgan-bench: {text}", file=sys.stderr, flush=True)


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Entry point of cgan-bench; `argv` are its words, those of the process by default."""
    run(command, argv)
