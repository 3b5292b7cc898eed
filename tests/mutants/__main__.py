"""`make mutants SEED=1 COUNT=200`: which deliberate breaks does no test notice?"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cyclopts

from tests.mutants.breaks import Break, draw
from tests.mutants.running import QUICK, Copy, Outcome
from tests.mutants.tests_of import Imports

ROOT: Final = Path(__file__).parents[2]
PACKAGES: Final = {
    "cgan_runtime": Path("runtime/cgan_runtime"),
    "cgan_trainer": Path("trainer/cgan_trainer"),
    "cgan_export": Path("export/cgan_export"),
    "cgan_bench": Path("bench/cgan_bench"),
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
    """Breaks a copy of the tree, and looks whether tests fail that pass without the break."""

    def __init__(self, copy: Copy, imports: Imports, *, files: int, limit_s: float) -> None:
        self._copy, self._imports, self._files, self._limit_s = copy, imports, files, limit_s
        self._sound: dict[str, bool] = {}

    def verdict(self, change: Break) -> Verdict:
        """Of one break, from the test files that are nearest to its file."""
        tests = [str(path) for path in self._imports.tests_of(change.file, self._files)]
        if not tests:
            return Verdict(change=change, caught=False, by="(no test imports the file)")
        while tests:
            with self._copy.broken(change):
                outcome = self._copy.test(tests, limit_s=self._limit_s)
            if outcome.kind == "passed":
                break
            if self._passes_unbroken(outcome, tests):
                return Verdict(change=change, caught=True, by=outcome.test or "the time limit")
            tests = [path for path in tests if path != outcome.test.partition("::")[0] and outcome.test]
        return Verdict(
            change=change, caught=False, by=f"({', '.join(Path(path).name for path in tests) or 'none ran'})"
        )

    def _passes_unbroken(self, outcome: Outcome, tests: Sequence[str]) -> bool:
        """Whether it is the break that made the test fail."""
        names = [outcome.test] if outcome.test else list(tests)
        if outcome.test and "::" not in outcome.test:
            names.append("--collect-only")  # the file could not be imported: that is all there is to see
        key = " ".join(names)
        if key not in self._sound:
            self._sound[key] = self._copy.test(names, limit_s=self._limit_s).kind == "passed"
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
    marks: str = QUICK,
) -> None:
    """Break a copy of the code in drawn places, one at a time, and list the breaks that no test notices.

    Args:
        seed: another seed, other places.
        count: number of breaks, in equal shares of the four packages.
        skip: leave out the first ones of them.
        only: draw from files whose path contains one of these.
        files: for each break, the number of test files to run.
        limit_s: seconds for these; a break that makes them last longer counts as caught.
        marks: pytest's -m.
    """
    survivors: list[Verdict] = []
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        tree = Path(folder) / "tree"
        tree.mkdir()
        copy = Copy(ROOT, tree, packages=[path.parent for path in PACKAGES.values()], marks=marks)
        judge = Judge(copy, Imports(tree, PACKAGES, Path("tests")), files=files, limit_s=limit_s)
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
    app = cyclopts.App(name="python -m tests.mutants", help_format="plaintext")
    app.default(mutants)
    app(sys.argv[1:])
