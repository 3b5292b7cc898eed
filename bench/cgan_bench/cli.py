"""cgan-bench: how fast a generator is here, each way of running it beside the others."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

from cgan_runtime.cli.shell import app, run
from cyclopts import Parameter, validators

from cgan_bench import options, together

if TYPE_CHECKING:
    from cgan_bench.comparison import Earlier
    from cgan_bench.measuring import AnyReport

__all__ = ["main"]

command = app("cgan-bench")

Width = Annotated[int, Parameter(validator=validators.Number(gte=1, lte=512))]
Arrivals = Literal["poisson", "even"]
Positive = Annotated[float, Parameter(validator=validators.Number(gt=0))]
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
    device: Literal["cpu", "cuda"] | None = None,
    streams: str | None = None,
    checkpoint: Path | None = None,
    size: str | None = None,
    precision: str | None = None,
    peers: Annotated[bool, Parameter(negative="")] = False,
    layers: Annotated[bool, Parameter(negative="")] = False,
    scenario: Literal["singlestream", "offline", "server"] | None = None,
    qps: Positive | None = None,
    latency_bound_ms: Positive | None = None,
    backend: str | None = None,
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
        cgan-bench facades --checkpoint runs/facades/last.pt --peers
        cgan-bench facades --layers
        cgan-bench facades --scenario server --latency-bound-ms 100
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
        device: cpu or cuda: on a GPU, stage by stage; with --train cuda adds rows. [default: the CPU, and then the
            GPU too where there is one; with --train the CPU]
        streams: With --device cuda: batches that are on the GPU at once, one or several: 1,2,4. [default: 1]
        checkpoint: The file that the bundle was exported from; adds the rows of PyTorch and of the plain export.
        size: Size of the images, 256 or WIDTHxHEIGHT, where the bundle leaves it free; with --train 64, 128, 256
            or 512. [default: that of the bundle's golden samples; with --train 256]
        precision: Artifacts of the bundle to measure, separated by commas: fp32, fp16, int8. [default: all it has]
        peers: Also measure what else people would run on a CPU: PyTorch in channels last, OpenVINO, and the INT8
            of NNCF and of ONNX Runtime, made from the plain export.
        layers: Measure where the time of each of our artifacts goes instead, layer by layer, in --rounds runs.
        scenario: Let MLPerf's LoadGen ask one of our artifacts instead; --seconds is its shortest duration.
        qps: With --scenario server: samples a second. [default: the highest valid rate is looked for]
        latency_bound_ms: With --scenario server: what 99 % of the answers have to keep.
        backend: With --scenario: what runs the artifact, onnxruntime or openvino. [default: onnxruntime]
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
        html: Also write a page with all figures and plots of them to this file.
        compare: An earlier --out file: tell how each row changed beside the reference row.
        fail_under: With --compare: end with code 5 unless every row is at least so many times as fast as it was.
    """
    from cgan_bench.measuring import (
        Asked,
        inference_reports,
        layers_report,
        load_report,
        scenario_report,
        training_report,
    )
    from cgan_bench.mlperf.scenarios import Scenario
    from cgan_bench.plans import load_plan_of, plan_of, target_of
    from cgan_bench.target import Server
    from cgan_bench.telling import Output, finish

    batches, chosen_streams = options.parse_batches(batch), options.parse_streams(streams)
    given = {
        "a bundle": bundle,
        "--seconds": seconds,
        "--rounds": rounds,
        "--warmup": warmup,
        "--threads": threads,
        "--device": device,
        "--streams": streams,
        "--checkpoint": checkpoint,
        "--precision": precision,
        "--peers": peers or None,
        "--layers": layers or None,
        "--scenario": scenario,
        "--qps": qps,
        "--latency-bound-ms": latency_bound_ms,
        "--backend": backend,
        "--require-signature": require_signature,
        "--url": url or None,
        "--model": model,
        "--concurrency": concurrency,
        "--rate": rate,
        "--arrivals": arrivals,
        "--train": train or None,
        "--data": data,
        "--ngf": ngf,
        "--ndf": ndf,
        "--out": out,
        "--csv": csv,
        "--html": html,
        "--compare": compare,
        "--fail-under": fail_under,
    }
    together.check_together(given, batches=batches)
    artifact = (backend or "onnxruntime", options.one_precision(precision) if scenario else "fp32")
    earlier = _earlier(compare, fail_under)
    signal.signal(signal.SIGTERM, _end)
    plan = plan_of(seconds, rounds, warmup, threads)
    reports: Sequence[AnyReport]
    with ExitStack() as stack:
        if train:
            side = options.parse_training_size(size)
            setup = {"size": side, "ngf": ngf, "ndf": ndf, "threads": threads}
            reports = [training_report(data, setup, batches, plan, device or "cpu", stack, say=_say)]
        elif url and model and bundle is None:
            load = load_plan_of(
                url,
                model,
                batches=batches,
                seconds=seconds,
                size=size,
                concurrency=concurrency,
                rate=rate,
                arrivals=arrivals,
            )
            reports = [load_report(load, say=_say)]
        else:
            target = target_of(
                bundle,
                checkpoint=checkpoint,
                server=Server(url=url[0], model=model) if url and model else None,
                size=size,
                precision=precision,
                require_signature=require_signature,
                stack=stack,
                say=_say,
            )
            together.check_batches(batches, target)
            if earlier is not None:
                earlier.require_same_model(model=target.title, size=target.measured_size)
            if scenario is not None:
                told = Scenario(
                    name=scenario,
                    min_duration_s=seconds or Scenario.min_duration_s,
                    qps=qps,
                    latency_bound_ms=latency_bound_ms,
                    batch=batches[0],
                )
                reports = [scenario_report(target, told, artifact, threads=plan.threads, say=_say)]
            elif layers:
                reports = [layers_report(target, batches, plan, say=_say)]
            else:
                asked = Asked(device=device, streams=chosen_streams, peers=peers)
                reports = inference_reports(target, batches, plan, asked, say=_say)
    finish(reports, earlier, Output(as_json=as_json, out=out, csv=csv, html=html))


def _earlier(compare: Path | None, fail_under: float | None) -> Earlier | None:
    if compare is None:
        return None
    from cgan_bench.comparison import Earlier, read_result

    return Earlier(path=compare, result=read_result(compare), fail_under=fail_under)


def _end(*_: object) -> NoReturn:
    raise SystemExit(128 + signal.SIGTERM)


def _say(text: str) -> None:
    print(f"cgan-bench: {text}", file=sys.stderr, flush=True)


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Entry point of cgan-bench; `argv` are its words, those of the process by default."""
    run(command, argv)
