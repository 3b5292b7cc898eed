"""What all kinds share: the report, and cgan-serve as a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.helpers import free_ports

__all__ = ["Report", "Said", "ServeCommand", "spread"]


@dataclass
class Report:
    """What was measured, and what broke the law."""

    figures: dict[str, Any] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def require(self, holds: bool, otherwise: str) -> None:
        """A law."""
        if not holds:
            self.failures.append(otherwise)

    def as_json(self, kind: str) -> str:
        """One line, without the failures."""
        return json.dumps({"kind": kind, **self.figures, "failures": len(self.failures)})


class Said(list[str]):
    """What a server told its user, each line with its instant: `Supervisor(say=said.note)`."""

    def __init__(self) -> None:
        super().__init__()
        self.instants: list[float] = []

    def note(self, line: str) -> None:
        self.instants.append(time.monotonic())
        self.append(line)


class ServeCommand:
    """`cgan-serve BUNDLE` on free ports, as a context manager: ready inside the block.

    Apart from this process, so that the memory and the threads of both can be told from each other.
    """

    def __init__(self, bundle: Path, *words: str) -> None:
        self.ports = free_ports()
        numbers = {"http": self.ports.http, "grpc": self.ports.grpc, "metrics": self.ports.metrics}
        ports = [word for name, number in numbers.items() for word in (f"--{name}-port", str(number))]
        self._command = [str(Path(sys.executable).with_name("cgan-serve")), str(bundle), *ports, *words]

    @property
    def process_id(self) -> int:
        return self._process.pid

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        assert self._process.stdout is not None
        said = self._process.stdout.readline()
        assert said.startswith("ready: "), f"cgan-serve did not start: {said!r}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.communicate(timeout=60)

    def ended_well(self) -> bool:
        """Of one that was stopped."""
        return self._process.returncode == 0


def spread(seconds: Sequence[float]) -> dict[str, float]:
    """Median and maximum."""
    return {"median_s": round(sorted(seconds)[len(seconds) // 2], 2), "max_s": round(max(seconds), 2)}
