"""What several tests need: small generators, command runs, free ports, images."""

from __future__ import annotations

import importlib.metadata
import io
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import asdict
from pathlib import Path

import filelock
import numpy as np
import numpy.typing as npt
import pytest
import torch
from cgan_runtime.serving.ports import Ports
from cgan_trainer.checkpoint import Graph, write_checkpoint
from cgan_trainer.families.pix2pix_networks import Pix2pixGenerator, Pix2pixOptions
from PIL import Image

REPOSITORY = Path(__file__).parents[1]
SIZE = 64  # six levels: the smallest U-Net with three dropout sites above its 1x1 bottleneck


def run_command(*words: str | Path, timeout: float = 240, **variables: str) -> subprocess.CompletedProcess[str]:
    """A console command of this environment, as a user would run it."""
    program = Path(sys.executable).with_name(str(words[0]))
    return subprocess.run(
        [str(program), *map(str, words[1:])],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env={**os.environ, "NO_COLOR": "1", "COLUMNS": "100", **variables},
    )


def run_here(*words: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """The same command inside this process: seconds sooner, for no second Python has to import torch.

    Not for what only a process shows: signals, what is imported, files that are open, the environment of children.
    """
    (entry,) = importlib.metadata.entry_points(group="console_scripts", name=str(words[0]))
    stdout, stderr = io.StringIO(), io.StringIO()
    threads, sigterm = torch.get_num_threads(), signal.getsignal(signal.SIGTERM)
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(stdout), redirect_stderr(stderr):
        for name, value in {"NO_COLOR": "1", "COLUMNS": "100", **variables}.items():
            patch.setenv(name, value)
        try:
            entry.load()(list(map(str, words[1:])))
        except SystemExit as ended:
            code = ended.code
        finally:
            torch.set_num_threads(threads)
            signal.signal(signal.SIGTERM, sigterm)
    assert isinstance(code, int), f"ended with {code!r}"
    return subprocess.CompletedProcess(list(words), code, stdout.getvalue(), stderr.getvalue())


def assert_one_sentence(done: subprocess.CompletedProcess[str], code: int, *parts: str) -> None:
    """The command ended with `code` and one line on stderr that holds every part; no traceback."""
    assert done.returncode == code, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert lines, "nothing on stderr"
    assert "error: " in lines[-1], done.stderr
    assert "Traceback" not in done.stderr
    for part in parts:
        assert part in lines[-1], done.stderr


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """What `make` makes at the path it is given: by the first of the processes of this run that asks, for all."""
    own = factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    target = shared / "made-once" / name
    target.parent.mkdir(exist_ok=True)
    with filelock.FileLock(target.with_name(f"{name}.lock")):
        if not (done := target.with_name(f"{name}.done")).exists():
            make(target)
            done.touch()
    return target


def hear_ctrl_c() -> None:
    """For `preexec_fn`: under a shell's `&` Ctrl-C is ignored, and children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def free_ports() -> Ports:
    """Three ports nobody uses now."""
    sockets = [socket.socket() for _ in range(3)]
    for item in sockets:
        item.bind(("127.0.0.1", 0))
    http, grpc, metrics = (int(item.getsockname()[1]) for item in sockets)
    for item in sockets:
        item.close()
    return Ports(http=http, grpc=grpc, metrics=metrics)


def smooth_images(count: int, *, size: int = SIZE, seed: int = 0) -> npt.NDArray[np.uint8]:
    """Images [count, H, W, 3] with large and small shapes in them."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, 6, 6, 3), dtype=np.uint8)
    return np.stack([np.asarray(Image.fromarray(p).resize((size, size), Image.Resampling.BICUBIC)) for p in coarse])


def png(pixels: npt.NDArray[np.uint8]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


class ReadsNoted(io.BytesIO):
    """A file in memory that keeps what each read asks for, in bytes."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.asked: list[int] = []

    def read(self, size: int | None = -1, /) -> bytes:
        self.asked.append(-1 if size is None else size)
        return super().read(size)


def pix2pix_generator(*, size: int = SIZE, ngf: int = 8, seed: int = 0, gain: float = 4.0) -> Pix2pixGenerator:
    """A small generator whose batch-norms hold running averages that differ from the initial ones.

    With a gain of 1 its weights are as small as those of a run; the more, the more a rounding shows in the image.
    """
    torch.manual_seed(seed)
    generator = Pix2pixGenerator(Pix2pixOptions(size=size, ngf=ngf, source="map", target="satellite"))
    generator.train()
    with torch.no_grad():
        for weights in generator.parameters():  # the usual initialisation gives images of almost one grey
            if weights.dim() == 4:
                weights.mul_(gain)
        for step in range(3):
            generator.live([torch.from_numpy(_tensors(smooth_images(4, size=size, seed=step)))], 4)
    return generator


def write_pix2pix_checkpoint(path: Path, generator: Pix2pixGenerator) -> Path:
    """`generator` as cgan-train writes it, with eight example conditions."""
    size = generator.options.size
    examples = torch.from_numpy(smooth_images(8, size=size, seed=9).transpose(0, 3, 1, 2).copy())
    write_checkpoint(
        path,
        family="pix2pix",
        graphs={
            "main": Graph(
                options=asdict(generator.options),
                contract=generator.contract.to_json(),
                state=generator.state_dict(),
            )
        },
        examples={"main": {"condition": examples}},
        provenance={"seed": 0},
    )
    return path


def export_facades(folder: Path, *, size: int = SIZE, ngf: int = 8) -> Path:
    """The bundle `facades` of the small generator in a folder, exported by the command."""
    checkpoint = write_pix2pix_checkpoint(folder / "facades.pt", pix2pix_generator(size=size, ngf=ngf))
    done = run_command("cgan-export", checkpoint, "-o", folder / "facades")
    assert done.returncode == 0, done.stderr
    return folder / "facades"


def _tensors(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2), dtype=np.float32) / np.float32(127.5) - np.float32(1)


LABEL_COLORS = [[0, 0, 0], [255, 0, 0], [0, 255, 0]]
_PHOTO = torch.tensor([[40, 40, 40], [90, 160, 200], [220, 200, 120]])


def write_labelled(folder: Path, count: int, *, seed: int) -> None:
    """A: blocks in three colours. B: a photograph of a kind, each class with a colour of its own and grain."""
    folder.mkdir(parents=True)
    draws = torch.Generator().manual_seed(seed)
    for index in range(count):
        blocks = torch.randint(0, 3, (4, 4), generator=draws).repeat_interleave(16, 0).repeat_interleave(16, 1)
        photo = _PHOTO[blocks] + 12 * torch.randn(64, 64, 3, generator=draws)
        pair = torch.cat((torch.tensor(LABEL_COLORS)[blocks], photo.clamp(0, 255)), dim=1).to(torch.uint8)
        Image.fromarray(pair.numpy()).save(folder / f"{index}.png")
