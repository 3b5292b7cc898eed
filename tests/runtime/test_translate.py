"""cgan-translate as a user meets it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from cgan_runtime.bundle import Bundle
from cgan_runtime.images import png_text, read_image
from cgan_runtime.serving.server import TritonServer
from PIL import Image

from tests.helpers import assert_one_sentence, png, run_command, run_here, smooth_images


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "map.png"
    path.write_bytes(png(smooth_images(1, seed=5)[0]))
    return path


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_file_becomes_an_image_that_says_where_it_comes_from(
    image: Path, bundle: Bundle, bundle_path: Path, tmp_path: Path
) -> None:
    target = tmp_path / "out.png"
    done = run_command("cgan-translate", image, "--bundle", bundle_path, "--seed", "7", "-o", target)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(target)]
    assert png_text(target.read_bytes()) == {
        "cgan-model": "facades",
        "cgan-model-digest": bundle.model_digest,
        "cgan-seed": "7",
        "cgan-draw": "0",
        "cgan-artifact": "onnxruntime/fp32",
    }


def test_the_same_file_comes_from_a_bundle_and_from_a_server_in_any_batch(
    image: Path, bundle_path: Path, server: TritonServer, tmp_path: Path
) -> None:
    grpc = ("--url", f"grpc://{server.grpc_url}", "--model", "facades")
    http = ("--url", server.http_url, "--model", "facades")
    sums = []
    for number, where in enumerate((("--bundle", str(bundle_path)), grpc, http)):
        for batch in ("1", "3"):
            folder = tmp_path / f"{number}-{batch}"
            words = ("--seed", str(2**64 - 1), "--samples", "3", "--batch", batch, "-o", str(folder))
            done = run_here("cgan-translate", image, *where, *words)
            assert done.returncode == 0, done.stderr
            sums.append([sha(folder / f"map-{draw}.png") for draw in range(3)])
    assert all(item == sums[0] for item in sums)
    assert len(set(sums[0])) == 3


def test_a_folder_keeps_its_tree_and_a_bad_file_stops_nothing(
    image: Path, bundle_path: Path, tmp_path: Path
) -> None:
    source = tmp_path / "maps"
    (source / "deep").mkdir(parents=True)
    (source / "a.png").write_bytes(image.read_bytes())
    read_image(image).convert("L").save(source / "deep" / "b.jpg")
    (source / "words.png").write_text("not an image")
    (source / "notes.txt").write_text("left alone")
    target = tmp_path / "out"
    done = run_here("cgan-translate", source, "--bundle", bundle_path, "--seed", "7", "-o", target)
    assert done.returncode == 1
    assert "words.png is not an image that can be read" in done.stderr
    assert "2 images written, 1 inputs skipped" in done.stderr
    assert sorted(p.relative_to(target).as_posix() for p in target.rglob("*.png")) == ["a.png", "deep/b.png"]


def test_any_size_goes_in_and_the_original_size_comes_out_when_asked(
    image: Path, bundle_path: Path, tmp_path: Path
) -> None:
    wide = tmp_path / "wide.webp"
    read_image(image).resize((90, 31)).save(wide)
    for words, size in ((), (64, 64)), (("--original-size",), (90, 31)):
        target = tmp_path / "out.png"
        done = run_here("cgan-translate", wide, "--bundle", bundle_path, "--seed", "1", "-o", target, *words)
        assert done.returncode == 0, done.stderr
        assert read_image(target).size == size


def test_without_a_seed_one_is_drawn_and_told(image: Path, bundle_path: Path, tmp_path: Path) -> None:
    outputs = []
    for name in ("a.png", "b.png"):
        done = run_here("cgan-translate", image, "--bundle", bundle_path, "-o", tmp_path / name)
        seed = done.stderr.rsplit("seed ", 1)[1].strip()
        assert png_text((tmp_path / name).read_bytes())["cgan-seed"] == seed
        outputs.append(seed)
    assert outputs[0] != outputs[1]
    again = run_here(
        "cgan-translate", image, "--bundle", bundle_path, "-o", tmp_path / "c.png", "--seed", outputs[0]
    )
    assert again.returncode == 0
    assert sha(tmp_path / "a.png") == sha(tmp_path / "c.png")


def test_json_is_one_object_with_large_seeds_as_text(image: Path, bundle_path: Path, tmp_path: Path) -> None:
    words = ("--seed", str(2**53), "-o", str(tmp_path / "x.png"), "--json")
    done = run_here("cgan-translate", image, "--bundle", bundle_path, *words)
    assert json.loads(done.stdout)["seed"] == str(2**53)


@pytest.mark.parametrize("seed", ["-1", str(2**64), "seven", "1.5", ""])
def test_a_seed_that_is_none_is_a_usage_error(image: Path, bundle_path: Path, seed: str) -> None:
    assert_one_sentence(run_here("cgan-translate", image, "--bundle", bundle_path, f"--seed={seed}"), 2, "--seed")


@pytest.mark.parametrize(
    ("words", "code", "parts"),
    [
        ((), 2, ["an image or a folder is needed"]),
        (("IMAGE",), 2, ["--bundle FOLDER and --url ADDRESS"]),
        (("IMAGE", "--url", "ftp://x"), 2, ["--url needs --model NAME"]),
        (
            ("IMAGE", "--url", "ftp://x", "--model", "facades"),
            2,
            ["ftp://x is not a server address here; give http://HOST:PORT, grpc://"],
        ),
        (("IMAGE", "--bundle", "BUNDLE", "--sed", "7"), 2, ["Unknown option: --sed", "--seed"]),
        (("IMAGE", "--bundle", "BUNDLE", "--samples", "0"), 2, ["--samples"]),
        (("IMAGE", "--bundle", "BUNDLE", "--samples", "2", "-o", "x.png"), 2, ["name a folder with -o"]),
        (("IMAGE", "IMAGE", "--bundle", "BUNDLE"), 2, ["would both become"]),
        (("nothing.png", "--bundle", "BUNDLE"), 3, ["nothing.png does not exist"]),
        (
            ("WORDS", "--bundle", "BUNDLE", "--seed", "7"),
            3,
            ["words.png is not an image that can be read"],
        ),
        (("DOT", "--bundle", "BUNDLE", "--seed", "7"), 3, ["1x1 pixels"]),
        (("EMPTY", "--bundle", "BUNDLE"), 3, ["holds no image"]),
        (("IMAGE", "--url", "http://127.0.0.1:9", "--model", "facades"), 4, ["cannot be reached"]),
        (("IMAGE", "--url", "grpc://127.0.0.1:9", "--model", "facades"), 4, ["cannot be reached"]),
    ],
)
def test_mistakes_get_one_sentence(
    image: Path, bundle_path: Path, tmp_path: Path, words: tuple[str, ...], code: int, parts: list[str]
) -> None:
    (tmp_path / "words.png").write_text("these are words")
    (tmp_path / "dot.png").write_bytes(png(np.zeros((1, 1, 3), dtype=np.uint8)))
    (tmp_path / "empty").mkdir()
    names = {
        "IMAGE": str(image),
        "BUNDLE": str(bundle_path),
        "WORDS": str(tmp_path / "words.png"),
        "DOT": str(tmp_path / "dot.png"),
        "EMPTY": str(tmp_path / "empty"),
    }
    done = run_here("cgan-translate", *(names.get(word, word) for word in words))
    assert_one_sentence(done, code, *parts)


def test_an_input_is_never_overwritten(bundle_path: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png(smooth_images(1)[0]))
    before = sha(path)
    for words in ((str(path), "-o", str(path)), (str(tmp_path), "-o", str(tmp_path))):
        done = run_here("cgan-translate", *words, "--bundle", bundle_path, "--seed", "1")
        assert_one_sentence(done, 2, "would overwrite an input")
    assert sha(path) == before


def test_a_folder_with_an_animation_and_a_telephone_image_is_translated_but_for_what_is_not_read(
    bundle_path: Path, tmp_path: Path
) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    frames = [Image.fromarray(pixels) for pixels in smooth_images(2, seed=5)]
    for name, frame_of in (("animated.gif", "GIF"), ("animated2.png", "PNG"), ("pages.tif", "TIFF")):
        frames[0].save(source / name, frame_of, save_all=True, append_images=frames[1:])
    (source / "photo.HEIC").write_bytes(b"\0\0\0\x18ftypheic" + bytes(64))
    frames[0].save(source / "still.bmp")
    done = run_here("cgan-translate", source, "--bundle", bundle_path, "--seed", "7", "-o", target)
    assert done.returncode == 1
    assert f"skipped: {source / 'photo.HEIC'} is a HEIC image, which is not read: convert it to PNG" in done.stderr
    made = {path.stem: path.read_bytes() for path in target.iterdir()}
    assert sorted(made) == ["animated", "animated2", "pages", "still"]
    assert made["animated2"] == made["pages"] == made["still"]
