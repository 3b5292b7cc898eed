"""What the options ask for, as the values that the measurements take: a generator, how long, which load."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from platformdirs import user_cache_path

from cgan_bench.options import parse_concurrency, parse_precisions, parse_rates
from cgan_bench.reference import plain_export, reference_target
from cgan_bench.rounds import Plan
from cgan_bench.sizes import at_size, parse_size
from cgan_bench.target import Server, Target, target_of_bundle

if TYPE_CHECKING:
    from cgan_bench.load.measure import LoadPlan

__all__ = ["load_plan_of", "plan_of", "target_of"]


def target_of(
    bundle: Path | None,
    *,
    checkpoint: Path | None,
    server: Server | None,
    size: str | None,
    precision: str | None,
    require_signature: Path | None,
    stack: ExitStack,
    say: Callable[[str], None],
) -> Target:
    """A bundle, with its plain export where there is a checkpoint; without one the reference model.

    Args:
        bundle: folder or archive.
        checkpoint: what it was exported from.
        server: where it is served.
        size: as --size was given.
        precision: as --precision was given.
        require_signature: a public key.
        stack: keeps the folder of the plain export.
        say: told what is made.

    Raises:
        BundleError, BadInputError, UsageError: see `target_of_bundle`.
    """
    wanted = parse_size(size) if size else None
    if bundle is None:
        target = reference_target(user_cache_path("cgan-deploy"), say=say)
        assert target.contract is not None  # noqa: S101 - it is a bundle
        at_size(target.contract, wanted)
        return target
    target = target_of_bundle(
        bundle,
        checkpoint=checkpoint,
        server=server,
        size=wanted,
        precisions=parse_precisions(precision),
        require_signature=require_signature,
    )
    if checkpoint is None:
        return target
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cgan-bench-")))
    return replace(target, plain=plain_export(target, folder, say=say))


def plan_of(seconds: float | None, rounds: int | None, warmup: int | None, threads: int | None) -> Plan:
    """How long and how it is measured; None leaves the default."""
    return Plan(
        seconds=seconds or Plan.seconds,
        rounds=rounds,
        warm_up=Plan.warm_up if warmup is None else warmup,
        threads=threads or Plan.threads,
    )


def load_plan_of(
    urls: tuple[str, ...],
    model: str,
    *,
    batches: tuple[int, ...],
    seconds: float | None,
    size: str | None,
    concurrency: str | None,
    rate: str | None,
    arrivals: Literal["poisson", "even"] | None,
) -> LoadPlan:
    """The loads that servers are put under: one client where neither clients nor rates were given.

    Raises:
        UsageError: something else than clients, rates or a size.
    """
    from cgan_bench.load.loops import Level
    from cgan_bench.load.measure import LoadPlan

    clients = parse_concurrency(concurrency) if concurrency else () if rate else (1,)
    rates = parse_rates(rate) if rate else ()
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
