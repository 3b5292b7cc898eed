"""TensorBoard events, read back by TensorBoard itself."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from cgan_trainer.watching.tensorboard import Board, tag
from PIL import Image

ROW = {
    "G_L1": 14.5,
    "G_GAN": 1.25,
    "D_real": 0.5,
    "D_fake": 0.25,
    "E_z": 0.5,
    "val_L1": 0.125,
    "images_per_s": 7.5,
    "data_ms": 2.0,
    "step_ms": 210.0,
    "lr": 0.0002,
}
TAGS = [
    "loss/G_L1",
    "loss/G_GAN",
    "loss/D_real",
    "loss/D_fake",
    "loss/E_z",
    "validation/L1",
    "speed/images_per_s",
    "speed/data_ms",
    "speed/step_ms",
    "optimizer/lr",
]


def read(run: Path) -> Any:
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    accumulator = accumulators.EventAccumulator(str(run / "tensorboard"))
    accumulator.Reload()
    return accumulator


def steps(run: Path, name: str = "loss/G_L1") -> list[int]:
    return [event.step for event in read(run).Scalars(name)]


def test_scalars_come_back_in_their_groups(tmp_path: Path) -> None:
    with Board(tmp_path) as board:
        board.scalars(500, ROW)
        board.scalars(1000, {"G_L1": 13.0, "own/tag": 1.0})
    events = read(tmp_path)
    assert [tag(name) for name in ROW] == TAGS
    assert set(events.Tags()["scalars"]) == {*TAGS, "own/tag"}
    assert [(event.step, event.value) for event in events.Scalars("loss/G_L1")] == [(500, 14.5), (1000, 13.0)]
    assert events.Scalars("optimizer/lr")[0].value == pytest.approx(0.0002)


def test_images_come_back_exactly(tmp_path: Path) -> None:
    image = Image.effect_noise((40, 32), 80).convert("RGB")
    with Board(tmp_path) as board:
        board.image(500, "samples/grid", image)
    (event,) = read(tmp_path).Images("samples/grid")
    assert (event.step, event.width, event.height) == (500, 40, 32)
    assert Image.open(io.BytesIO(event.encoded_image_string)).tobytes() == image.tobytes()


def test_a_resumed_board_has_no_step_twice(tmp_path: Path) -> None:
    """The first session got to 2000 and was killed; last.pt was of 1000."""
    with Board(tmp_path) as board:
        for images in (500, 1000, 1500, 2000):
            board.scalars(images, {"G_L1": 1.0})
    with Board(tmp_path, images=1000) as board:
        assert steps(tmp_path) == [500, 1000], "what came after last.pt is void at once"
        for images in (1500, 2000, 2500):
            board.scalars(images, {"G_L1": 2.0})
    assert [(event.step, event.value) for event in read(tmp_path).Scalars("loss/G_L1")] == [
        (500, 1.0), (1000, 1.0), (1500, 2.0), (2000, 2.0), (2500, 2.0),
    ]  # fmt: skip


def test_a_run_begun_again_forgets_everything(tmp_path: Path) -> None:
    for _ in range(12):  # more than nine files: their order is that of numbers, not of digits
        with Board(tmp_path) as board:
            board.scalars(1, {"G_L1": 1.0})
            board.scalars(500, {"G_L1": 1.0})
    assert steps(tmp_path) == [1, 500]


def test_events_cut_in_the_middle_do_not_hide_the_next_session(tmp_path: Path) -> None:
    with Board(tmp_path) as board:
        board.scalars(500, {"G_L1": 1.0})
        board.scalars(1000, {"G_L1": 1.0})
    (file,) = (tmp_path / "tensorboard").iterdir()
    file.write_bytes(file.read_bytes()[:-7])
    with Board(tmp_path, images=500) as board:
        board.scalars(1000, {"G_L1": 2.0})
    assert steps(tmp_path) == [500, 1000]


def test_what_was_flushed_survives_a_kill(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom cgan_trainer.watching.tensorboard import Board\n"
        f"board = Board(Path({str(tmp_path)!r}))\nboard.scalars(500, {{'G_L1': 1.0}})\nboard.flush()\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (-signal.SIGKILL, "")
    assert steps(tmp_path) == [500]


def test_no_thread_is_left_or_ever_made(tmp_path: Path) -> None:
    before = threading.active_count()
    with Board(tmp_path) as board:
        board.scalars(500, ROW)
        assert threading.active_count() == before
    board.scalars(1000, ROW)
    board.close()
    assert steps(tmp_path) == [500]


def test_without_tensorboard_one_note_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard.compat.proto.event_pb2", None)
    with Board(tmp_path) as board:
        board.scalars(500, ROW)
        board.image(500, "samples/grid", Image.new("RGB", (4, 4)))
        board.flush()
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert 'pip install "cgan-deploy[train]"' in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's full device")
def test_a_full_disk_costs_the_board_and_not_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Path("/dev/full").open("wb") as full:
        monkeypatch.setattr("cgan_trainer.watching.tensorboard._new_file", lambda _: full)
        with Board(tmp_path) as board:
            for images in range(1000):
                board.scalars(images, ROW)
        assert full.closed
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "No space left" in said


def test_a_folder_that_cannot_be_made_costs_the_board_and_not_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tensorboard").write_text("a file")
    with Board(tmp_path) as board:
        board.scalars(500, ROW)
    assert capsys.readouterr().err.count("\n") == 1


def test_the_module_needs_neither_torch_nor_tensorboard_to_be_imported() -> None:
    code = (
        "import sys\nimport cgan_trainer.watching.tensorboard, cgan_runtime.progress\n"
        "print(sorted({'torch', 'tensorboard', 'PIL', 'numpy', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert done.stdout.strip() == "[]"
