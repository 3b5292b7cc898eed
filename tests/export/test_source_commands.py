"""cgan-export of files from other code as people type it: what is refused at once, names, sizes, channels."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from cgan_export.bundle.next_commands import next_commands
from cgan_export.export import export_checkpoint
from cgan_export.model_name import model_name
from cgan_export.size_wish import parse_size
from cgan_export.source_flags import read_palette
from cgan_export.sources import MADE_UP
from cgan_runtime.bundle import Bundle, read_bundle
from cgan_runtime.contract import ImageEncoding
from cgan_runtime.errors import BadInputError, UsageError
from cgan_trainer.readers import Choices, read_generator
from PIL import Image

from tests.export.sources import junyanz
from tests.export.sources.files import saved, trained_like
from tests.helpers import assert_one_sentence, run_here

WITHOUT = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {absent}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
from cgan_export.cli import main
main({words})
"""


def run_without(*words: str | Path, absent: str) -> subprocess.CompletedProcess[str]:
    """cgan-export in a Python that has none of the packages."""
    code = WITHOUT.format(absent=set(absent.split()), words=[str(word) for word in words])
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def resnet(folder: Path, c_in: int = 3, c_out: int = 3, name: str = "facades.pth") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(saved(trained_like(junyanz.resnet(1, ngf=2, c_in=c_in, c_out=c_out)).state_dict()))
    return path


def test_what_cannot_be_used_is_refused_before_torch_is_loaded(tmp_path: Path) -> None:
    path = resnet(tmp_path)
    (tmp_path / "a.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    (tmp_path / "a.txt").write_text("hello")
    (tmp_path / "colors").write_text("#12")
    (tmp_path / "empty").mkdir()
    for words, code, sentence in (
        ((tmp_path / "nothing.pth",), 3, "does not exist"),
        ((tmp_path / "empty",), 3, "without the checkpoint of a generator"),
        ((tmp_path / "a.h5",), 3, "an HDF5 file"),
        ((tmp_path / "a.txt",), 3, "a text file"),
        ((path, "-o", path / "out"), 1, "cannot be written"),
        ((path, "-o", "/proc/nowhere/out"), 1, "takes no new folder"),
        ((path, "--size", "12by13"), 2, "is not a size"),
        ((path, "--precision", "fp61"), 2, "--precision fp61 is not known"),
        ((path, "--conditions", tmp_path / "none"), 3, "does not exist: name a folder of images"),
        ((path, "--precision", "int8", "--calibrate", path), 3, "is no folder"),
        ((path, "--calibrate", tmp_path / "none"), 2, "--calibrate is for INT8"),
        ((path, "--palette", tmp_path / "colors"), 3, "a line that is no colour"),
    ):
        out = () if "-o" in words else ("-o", tmp_path / "out")
        done = run_without(*words, *out, absent="torch onnx onnxruntime")
        assert_one_sentence(done, code, sentence)
        assert not [entry for entry in tmp_path.iterdir() if entry.name.startswith((".cgan", "out"))]


@pytest.mark.slow
def test_bundles_are_verified_and_compared_in_the_base_installation(bundle: Bundle) -> None:
    absent = "torch onnx onnxscript jaxtyping safetensors tritonclient"
    for words in (("verify", bundle.path), ("compare", bundle.path, bundle.path)):
        done = run_without(*words, absent=absent)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("path", "graph", "name"),
    [
        ("checkpoints/horse2zebra/latest_net_G_A.pth", None, "horse2zebra-AtoB"),
        ("checkpoints/maps/5_net_G.pth", None, "maps"),
        ("saved_models/apple/generator_9.pth", None, "apple"),
        ("p/lightning_logs/version_3/checkpoints/last.ckpt", None, "p"),
        ("huggan/pytorch_model.bin", None, "huggan"),
        ("p/latest_net_G.pth.tar.gz", None, "p"),
        ("runs/satellite/last.pt", "BtoA", "satellite-BtoA"),
        ("facades.pt", None, "facades"),
        ("checkpoints/x/G_horse.pth", None, "G_horse"),
        ("/tmp/latest_net_G.pth", None, "latest_net_G"),
        ("/latest_net_G.pth", None, "latest_net_G"),
    ],
)
def test_a_file_of_any_projects_name_is_called_after_its_project(path: str, graph: str | None, name: str) -> None:
    assert model_name(Path(path), graph) == name


def test_a_size_is_answered_as_it_was_typed_with_the_nearest_that_fit(tmp_path: Path) -> None:
    path = resnet(tmp_path)
    wish = parse_size("722x405")
    assert wish is not None
    with pytest.raises(UsageError, match=r"--size 722x405 does not fit.*; 720x404 and 724x408 fit\."):
        read_generator(path, Choices(size=wish.fixed))
    with pytest.raises(UsageError, match=r"; 720x404 and 724x408 fit\."):
        read_generator(path, Choices(size=(407, 723)))
    with pytest.raises(UsageError, match=r"--size 2x405 does not fit.*; 4x404 and 4x408 fit\."):
        read_generator(path, Choices(size=(405, 2)))


def test_a_size_is_taken_with_any_number_of_channels(tmp_path: Path) -> None:
    for channels in (2, 6):
        _, exported = export_checkpoint(resnet(tmp_path, channels), name="x", size=parse_size("32x16"))
        assert exported.contract.conditions[0].shape == (channels, 16, 32)


@pytest.mark.parametrize(("c_in", "c_out"), [(2, 3), (4, 4), (11, 2), (3, 2)])
@pytest.mark.slow
def test_every_next_command_works_whatever_the_channels(
    c_in: int, c_out: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run_here("cgan-export", resnet(tmp_path, c_in, c_out), "-o", "my out", "--size", "32x16")
    assert done.returncode == 0, done.stderr
    for count in {c_in, c_out} - {1, 3}:
        assert f"the {count} channels of" in done.stderr
    Image.new("RGB", (32, 16), (200, 30, 90)).save("IMAGE.png")
    run, _, bench, verify = next_commands(read_bundle(Path("my out")).manifest.contract, "my out")
    for line, quicker in ((run, ""), (bench, " --rounds 2 --warmup 1"), (verify, "")):
        assert line in done.stdout
        words = [word.replace("IMAGE", "IMAGE.png") for word in shlex.split(line + quicker)]
        ended = run_here(*words)
        assert ended.returncode == 0, ended.stderr


def test_four_channels_are_an_image_with_transparency(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = run_here("cgan-export", resnet(tmp_path, 4, 4), "-o", "out", "--size", "32x16")
    assert done.returncode == 0, done.stderr
    assert "the 4 channels of A are red, green, blue and alpha (--palette, where each is a class)" in done.stderr
    rgba = np.random.default_rng(0).integers(0, 256, (16, 32, 4)).astype(np.uint8)
    Image.fromarray(rgba).save("given.png")
    done = run_here("cgan-translate", "given.png", "--bundle", "out", "--seed", "7", "--out", "made.png")
    assert done.returncode == 0, done.stderr
    loaded = read_generator(tmp_path / "facades.pth", Choices(size=(16, 32)))
    with torch.no_grad():
        given = torch.from_numpy(rgba).permute(2, 0, 1)[None].float() / 127.5 - 1
        (theirs,) = loaded.generator.eval()(given)
    expected = ((theirs[0].permute(1, 2, 0) + 1) * 127.5).clamp(0, 255).numpy()
    with Image.open("made.png") as made:
        assert made.mode == "RGBA"
        assert np.abs(np.asarray(made) - expected).max() <= 1.01


def test_a_palette_makes_a_picture_of_one_channel_for_each_class(tmp_path: Path) -> None:
    path, colors = resnet(tmp_path, 4), ((255, 0, 0), (0, 255, 0), (0, 0, 255), (9, 9, 9))
    loaded = read_generator(path, Choices(size=(16, 16), palette=colors))
    condition = loaded.generator.contract.conditions[0]
    assert isinstance(condition.encoding, ImageEncoding)
    assert (condition.shape, condition.encoding.filter) == ((3, 16, 16), "nearest")
    classes = torch.randint(0, 4, (1, 16, 16), generator=torch.Generator().manual_seed(0))
    picture = torch.tensor(colors)[classes].permute(0, 3, 1, 2) / 127.5 - 1
    one_hot = torch.nn.functional.one_hot(classes, 4).permute(0, 3, 1, 2).float().contiguous()
    theirs = read_generator(path, Choices(size=(16, 16))).generator(one_hot)[0]
    torch.testing.assert_close(loaded.generator(picture)[0], theirs, rtol=0, atol=1e-5)
    with pytest.raises(UsageError, match="2 colours, but this net takes 4 channels"):
        read_generator(path, Choices(palette=colors[:2]))


def test_a_palette_is_a_text_of_colours(tmp_path: Path) -> None:
    path = tmp_path / "colors.txt"
    path.write_text("\ufeff#ff0000\n0,255,0\r\n\n 0 0 255\n")
    assert read_palette(path) == ((255, 0, 0), (0, 255, 0), (0, 0, 255))
    for text in ("#ff0000\n", "#ff0000\n255,0,0\n", "1,2,256\n#000000", "red\nblue", "\x00\x01"):
        path.write_text(text)
        with pytest.raises(BadInputError, match="--palette"):
            read_palette(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadInputError, match="cannot be read as text"):
        read_palette(path)


@pytest.mark.slow
def test_made_up_images_are_an_assumption_that_is_said(tmp_path: Path) -> None:
    path, images = resnet(tmp_path), tmp_path / "images"
    images.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(images / "a.png")
    for number, (words, said) in enumerate((((), True), (("--conditions", images), False))):
        out = tmp_path / f"out{number}"
        done = run_here("cgan-export", path, "-o", out, "--size", "32", *words)
        assert done.returncode == 0, done.stderr
        assumed = read_bundle(out).manifest.provenance.assumed
        assert (f"assumed: {MADE_UP}" in done.stderr) is said
        assert (MADE_UP in assumed) is said
        card = (out / "README.md").read_text()
        assert all(words.partition(" (")[0] in card for words in assumed)


@pytest.mark.slow
def test_a_folder_is_exported_beside_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    resnet(tmp_path / "maps", name="latest_net_G.pth")
    done = run_here("cgan-export", "maps", "--size", "32")
    assert done.returncode == 0, done.stderr
    assert read_bundle(tmp_path / "maps-bundle").manifest.name == "maps"
    assert sorted(path.name for path in (tmp_path / "maps").iterdir()) == ["latest_net_G.pth"]
