"""Archives around one checkpoint are opened, folders give their only one, files of other programs are named."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import pytest
import torch
from cgan_runtime.errors import BadInputError
from cgan_trainer.checkpoint_paths import checkpoint_at
from cgan_trainer.readers import Loaded, read_generator
from cgan_trainer.readers.archives import tar_members
from onnx import TensorProto, helper

from tests.export.sources import junyanz
from tests.export.sources.files import as_safetensors, saved, trained_like

STATE = dict(trained_like(junyanz.resnet(1, ngf=2)).state_dict())
WEIGHTS = saved(STATE)
RIVAL = saved(dict(junyanz.discriminator().state_dict()))


def tar(**members: bytes) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return stream.getvalue()


def zipped(**members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return stream.getvalue()


def read(folder: Path, data: bytes, name: str = "x.pth") -> Loaded:
    path = folder / name
    path.write_bytes(data)
    return read_generator(path)


def refusal(folder: Path, data: bytes, name: str = "x.pth") -> str:
    with pytest.raises(BadInputError) as caught:
        read(folder, data, name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def onnx_file() -> bytes:
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "ab"]
    graph = helper.make_graph([helper.make_node("Relu", ["a"], ["b"])], "g", ends[:1], ends[1:])
    return bytes(helper.make_model(graph, producer_name="pytorch").SerializeToString())


@pytest.mark.parametrize(
    "data",
    [
        gzip.compress(WEIGHTS),
        tar(**{"latest_net_G.pth": WEIGHTS}),
        gzip.compress(tar(**{"run/latest_net_G.pth": WEIGHTS, "run/options.txt": b"--netG resnet"})),
        zipped(**{"run/latest_net_G.pth": WEIGHTS, "__MACOSX/run/._latest_net_G.pth": b"\x80\x02", "a.txt": b"a"}),
        zipped(**{"net.safetensors": as_safetensors(STATE)}),
        zipped(**{"run.tar.gz": gzip.compress(tar(**{"a.pth": WEIGHTS}))}),
    ],
    ids=["pth.gz", "tar", "tar.gz", "zip", "safetensors.zip", "tar.gz.zip"],
)
def test_an_archive_around_one_checkpoint_is_that_checkpoint(data: bytes, tmp_path: Path) -> None:
    loaded = read(tmp_path, data)
    assert torch.equal(loaded.generator.state_dict()["net.head.conv.weight"], STATE["model.1.weight"])
    assert any("archive" in step for step in loaded.inferred)


def test_the_name_in_an_archive_counts_and_its_path_is_used_for_nothing(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    loaded = read(inner, tar(**{"../../latest_net_G_B.pth": WEIGHTS, "/etc/x": b""}))
    assert loaded.generator.contract.conditions[0].meaning == "B"
    assert [path.name for path in tmp_path.rglob("*.pth")] == ["x.pth"]


def test_an_archive_of_several_or_no_checkpoints_names_its_members(tmp_path: Path) -> None:
    both = {"a/latest_net_G.pth": WEIGHTS, "a/latest_net_D.pth": RIVAL}
    for data in (zipped(**both), tar(**both), gzip.compress(tar(**both))):
        assert "2 checkpoints (a/latest_net_G.pth, a/latest_net_D.pth)" in refusal(tmp_path, data)
    assert "without a checkpoint in it (a.txt)" in refusal(tmp_path, zipped(**{"a.txt": b"hello"}))
    assert "it holds an ONNX graph: export" in refusal(tmp_path, zipped(**{"a.bin": onnx_file()}))
    four = WEIGHTS
    for _ in range(4):
        four = gzip.compress(four)
    assert "in too many" in refusal(tmp_path, four)


def test_a_truncated_archive_is_damaged(tmp_path: Path) -> None:
    whole = gzip.compress(tar(**{"a.pth": WEIGHTS}))
    for data in (whole[: len(whole) // 2], whole[:-4], gzip.compress(tar(**{"a.pth": WEIGHTS})[:9000])):
        assert "is damaged" in refusal(tmp_path, data) or "incomplete" in refusal(tmp_path, data)


@pytest.mark.parametrize(
    ("data", "name", "words"),
    [
        (onnx_file(), "g.pth", "an ONNX graph"),
        (b"\x89HDF\r\n\x1a\n", "model.pth", "an HDF5 file"),
        (zipped(**{"config.json": b"{}", "model.weights.h5": b"\x89HDF\r\n\x1a\n"}), "m.keras", "a Keras model"),
        (b"\x08\x01\x12\xf3\x8c\x01", "saved_model.pb", "a TensorFlow graph"),
        (b"\n\x4f\n\x05input\x12\x0bPlaceholder", "frozen", "a TensorFlow graph"),
        (b"\0\0\1", "model-9.index", "part of a TensorFlow checkpoint"),
        (b"\1\2\0", "model-9.data-00000-of-00001", "part of a TensorFlow checkpoint"),
        (b'model_checkpoint_path: "model-9"', "checkpoint", "part of a TensorFlow checkpoint"),
        (b"\x1c\0\0\0TFL3\0", "g", "a TensorFlow Lite model"),
        (b"\x04\0\0\0\x01\0\0\0\x03\0\0\0V 1\r\0\0\0nn.Sequential", "g", "a file of Lua Torch"),
        (b"\1\2\0", "latest_net_G.t7", "a file of Lua Torch"),
        (b"ftrt\0\0", "g", "a TensorRT engine"),
        (b"\1\2\0", "g.plan", "a TensorRT engine"),
        (b"\1\2\0", "g.engine", "a TensorRT engine"),
        (b"\x80\x02}q\0.", "g.pdparams", "a checkpoint of PaddlePaddle"),
        (b"BZh91AY", "g.tar.bz2", "a bzip2 archive"),
        (b"\x89PNG\r\n\x1a\n", "g.pth", "an image"),
        (b"\1\2\0", "g.pth", "a file of another kind"),
    ],
)
def test_files_of_other_programs_are_named(data: bytes, name: str, words: str, tmp_path: Path) -> None:
    text = refusal(tmp_path, data, name)
    assert f"{name} is {words}" in text
    assert text.partition(": ")[2], "the way out"


def test_bytes_count_more_than_a_name(tmp_path: Path) -> None:
    assert read(tmp_path, WEIGHTS, "model.onnx").family == "junyanz-resnet"


def test_a_folder_gives_its_only_generator(tmp_path: Path) -> None:
    folder = tmp_path / "maps_cyclegan"
    folder.mkdir()
    for name in ("latest_net_D_A.pth", "latest_net_F.pth", "optimizer.pt", "loss_log.txt", ".hidden.pth"):
        (folder / name).write_bytes(RIVAL)
    with pytest.raises(BadInputError, match=r"without the checkpoint of a generator \(it holds latest_net_D_A"):
        checkpoint_at(folder)
    (folder / "latest_net_G_A.pth").write_bytes(WEIGHTS)
    assert read_generator(folder).path == folder / "latest_net_G_A.pth"
    (folder / "old_net_G_A.pth").mkdir()
    assert checkpoint_at(folder) == folder / "latest_net_G_A.pth"
    (folder / "5_net_G_A.pth").write_bytes(WEIGHTS)
    with pytest.raises(BadInputError) as caught:
        checkpoint_at(folder)
    assert "2 checkpoints (5_net_G_A.pth, latest_net_G_A.pth)" in str(caught.value)
    assert str(caught.value).endswith(f"for example {folder / 'latest_net_G_A.pth'}.")


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("bundle.json", "a bundle already"),
        ("model_index.json", "a diffusers pipeline"),
        ("saved_model.pb", "a TensorFlow SavedModel"),
        ("model-9.index", "a TensorFlow checkpoint"),
        ("", "it is empty"),
    ],
)
def test_folders_of_other_programs_are_named(file: str, words: str, tmp_path: Path) -> None:
    if file:
        (tmp_path / file).write_bytes(b"{}")
    with pytest.raises(BadInputError, match=words):
        checkpoint_at(tmp_path)


def test_a_folder_that_leads_to_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "g.pth").symlink_to(tmp_path)
    with pytest.raises(BadInputError):
        checkpoint_at(tmp_path)


def test_every_digit_of_the_length_of_a_tars_member_counts() -> None:
    """Eleven octal digits: the first stands for GiB, which no file of a test has."""
    header = bytearray(tar(x=WEIGHTS)[:512])
    for digits in (b"10000000000", b"01000000000", b"00000001000"):
        header[124:135] = digits
        (member,) = tar_members(io.BytesIO(bytes(header) + WEIGHTS[:512]))
        assert member.size_bytes == int(digits, 8)
