"""`make mutants SEED=1 COUNT=200`: which deliberate breaks does no test notice?"""

from __future__ import annotations

import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cyclopts

from tests.mutants.breaks import Break, draw
from tests.mutants.running import QUICK, SLOW, Copy, Outcome
from tests.mutants.tests_of import Imports

ROOT: Final = Path(__file__).parents[2]
PACKAGES: Final = {
    "cgan_runtime": Path("runtime/cgan_runtime"),
    "cgan_trainer": Path("trainer/cgan_trainer"),
    "cgan_export": Path("export/cgan_export"),
    "cgan_bench": Path("bench/cgan_bench"),
}
# No test imports what runs in a process of its own, a server's or a benchmark's; these talk to it.
ELSEWHERE: Final = {
    Path("runtime/cgan_runtime/serving/models.py"): [
        f"tests/runtime/test_serving{part}.py" for part in ("_seeds", "_contracts", "")
    ],
    Path("runtime/cgan_runtime/serving/core_call.py"): [
        f"tests/runtime/test_{name}.py" for name in ("device_inputs", "serving_ngc_server", "serving_contracts")
    ],
    Path("runtime/cgan_runtime/serving/stage_times.py"): [
        *("tests/runtime/test_stage_times.py", "tests/gateway/test_gateway.py")
    ],
    Path("runtime/cgan_runtime/serving/examples.py"): [
        f"tests/runtime/test_serving{part}.py" for part in ("_contracts", "")
    ],
    Path("bench/cgan_bench/worker_process.py"): ["tests/bench/test_measure.py"],
    Path("bench/cgan_bench/trust.py"): ["tests/bench/test_trust.py"],
    **{
        Path(f"runtime/cgan_runtime/cuda/{name}.py"): ["tests/runtime/cuda/test_drivers.py"]
        for name in ("bindings_driver", "libcuda", "pycuda_driver")
    },
    **{
        Path(f"runtime/cgan_runtime/runners/onnxruntime/{name}.py"): [
            *(f"tests/runtime/onnxruntime/test_{part}.py" for part in ("gpu", "builds")),
            "tests/runtime/test_runners.py",
            "tests/runtime/test_bounds.py",
            "tests/export/test_export.py",
        ]
        for name in ("devices", "gpu_session", "runner")
    },
    **{
        Path(f"runtime/cgan_runtime/gateway/{name}.py"): [
            f"tests/gateway/test_{part}.py" for part in ("bad_requests", "gateway", "gateway_conforms")
        ]
        for name in (
            *("__main__", "checks", "describe", "front", "grpc_app", "grpc_call", "grpc_request", "grpc_stream"),
            *("http_app", "http_body", "json_answer", "json_request", "json_values", "keys", "logs", "metrics"),
            *("metrics_app", "openapi", "request", "served"),
        )
    },
    Path("runtime/cgan_runtime/gateway/tracing.py"): ["tests/gateway/test_tracing.py"],
    **{
        Path(f"bench/cgan_bench/{name}.py"): ["tests/bench/test_cli.py"]
        for name in ("measuring", "plans", "together")
    },
    Path("bench/cgan_bench/layers/openvino.py"): ["tests/bench/test_layers.py"],
    **{
        Path(f"bench/cgan_bench/load/{name}.py"): [
            f"tests/bench/test_load_{part}.py" for part in ("loops", "servers")
        ]
        for name in ("clients", "loops", "measure", "windows")
    },
}


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A break, and how the tests took it; `by` is the test that failed, or what else there is to say."""

    change: Break
    caught: bool
    by: str

    def __str__(self) -> str:
        state = f"caught by {self.by}" if self.caught else f"SURVIVED {self.by}"
        return f"{self.change.file}:{self.change.line} | {self.change} | {state}"


class Judge:
    """Breaks a copy of the tree, and looks whether tests fail that pass without the break.

    Args:
        copy: of the tree.
        imports: of the same.
        files: for each break, the number of test files to run.
        marks: the first of pytest's -m for all of these files, then the next.
        limit_s: for each of these runs, in seconds.
    """

    def __init__(
        self, copy: Copy, imports: Imports, *, files: int, marks: Sequence[str] = (QUICK, SLOW), limit_s: float
    ) -> None:
        self._copy, self._imports, self._files, self._marks, self._limit_s = copy, imports, files, marks, limit_s
        self._sound: dict[tuple[str, ...], bool] = {}

    def verdict(self, change: Break) -> Verdict:
        """Of one break, from the test files that are nearest to its file."""
        tests = ELSEWHERE.get(change.file) or self._near(change.file)
        for marks in ("",) if change.file in ELSEWHERE else self._marks if tests else ():
            if (by := self._caught(change, tests, marks)) is not None:
                return Verdict(change=change, caught=True, by=by)
        names = ", ".join(Path(path).name for path in tests)
        return Verdict(change=change, caught=False, by=f"({names or 'no test imports the file'})")

    def _near(self, file: Path) -> list[str]:
        return [str(path) for path in self._imports.tests_of(file, self._files)]

    def _caught(self, change: Break, tests: Sequence[str], marks: str) -> str | None:
        """The test that fails with the break and not without it."""
        left = list(tests)
        while left:
            with self._copy.broken(change):
                outcome = self._copy.test(left, marks=marks, limit_s=self._limit_s)
            if outcome.kind == "passed":
                return None
            if self._passes_unbroken(outcome, left, marks):
                return outcome.test or "the time limit"
            if outcome.kind == "timed out":
                return None
            left = [path for path in left if path != outcome.test.partition("::")[0]]
        return None

    def _passes_unbroken(self, outcome: Outcome, tests: Sequence[str], marks: str) -> bool:
        """Whether it is the break that made the test fail."""
        # Without its parameters: a value of the broken code may be a part of them, and there is no such test then.
        names = [outcome.test.partition("[")[0]] if outcome.test else list(tests)
        if outcome.test and "::" not in outcome.test:
            names.append("--collect-only")  # the file could not be imported: that is all there is to see
        key = (*names, marks)
        if key not in self._sound:
            self._sound[key] = self._copy.test(names, marks=marks, limit_s=self._limit_s).kind == "passed"
        return self._sound[key]


def sources_of(tree: Path, only: Sequence[str] = ()) -> dict[str, list[tuple[Path, str]]]:
    """By package, its files and what is in them; only files whose path contains one of `only`, if any is given."""
    return {
        name: [
            (path.relative_to(tree), path.read_text(encoding="utf-8"))
            for path in sorted((tree / folder).rglob("*.py"))
            if not only or any(part in path.as_posix() for part in only)
        ]
        for name, folder in PACKAGES.items()
    }


def mutants(
    *,
    seed: int = 1,
    count: int = 200,
    skip: int = 0,
    only: tuple[str, ...] = (),
    files: int = 6,
    limit_s: float = 240.0,
    marks: tuple[str, ...] = (QUICK, SLOW),
) -> None:
    """Break a copy of the code in drawn places, one at a time, and list the breaks that no test notices.

    Args:
        seed: another seed, other places.
        count: number of breaks, in equal shares of the four packages.
        skip: leave out the first ones of them.
        only: draw from files whose path contains one of these.
        files: for each break, the number of test files to run.
        limit_s: seconds for these; a break that makes them last longer counts as caught.
        marks: pytest's -m, one run after the other.
    """
    survivors: list[Verdict] = []
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        tree = Path(folder) / "tree"
        tree.mkdir()
        copy = Copy(ROOT, tree, packages=[path.parent for path in PACKAGES.values()])
        judge = Judge(copy, Imports(tree, PACKAGES, Path("tests")), files=files, marks=marks, limit_s=limit_s)
        drawn = draw(count, seed, sources_of(tree, only))[skip:]
        for number, change in enumerate(drawn, 1):
            began_s = time.monotonic()
            verdict = judge.verdict(change)
            if not verdict.caught:
                survivors.append(verdict)
            print(f"{number}/{len(drawn)} | {verdict} | {time.monotonic() - began_s:.0f} s", flush=True)
    print(f"\nseed {seed}: {len(drawn)} breaks, {len(drawn) - len(survivors)} caught, {len(survivors)} survived")
    for verdict in survivors:
        print(verdict)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the copy is removed
    app = cyclopts.App(name="python -m tests.mutants", help_format="plaintext")
    app.default(mutants)
    app(sys.argv[1:])
