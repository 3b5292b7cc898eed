"""Whether the answers that were timed are the generator's: an audit of every row, after the timing.

After MLPerf's TEST01 (the answers of the timed run are compared with those of an accuracy run) and TEST04 (nothing
may be answered from a cache). A row that was right for known seeds only, or only when nobody looked at the clock,
would otherwise pass.

timed answers   some of the timed rounds, drawn at random afterwards, are asked again: the answers are those that
                were returned during the timing, of which values at random places were kept
FP32 model      these answers, and those to fresh seeds, are those of the bundle's FP32 model on ONNX Runtime, in a
                process that timed nothing
golden samples  that model makes here what the bundle stores as made where it was exported
answers differ  to different conditions and noise there are different answers
"""

from __future__ import annotations

import hashlib
import random
import secrets
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final

from cgan_runtime.bundle import Bundle
from cgan_runtime.contract import Contract
from cgan_runtime.runners.base import Array

from cgan_bench.backends.base import kept_values
from cgan_bench.backends.bundle import BundleArtifact
from cgan_bench.fidelity import Agreement, Answers, compare_answers
from cgan_bench.target import Target
from cgan_bench.worker_client import Worker
from cgan_bench.workload import inputs_for, round_seeds

__all__ = ["AUDITS", "Audit", "Fp32Model", "Sample", "audits_of", "draw_sample", "fp32_model", "golden_audit"]

AUDITS: Final = ("timed answers", "FP32 model", "golden samples", "answers differ")
TIMED_CALLS: Final = 3
FRESH_CALLS: Final = 2
FRESH_SEEDS: Final = 2**63  # the lowest: those of rounds are far below


@dataclass(frozen=True, kw_only=True)
class Audit:
    """One check of one row.

    Attributes:
        name: one of the names above.
        passed: whether it held.
        words: what was found.
    """

    name: str
    passed: bool
    words: str

    def to_json(self) -> dict[str, Any]:
        """The fields as plain values."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What all rows of a block are asked after the timing.

    Attributes:
        seed: draws the rounds and the fresh seeds.
        first_seed: where the seeds of the rounds began.
        rounds: numbers of the timed rounds that are asked again, from 0.
        calls: the seeds of each call: those of `rounds` in their order, then fresh ones.
    """

    seed: int
    first_seed: int
    rounds: tuple[int, ...]
    calls: tuple[tuple[int, ...], ...]

    def answers_of(self, worker: Worker) -> Answers:
        """The outputs of every call."""
        return tuple(worker.answers(list(seeds)) for seeds in self.calls)

    def to_json(self) -> dict[str, Any]:
        """What repeats it; seeds as text, because not every reader of JSON keeps 64 bits."""
        fresh = [str(seed) for seeds in self.calls[len(self.rounds) :] for seed in seeds]
        return {
            "seed": self.seed,
            "first_seed": self.first_seed,
            "rounds": [number + 1 for number in self.rounds],
            "fresh_seeds": fresh,
        }


@dataclass(frozen=True, kw_only=True)
class Fp32Model:
    """What the bundle's FP32 model answers here, in a process that timed nothing.

    Attributes:
        answers: to every call of a sample.
        golden: its golden samples; None where the bundle has none.
    """

    answers: Answers
    golden: Audit | None


def draw_sample(*, first_seed: int, rounds: range, batch: int, seed: int | None = None) -> Sample:
    """Up to `TIMED_CALLS` of the timed rounds, and `FRESH_CALLS` calls with seeds that no round had.

    Args:
        first_seed: as `round_seeds` takes it.
        rounds: indices of the timed rounds, as `round_seeds` takes them.
        batch: seeds of a call.
        seed: draws all of it; None: a random one.
    """
    seed = secrets.randbits(32) if seed is None else seed
    drawn = random.Random(seed)
    chosen = tuple(sorted(drawn.sample(range(len(rounds)), min(TIMED_CALLS, len(rounds)))))
    timed = [tuple(round_seeds(rounds[number], batch, first=first_seed)) for number in chosen]
    fresh = [tuple(FRESH_SEEDS + drawn.getrandbits(63) for _ in range(batch)) for _ in range(FRESH_CALLS)]
    return Sample(seed=seed, first_seed=first_seed, rounds=chosen, calls=(*timed, *fresh))


def fp32_model(target: Target, sample: Sample, threads: int) -> Fp32Model | None:
    """What the bundle's FP32 model says; None without a bundle."""
    if target.bundle is None:
        return None
    with Worker("the audit") as worker:
        worker.open(BundleArtifact(), target, threads)
        answers = sample.answers_of(worker)
        golden: Audit | None = worker.run(golden_audit, target.bundle, threads)
    return Fp32Model(answers=answers, golden=golden)


def audits_of(
    contract: Contract,
    sample: Sample,
    *,
    kept: Answers,
    now: Answers,
    fp32: Fp32Model | None,
    precision: str,
) -> tuple[Audit, ...]:
    """The audits of one row.

    Args:
        contract: with numbers for axes.
        sample: what was asked.
        kept: `kept_values` of the rounds of the sample, as they were during the timing.
        now: outputs [N, ...] of every call of the sample.
        fp32: None: there is no bundle, or the row's own tool chose its precision.
        precision: of the row.
    """
    again: Answers = [
        kept_values(answer, seeds) for answer, seeds in zip(now, sample.calls[: len(kept)], strict=False)
    ]
    rounds = ", ".join(str(number + 1) for number in sample.rounds)
    compared: list[tuple[str, str, Answers, Answers]] = [
        ("timed answers", f"that of rounds {rounds} asked again", again, kept)
    ]
    if fp32 is not None:
        compared.append(("FP32 model", "that of the bundle's FP32 model", now, fp32.answers))
    agreed = [
        _agreeing(name, whose, compare_answers(contract, right, mine, precisions=(precision,)))
        for name, whose, mine, right in compared
    ]
    golden = [fp32.golden] if fp32 is not None and fp32.golden is not None else []
    return (*agreed, *golden, *_differing(contract, sample, now))


def golden_audit(bundle: Bundle, threads: int) -> Audit | None:
    """The FP32 model here against the outputs that the bundle stores; None where it stores none."""
    from cgan_export.bundle.verify import golden_figures
    from cgan_export.fidelity.labels import shortfalls

    if not bundle.manifest.golden:
        return None
    generator = bundle.generator(threads=threads)
    try:
        short = shortfalls(golden_figures(bundle, generator))
    finally:
        generator.close()
    count = len(bundle.manifest.golden)
    words = "; ".join(short) or f"{count} of {count} as where it was exported"
    return Audit(name="golden samples", passed=not short, words=words)


def _agreeing(name: str, whose: str, agreements: tuple[Agreement, ...]) -> Audit:
    wrong = next((one for one in agreements if not one.within_limit), None)
    if wrong is not None:
        words = f"{wrong.output} agrees with {whose} to {wrong.words}, needs {wrong.limit_words}"
        return Audit(name=name, passed=False, words=words)
    return Audit(name=name, passed=True, words=", ".join(one.words for one in agreements))


def _differing(contract: Contract, sample: Sample, now: Answers) -> Iterator[Audit]:
    """Nothing where the inputs are all the same: one label, no noise."""
    inputs = {row for seeds in sample.calls for row in _rows(inputs_for(contract, seeds))}
    if len(inputs) < 2:
        return
    answers = {row for answer in now for row in _rows(answer)}
    words = f"{len(answers)} different answers to {len(inputs)} different inputs"
    yield Audit(name="answers differ", passed=len(answers) > 1, words=words)


def _rows(tensors: dict[str, Array]) -> list[bytes]:
    """A hash of each row of a batch, all its tensors together."""
    count = len(next(iter(tensors.values()), ()))
    joined = (b"".join(tensors[name][row].tobytes() for name in sorted(tensors)) for row in range(count))
    return [hashlib.sha256(row).digest() for row in joined]
