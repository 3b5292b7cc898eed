"""What a server takes from the machine: memory, descriptors and threads of each process, files and their sizes."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil
from cgan_runtime.serving.ports import state_folder

__all__ = ["Usage", "growth", "table", "usage_of"]

KIB: Final = 1024
MODELS: Final = 3  # of one version; a model may have several processes
SECONDS: Final = 30.0


@dataclass(frozen=True, kw_only=True)
class Usage:
    """At one moment.

    Attributes:
        requests: answered so far.
        figures: by process and quantity, "gateway pss" and so on; memory in KiB.
    """

    requests: int
    figures: dict[str, int]


def usage_of(supervisor: int, http_port: int, requests: int) -> Usage:
    """Of the server whose supervisor is this process, once the processes of earlier versions are gone."""
    groups = _processes(supervisor)
    figures = {}
    for name, processes in groups.items():
        seen = [process.as_dict(["memory_full_info", "num_fds", "num_threads"]) for process in processes]
        figures[f"{name} pss"] = sum(one["memory_full_info"].pss for one in seen) // KIB
        figures[f"{name} rss"] = sum(one["memory_full_info"].rss for one in seen) // KIB
        figures[f"{name} fds"] = sum(one["num_fds"] for one in seen)
        figures[f"{name} threads"] = sum(one["num_threads"] for one in seen)
    shared = list(Path("/dev/shm").glob(f"cgan_serve_{supervisor}_*"))
    folders = list(Path(tempfile.gettempdir()).glob(f"cgan-serve-{supervisor}_*"))
    files = [file for folder in folders for file in folder.rglob("*") if file.is_file()]
    figures["shared memory"] = _kib(shared)
    figures["regions"] = len(shared)
    figures["temporary files"] = len(files)
    figures["temporary"] = _kib(files)
    figures["logs"] = _kib(list(state_folder(http_port).glob("server.log*")))
    return Usage(requests=requests, figures=figures)


def growth(before: Usage, after: Usage) -> dict[str, float]:
    """Of resident memory, in KiB per 10,000 requests; shares of pages (pss) change with other processes too."""
    requests = after.requests - before.requests
    return {
        name.removesuffix(" rss"): round((after.figures[name] - value) * 10_000 / requests, 1)
        for name, value in before.figures.items()
        if name.endswith(" rss")
    }


def table(usages: list[Usage]) -> str:
    """A line per figure, a column per moment."""
    lines = [["requests", *(str(usage.requests) for usage in usages)]]
    lines += [[name, *(str(usage.figures[name]) for usage in usages)] for name in usages[0].figures]
    return "\n".join(f"{line[0]:24}" + "".join(f"{value:>9}" for value in line[1:]) for line in lines)


def _processes(supervisor: int) -> dict[str, list[psutil.Process]]:
    """The supervisor, what it started, and the processes of the models, by what each runs."""
    deadline = time.monotonic() + SECONDS
    top = psutil.Process(supervisor)
    while True:
        found: dict[str, list[psutil.Process]] = {"supervisor": [top]}
        models = set()
        for process in top.children():
            triton = process.name() == "tritonserver"
            found["tritonserver" if triton else "gateway"] = [process]
            for stub in process.children() if triton else ():
                model = _model(stub)
                models.add(model)
                found.setdefault(f"model {model.partition('_')[2] or 'tensors'}", []).append(stub)
        if len(found) == 3 + MODELS and len(models) == MODELS:
            return found
        assert time.monotonic() < deadline, f"not the processes of one version: {found}"
        time.sleep(0.1)


def _model(stub: psutil.Process) -> str:
    """Its name inside Triton, "toy.12_png"; empty of one that is ending."""
    try:
        code = [word for word in stub.cmdline() if word.endswith("/model.py")]
    except psutil.NoSuchProcess:
        return ""
    return Path(code[0]).parents[1].name if code else ""


def _kib(files: list[Path]) -> int:
    total = 0
    for file in files:
        try:
            total += file.stat().st_size
        except FileNotFoundError:  # of a version that is being removed
            continue
    return total // KIB
